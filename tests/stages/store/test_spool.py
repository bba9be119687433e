"""The spool: what was written comes back whole, what was altered comes back not at all, and what must be gone is gone."""

import asyncio
import errno
import os
import resource
import stat
import time
import tracemalloc
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from relay.model.errors import Refusal, SpoolError
from relay.model.ids import new_id
from relay.model.message import Body
from relay.settings.models import Spool as SpoolSettings
from relay.sign.body_hash import RelaxedBodyHash
from relay.store.spool.durable import SpoolFatal
from relay.store.spool.folder import PACKED, FolderSpool
from relay.store.spool.folder_sweep import FolderSweep
from relay.store.spool.format import BODY_START, CHUNK, SLOT_SIZE, SLOTS, TAG, TRAILER, read_body
from relay.store.spool.keys import WRAPPING_USES, SpoolKeys, key_id, load_keys, new_keypair, parse_slot

DAY = 86_400


class Place:
    """A spool folder with its keys. `intake` is a spool that cannot read; `fatal` what it said before the process would have stopped."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        packed: int = changes.pop("packed", PACKED)
        self.settings = SpoolSettings(
            folder=folder / "spool", public_key=folder / "spool.pub", private_keys=folder / "private", **{"reserve": 1, **changes}
        )
        self.rotate()
        self.fatal: list[str] = []
        self.spool = FolderSpool(self.settings, RelaxedBodyHash, on_fatal=self.fatal.append)
        self.intake = FolderSpool(self.settings.model_copy(update={"private_keys": None}), RelaxedBodyHash, packed=packed)

    def rotate(self) -> bytes:
        """A new key pair. A spool that is open goes on with it."""
        identity = new_keypair(self.settings.public_key, self.settings.private_keys or Path())
        if hasattr(self, "spool"):
            self.spool.keys = load_keys(self.settings.public_key, self.settings.private_keys)
        return identity

    def write(self, content: bytes, piece: int = 10_007, seal: bool = True) -> Body:
        """Through intake, which holds the public key only."""
        writer = self.intake.create(new_id())
        for start in range(0, len(content), piece):
            writer.write(content[start : start + piece])
        body = writer.finish(normalised=False)
        if seal:
            asyncio.run(self.spool.seal(body, {"commitment": "ab" * 32}))
        return body

    def read(self, name: str, start: int = 0) -> bytes:
        reader = self.spool.open(name)
        try:
            return b"".join(reader.chunks(start))
        finally:
            reader.close()

    def file(self, body: Body) -> Path:
        return self.spool.path(body.object)

    def close(self) -> None:
        self.spool.close()
        self.intake.close()


@pytest.fixture
def place(tmp_path: Path) -> Iterable[Place]:
    place = Place(tmp_path)
    yield place
    place.close()


@pytest.fixture
def streaming(tmp_path: Path) -> Iterable[Place]:
    """Each body goes into its file as it comes, as a large one does."""
    place = Place(tmp_path, packed=0)
    yield place
    place.close()


def content_of(size: int) -> bytes:
    return os.urandom(size)


SIZES = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK - 1, 2 * CHUNK, 2 * CHUNK + 1, 5 * CHUNK + 12_345]


@pytest.mark.parametrize("size", SIZES)
def test_what_was_written_comes_back_whole_at_every_chunk_border(place: Place, size: int) -> None:
    content = content_of(size)
    body = place.write(content)
    assert place.read(body.object) == content
    with closing(place.spool.open(body.object)) as reader:
        assert reader.size == size


@pytest.mark.parametrize("size", SIZES)
def test_reading_may_begin_anywhere(place: Place, size: int) -> None:
    content = content_of(size)
    body = place.write(content)
    for start in {0, 1, CHUNK - 1, CHUNK, CHUNK + 1, size // 2, max(size - 1, 0), size}:
        if start <= size:
            assert place.read(body.object, start) == content[start:], start


@pytest.mark.parametrize("size", [0, 100, CHUNK, 3 * CHUNK + 5])
def test_an_object_that_is_not_sealed_yet_can_be_read_by_who_has_its_key_and_size(streaming: Place, size: int) -> None:
    """Large bodies are inspected before they are sealed."""
    content = content_of(size)
    body = streaming.write(content, seal=False)
    with streaming.file(body).open("rb") as file:
        assert b"".join(read_body(file, body.object, body.key, size=body.size)) == content
        for wrong in {size + 1, size - 1, size + CHUNK, max(size - CHUNK, 0)} - {size, -1}:
            with pytest.raises(SpoolError):
                list(read_body(file, body.object, body.key, size=wrong))


def test_no_plain_byte_is_on_the_disk(place: Place) -> None:
    content = b"Subject: geheim dossier\r\n" * 10_000
    body = place.write(content)
    stored = place.file(body).read_bytes()
    assert b"geheim" not in stored
    assert body.key not in stored


@pytest.mark.parametrize(("mask", "file", "folder"), [(0o077, 0o600, 0o700), (0o007, 0o660, 0o770)])
def test_objects_and_folders_are_for_the_group_as_far_as_the_umask_says_and_private_keys_never_are(
    tmp_path: Path, mask: int, file: int, folder: int
) -> None:
    before = os.umask(mask)
    try:
        place = Place(tmp_path)
        body = place.write(b"text")
    finally:
        os.umask(before)
    place.close()
    private = place.settings.private_keys
    assert private is not None
    [key] = private.iterdir()
    found = [stat.S_IMODE(path.stat().st_mode) for path in (place.file(body), place.file(body).parent, place.settings.folder, private, key)]
    assert found == [file, folder, folder, 0o700, 0o600]


def test_intake_can_write_and_not_read(place: Place) -> None:
    body = place.write(b"text")
    with pytest.raises(SpoolError, match="no private key"):
        place.intake.open(body.object)
    with pytest.raises(SpoolError, match="no private key"):
        place.intake.manifest(body.object)


def test_the_manifest_comes_back_and_says_what_was_recorded(place: Place) -> None:
    body = place.write(b"text")
    assert place.spool.manifest(body.object) == {"commitment": "ab" * 32}


def test_each_body_has_a_key_of_its_own(place: Place) -> None:
    first, second = place.write(b"same"), place.write(b"same")
    assert first.key != second.key
    assert place.file(first).read_bytes()[BODY_START:] != place.file(second).read_bytes()[BODY_START:]


def flip(position: int) -> Callable[[bytearray], None]:
    def change(data: bytearray) -> None:
        data[position] ^= 1

    return change


def swap_chunks(data: bytearray) -> None:
    size = CHUNK + TAG
    first, second = data[BODY_START : BODY_START + size], data[BODY_START + size : BODY_START + 2 * size]
    data[BODY_START : BODY_START + 2 * size] = second + first


def cut_last_chunk(data: bytearray) -> None:
    """The body ends at a chunk border, and the trailer says so."""
    size, manifest = TRAILER.unpack(data[-TRAILER.size :])
    tail = size % CHUNK + TAG
    end = len(data) - TRAILER.size - manifest
    kept = data[: end - tail] + data[end : len(data) - TRAILER.size]
    data[:] = kept + TRAILER.pack(size - size % CHUNK - TAG, manifest + TAG)


def cut(octets: int) -> Callable[[bytearray], None]:
    def change(data: bytearray) -> None:
        del data[len(data) - octets :]

    return change


def repeat_chunk(data: bytearray) -> None:
    size, manifest = TRAILER.unpack(data[-TRAILER.size :])
    chunk = bytes(data[BODY_START : BODY_START + CHUNK + TAG])
    data[BODY_START:BODY_START] = chunk
    data[-TRAILER.size :] = TRAILER.pack(size + CHUNK, manifest)


HARM: dict[str, Callable[[bytearray], None]] = {
    "a bit of the first chunk": flip(BODY_START),
    "a bit of the first tag": flip(BODY_START + CHUNK),
    "a bit of the second chunk": flip(BODY_START + CHUNK + TAG + 5),
    "a bit of the magic": flip(0),
    "a bit of the key slot": flip(SLOTS[0] + 60),
    "chunks swapped": swap_chunks,
    "a chunk repeated": repeat_chunk,
    "the last chunk gone": cut_last_chunk,
    "the trailer gone": cut(TRAILER.size),
    "one octet gone": cut(1),
    "half of it gone": cut(CHUNK),
    "one octet more": lambda data: data.extend(b"x"),
    "nothing left": bytearray.clear,
    "the header only": lambda data: data.__delitem__(slice(BODY_START, None)),
}


@pytest.mark.parametrize("harm", HARM.values(), ids=HARM.keys())
def test_an_altered_object_is_refused_and_no_altered_byte_is_given_out(place: Place, harm: Callable[[bytearray], None]) -> None:
    content = content_of(2 * CHUNK + 100)
    body = place.write(content)
    data = bytearray(place.file(body).read_bytes())
    harm(data)
    place.file(body).write_bytes(data)
    given = bytearray()
    with pytest.raises(SpoolError):  # noqa: PT012 - what was given out before is looked at
        reader = place.spool.open(body.object)
        try:
            for chunk in reader.chunks():
                given += chunk
        finally:
            reader.close()
    assert content.startswith(given)
    assert len(given) < len(content)
    assert len(given) % CHUNK == 0


def test_an_altered_manifest_is_refused(place: Place) -> None:
    body = place.write(b"text")
    data = bytearray(place.file(body).read_bytes())
    data[-TRAILER.size - 1] ^= 1
    place.file(body).write_bytes(data)
    with pytest.raises(SpoolError, match="manifest is altered"):
        place.spool.manifest(body.object)


def test_one_object_can_not_be_put_in_the_place_of_another(place: Place) -> None:
    first, second = place.write(b"first"), place.write(b"second")
    place.file(first).write_bytes(place.file(second).read_bytes())
    with pytest.raises(SpoolError, match="key is altered"):
        place.read(first.object)


def test_the_body_of_one_object_can_not_be_put_under_the_header_of_another(place: Place) -> None:
    first, second = place.write(b"first "), place.write(b"second")
    place.file(first).write_bytes(place.file(first).read_bytes()[:BODY_START] + place.file(second).read_bytes()[BODY_START:])
    with pytest.raises(SpoolError, match="chunk 0 is altered"):
        place.read(first.object)


@pytest.mark.parametrize("name", ["0" * 32, "../../etc/passwd", ""])
def test_an_object_that_is_not_there_is_an_error_of_ours(place: Place, name: str) -> None:
    with pytest.raises(SpoolError):
        place.spool.open(name)


def test_a_rotation_rewraps_the_key_and_leaves_the_body_untouched(place: Place) -> None:
    body = place.write(b"text")
    before = place.file(body).read_bytes()
    old = next(iter(place.spool.keys.private))
    place.rotate()
    assert place.spool.rewrap_one(body.object)
    after = place.file(body).read_bytes()
    assert after[BODY_START:] == before[BODY_START:]
    assert old not in after
    del place.spool.keys.private[old]
    assert place.read(body.object) == b"text"
    assert not place.spool.rewrap_one(body.object)


def test_bodies_from_before_a_rotation_can_be_read_as_long_as_the_old_key_is_there(place: Place) -> None:
    body = place.write(b"text")
    old = next(iter(place.spool.keys.private))
    place.rotate()
    assert place.read(body.object) == b"text"
    del place.spool.keys.private[old]
    with pytest.raises(SpoolError, match=f"no private key {old.hex()}"):
        place.read(body.object)
    with pytest.raises(SpoolError, match=f"no private key {old.hex()}"):
        place.spool.rewrap_one(body.object)


@pytest.mark.parametrize("written", [0, 1, 60, 135, 136])
def test_a_rewrap_that_was_cut_short_leaves_an_object_that_can_be_read_and_rewrapped(place: Place, written: int) -> None:
    """The new slot goes into the free place first: whatever of it reached the disk, one of the two is whole."""
    body = place.write(b"text")
    before = place.file(body).read_bytes()
    old = next(iter(place.spool.keys.private))
    place.rotate()
    place.spool.rewrap_one(body.object)
    fresh = place.file(body).read_bytes()[SLOTS[1] : SLOTS[1] + written]
    data = bytearray(before)
    data[SLOTS[1] : SLOTS[1] + written] = fresh
    place.file(body).write_bytes(data)
    assert place.read(body.object) == b"text"
    assert place.spool.rewrap_one(body.object)
    assert old not in place.file(body).read_bytes(), "the slot of the old key is wiped in the end"
    assert place.read(body.object) == b"text"
    assert not place.spool.rewrap_one(body.object)


def test_many_rotations_go_to_and_fro_between_the_two_slots(place: Place) -> None:
    body = place.write(b"text")
    for _ in range(5):
        place.rotate()
        assert place.spool.rewrap_one(body.object)
        assert place.read(body.object) == b"text"


@pytest.mark.parametrize("damage", ["both", "none-left"])
def test_an_object_without_a_sound_key_slot_is_refused(place: Place, damage: str) -> None:
    body = place.write(b"text")
    data = bytearray(place.file(body).read_bytes())
    data[SLOTS[0] : SLOTS[0] + 2 * SLOT_SIZE] = bytes(2 * SLOT_SIZE) if damage == "none-left" else os.urandom(2 * SLOT_SIZE)
    place.file(body).write_bytes(data)
    with pytest.raises(SpoolError, match="damaged or wiped"):
        place.read(body.object)


def test_discard_wipes_the_key_before_the_file_goes(place: Place, tmp_path: Path) -> None:
    body = place.write(b"text")
    kept = tmp_path / "what-the-disk-keeps"
    os.link(place.file(body), kept)
    place.spool.discard(body.object)
    assert not place.file(body).exists()
    data = kept.read_bytes()
    assert data[SLOTS[0] : SLOTS[0] + 2 * SLOT_SIZE] == bytes(2 * SLOT_SIZE)
    place.spool.discard(body.object)


def test_a_writer_that_is_discarded_leaves_nothing(place: Place) -> None:
    writer = place.intake.create(new_id())
    writer.write(content_of(3 * CHUNK))
    writer.discard()
    writer.discard()
    assert list(place.spool.names()) == []


def test_a_transaction_without_bytes_costs_no_file(place: Place) -> None:
    writer = place.intake.create(new_id())
    writer.write(b"short")
    assert list(place.spool.names()) == []
    writer.discard()


@pytest.fixture
def failing_sync(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """os.fsync fails as on a disk that lost what it had taken."""
    calls: list[int] = []

    def fail(descriptor: int) -> None:
        calls.append(descriptor)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    return calls


def test_a_failed_sync_is_fatal_and_not_tried_again(place: Place, failing_sync: list[int]) -> None:
    body = place.write(b"text", seal=False)
    with pytest.raises(SpoolFatal, match="could not be made durable"):
        asyncio.run(place.spool.seal(body, {}))
    assert len(failing_sync) == 1
    assert len(place.fatal) == 1
    assert body.object in place.fatal[0]


def test_a_folder_that_does_not_sync_is_fatal_too(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    body = place.write(b"text", seal=False)
    real = os.fsync

    def only_files(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").resolve().is_dir():
            raise OSError(errno.EIO, "Input/output error")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", only_files)
    with pytest.raises(SpoolFatal):
        asyncio.run(place.spool.seal(body, {}))
    assert len(place.fatal) == 1


def test_a_discard_that_does_not_sync_is_fatal(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    body = place.write(b"text")
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.EIO, "Input/output error")))
    with pytest.raises(SpoolFatal):
        place.spool.discard(body.object)
    assert len(place.fatal) == 1


def test_a_disk_that_is_full_refuses_the_message_and_is_not_fatal(streaming: Place) -> None:
    """/dev/full answers every write with ENOSPC (full(4))."""
    body = streaming.write(b"text", seal=False)
    streaming.file(body).unlink()
    streaming.file(body).symlink_to("/dev/full")
    with pytest.raises(Refusal) as refused:
        asyncio.run(streaming.spool.seal(body, {}))
    assert refused.value.reply.code == 452
    assert streaming.fatal == []
    assert not streaming.file(body).is_symlink()


@pytest.fixture
def no_descriptors_from() -> Iterator[Callable[[int], None]]:
    """From this number on this process gets no descriptor, until the end of the test."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield lambda number: resource.setrlimit(resource.RLIMIT_NOFILE, (number, limits[1]))
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_without_a_descriptor_for_the_body_the_message_is_refused_for_now(
    streaming: Place, no_descriptors_from: Callable[[int], None]
) -> None:
    body = streaming.write(b"text", seal=False)
    lowest = os.dup(0)
    os.close(lowest)
    no_descriptors_from(lowest)
    with pytest.raises(Refusal) as refused:
        streaming.spool._seal(body, b"{}")
    assert (refused.value.reply.code, streaming.fatal, streaming.file(body).exists()) == (451, [], False)


def test_without_a_descriptor_for_its_folder_the_message_is_refused_for_now(
    streaming: Place, no_descriptors_from: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    body = streaming.write(b"text", seal=False)
    monkeypatch.setattr(os, "fsync", no_descriptors_from)  # when the body is synced, and about to be closed
    with pytest.raises(Refusal) as refused:
        streaming.spool._seal(body, b"{}")
    assert (refused.value.reply.code, streaming.fatal, streaming.file(body).exists()) == (451, [], False)


def test_the_body_is_synced_before_the_folders_that_name_it(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    body = place.write(b"text", seal=False)
    synced: list[Path] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(Path(f"/proc/self/fd/{descriptor}").resolve()))
    asyncio.run(place.spool.seal(body, {}))
    assert synced == [place.file(body), place.file(body).parent, place.settings.folder]


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_the_sweep_takes_only_what_is_old_and_has_no_row(place: Place) -> None:
    old_owned, old_orphan, fresh = place.write(b"a"), place.write(b"b"), place.write(b"c")
    for body in (old_owned, old_orphan):
        age(place.file(body), 2 * DAY)
    assert place.spool.sweep(lambda names: {old_owned.object} & set(names), DAY) == 1
    assert set(place.spool.names()) == {old_owned.object, fresh.object}
    assert place.spool.sweep(lambda names: {old_owned.object} & set(names), DAY) == 0


def test_the_sweep_asks_about_old_files_only_and_in_pages(place: Place) -> None:
    bodies = [place.write(b"x") for _ in range(8)]
    for body in bodies[:7]:
        age(place.file(body), 2 * DAY)
    asked: list[int] = []

    def known(names: Iterable[str]) -> set[str]:
        page = set(names)
        assert bodies[7].object not in page
        asked.append(len(page))
        return page

    with closing(FolderSpool(place.settings, RelaxedBodyHash, sweep_page=3)) as spool:
        assert spool.sweep(known, DAY) == 0
    assert asked == [3, 3, 1]


def test_a_folder_of_long_ago_is_looked_through_again_only_where_it_changed(place: Place) -> None:
    """Ten million bodies that are kept are not asked for every hour."""
    bodies = [place.write(b"x") for _ in range(2)]
    folder = place.file(bodies[0]).parent
    asked: list[int] = []

    def known(names: Iterable[str]) -> set[str]:
        asked.append(len(set(names)))
        return {body.object for body in bodies}

    for body in bodies:
        age(place.file(body), 2 * DAY)
    age(folder, 2 * DAY)
    assert [place.spool.sweep(known, DAY) for _ in range(3)] == [0, 0, 0]
    assert asked == [2]
    place.spool.discard(bodies[0].object)
    assert place.spool.sweep(known, DAY) == 0
    assert asked == [2, 1]


def test_after_a_day_it_is_looked_through_again_for_what_a_crash_of_another_process_left(place: Place) -> None:
    body = place.write(b"x")
    folder = place.file(body).parent
    age(place.file(body), 2 * DAY)
    age(folder, 2 * DAY)
    sweep = FolderSweep(place.spool.discard, 500, again=0.0)
    assert sweep.run([folder], lambda names: set(names), DAY) == 0
    assert sweep.run([folder], lambda _: set(), DAY) == 1
    assert not place.file(body).exists()


def test_an_object_that_vanishes_while_the_sweep_looks_stops_nothing(place: Place) -> None:
    bodies = [place.write(b"x") for _ in range(3)]
    for body in bodies:
        age(place.file(body), 2 * DAY)

    def known(names: Iterable[str]) -> set[str]:
        place.spool.discard(bodies[0].object)
        return set()

    assert place.spool.sweep(known, DAY) == 3
    assert list(place.spool.names()) == []


def test_folders_that_became_empty_long_ago_go_and_others_stay(place: Place) -> None:
    long_ago = place.settings.folder / "019000"
    long_ago.mkdir()
    age(long_ago, 2 * DAY)
    body = place.write(b"x")
    place.spool.discard(body.object)
    assert place.spool.sweep(lambda names: set(), DAY) == 0
    assert not long_ago.exists()
    assert place.file(body).parent.exists()


def test_the_spool_is_full_above_its_watermark_or_below_its_reserve(tmp_path: Path) -> None:
    state = os.statvfs(tmp_path)
    free = state.f_bavail * state.f_frsize
    used = 100 * (1 - state.f_bavail / state.f_blocks)
    for name, changes, full in (
        ("roomy", {"full_percent": min(99.99, used + 5)}, False),
        ("watermark", {"full_percent": max(0.01, used - 5)}, True),
        ("reserve", {"full_percent": 99.99, "reserve": free + 2**40}, True),
    ):
        (tmp_path / name).mkdir()
        place = Place(tmp_path / name, **changes)
        assert place.spool.full() is full, name
        assert place.spool.free_bytes() == pytest.approx(free, rel=0.1)
        place.close()


def test_memory_does_not_grow_with_the_size_of_a_message(place: Place) -> None:
    piece = os.urandom(CHUNK)
    pieces = 512  # 32 MiB
    tracemalloc.start()
    try:
        writer = place.intake.create(new_id())
        for _ in range(pieces):
            writer.write(piece)
        body = writer.finish(normalised=False)
        asyncio.run(place.spool.seal(body, {}))
        reader = place.spool.open(body.object)
        size = sum(len(chunk) for chunk in reader.chunks())
        reader.close()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size == body.size == pieces * CHUNK
    assert body.bytes is None
    assert peak < 4 * 1024 * 1024


@pytest.mark.parametrize(("size", "kept"), [(100, True), (256 * 1024, True), (256 * 1024 + 1, False)])
def test_a_small_body_stays_in_memory_while_it_is_decided(place: Place, size: int, kept: bool) -> None:
    content = content_of(size)
    assert place.write(content).bytes == (content if kept else None)


def test_an_object_is_never_written_over(streaming: Place) -> None:
    identity = uuid.uuid4()
    first = streaming.intake.create(identity)
    first.write(content_of(CHUNK))
    second = streaming.intake.create(identity)
    with pytest.raises(FileExistsError):
        second.write(content_of(CHUNK))
    first.discard()


def test_a_body_that_is_sealed_twice_stays_as_it_was(place: Place) -> None:
    body = place.write(b"text")
    before = place.file(body).read_bytes()
    with pytest.raises(FileExistsError):
        asyncio.run(place.spool.seal(body, {}))
    assert (place.file(body).read_bytes(), place.fatal) == (before, [])


def test_a_private_key_that_others_may_read_is_refused(place: Place) -> None:
    folder = place.settings.private_keys
    assert folder is not None
    [path] = folder.iterdir()
    path.chmod(0o640)
    with pytest.raises(Exception, match="others may read this private key"):
        load_keys(place.settings.public_key, folder)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda public, private: public.unlink(), "sluis keys spool new"),
        (lambda public, private: public.write_text("not a key"), "not a spool public key"),
        (lambda public, private: public.write_text("ab" * 31), "not a spool public key"),
        (lambda public, private: next(private.iterdir()).write_text("ab"), "not a spool private key"),
        (lambda public, private: next(private.iterdir()).unlink(), "is missing"),
    ],
)
def test_keys_that_can_not_be_used_are_named(place: Place, harm: Callable[[Path, Path], None], message: str) -> None:
    public, private = place.settings.public_key, place.settings.private_keys
    assert private is not None
    harm(public, private)
    with pytest.raises(Exception, match=message):
        load_keys(public, private)


def test_one_ephemeral_key_wraps_for_a_moment_and_no_nonce_comes_twice() -> None:
    private = X25519PrivateKey.generate()
    public = private.public_key().public_bytes_raw()
    keys = SpoolKeys(public, {key_id(public): private})
    slots = {(name, generation): keys.wrap(bytes(32), name, generation) for name in ("a", "b") for generation in (1, 2)}

    parsed = [parse_slot(slot) for slot in slots.values()]
    assert len({ephemeral for _, _, ephemeral, _ in parsed}) == 1
    assert len({wrapped[:32] for _, _, _, wrapped in parsed}) == 4  # the same key and text under one nonce would give the same
    assert all(keys.unwrap(slot, name) == bytes(32) for (name, _), slot in slots.items())
    with pytest.raises(SpoolError):
        keys.unwrap(slots["a", 1], "b")
    many = {parse_slot(keys.wrap(bytes(32), str(number)))[2] for number in range(2 * WRAPPING_USES)}
    assert len(many) >= 2
