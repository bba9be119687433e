"""Small bodies that are sealed in one moment share a file of the folder: each is as safe, as secret and as gone as in one of its own."""

import asyncio
import errno
import io
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from relay.model.errors import Refusal, SpoolError
from relay.model.ids import new_id
from relay.model.message import Body
from relay.store.spool.durable import SpoolFatal
from relay.store.spool.folder import PACKED
from relay.store.spool.folder_pack import PackFile
from relay.store.spool.format import BODY_START, CHUNK, SLOT_SIZE, SLOTS, read_body
from tests.stages.store.test_spool import DAY, Place, age

TEXTS = (b"first body\r\n", b"second body\r\n", b"", b"x" * (2 * CHUNK + 5))


def arrived(place: Place, content: bytes) -> Body:
    return place.write(content, seal=False)


def sealed(place: Place, *bodies: Body) -> list[str]:
    """All in one moment; gives their names."""

    async def together() -> list[str]:
        return await asyncio.gather(*(place.spool.seal(body, {"of": body.object}) for body in bodies))

    return asyncio.run(together())


def kept(place: Place, *contents: bytes) -> list[str]:
    return sealed(place, *(arrived(place, content) for content in contents))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.close()


@pytest.fixture
def names(place: Place) -> list[str]:
    """Of TEXTS, in a pack."""
    return kept(place, *TEXTS)


def identity(name: str) -> uuid.UUID:
    return uuid.UUID(name.rpartition("/")[2])


def test_bodies_of_one_moment_share_a_file_and_come_back_whole(place: Place, names: list[str]) -> None:
    assert len({place.spool.path(name) for name in names}) == 1
    assert [place.read(name) for name in names] == list(TEXTS)
    assert [place.spool.manifest(name) for name in names] == [{"of": identity(name).hex} for name in names]
    assert all(map(place.spool.sealed, names))
    assert list(place.spool.names()) == names
    assert place.read(names[3], CHUNK + 7) == TEXTS[3][CHUNK + 7 :]


def test_nothing_of_them_is_on_the_disk_in_clear(place: Place, names: list[str]) -> None:
    data = place.spool.path(names[0]).read_bytes()
    assert not any(text in data for text in TEXTS if text)


def test_a_small_body_is_on_no_disk_before_it_is_sealed(place: Place) -> None:
    body = arrived(place, b"x" * PACKED)
    assert (list(place.spool.names()), body.bytes) == ([], b"x" * PACKED)
    place.spool.drop(body)
    assert list(place.settings.folder.iterdir()) == []


def test_a_larger_one_goes_into_a_file_of_its_own_as_it_comes(place: Place) -> None:
    content = os.urandom(PACKED + 1)
    body = arrived(place, content)
    assert place.spool.path(body.object).exists()
    small = arrived(place, b"small")
    assert sealed(place, body, small) == [body.object, small.object]
    assert place.read(body.object) == content


def test_one_that_is_alone_has_a_file_of_its_own(place: Place) -> None:
    body = arrived(place, b"alone")
    assert sealed(place, body) == [body.object]
    assert place.spool.path(body.object).name == body.object


def test_a_pack_costs_three_syncs_and_the_file_is_durable_before_it_has_its_name(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(Path(f"/proc/self/fd/{descriptor}").resolve()))
    path = place.spool.path(kept(place, *TEXTS)[0])
    assert synced == [path.with_suffix(".new"), path.parent, place.settings.folder]


@pytest.mark.parametrize("is_sealed", [False, True])
@pytest.mark.parametrize("number", range(len(TEXTS)))
def test_a_process_that_may_open_nothing_gets_a_copy_of_its_own(place: Place, number: int, is_sealed: bool) -> None:
    bodies = [arrived(place, text) for text in TEXTS]
    wanted = bodies[number]
    if is_sealed:
        wanted = Body(sealed(place, *bodies)[number], wanted.size, wanted.digest, wanted.body_hash)

    async def read() -> bytes:
        async with place.spool.local(wanted) as found:
            with found.path.open("rb") as file:
                return b"".join(read_body(file, found.name, found.key, size=wanted.size))

    assert asyncio.run(read()) == TEXTS[number]


def where(place: Place, name: str) -> int:
    with PackFile(place.spool.path(name)) as pack:
        return pack.places[identity(name)].offset


HARM: dict[str, Callable[[bytearray, int], None]] = {
    "a bit of its body": lambda data, at: data.__setitem__(at + BODY_START, data[at + BODY_START] ^ 1),
    "a bit of its tag": lambda data, at: data.__setitem__(at + BODY_START + 20, data[at + BODY_START + 20] ^ 1),
    "a bit of its key": lambda data, at: data.__setitem__(at + SLOTS[0] + 60, data[at + SLOTS[0] + 60] ^ 1),
    "a bit of its magic": lambda data, at: data.__setitem__(at, data[at] ^ 1),
    "a bit of the index": lambda data, at: data.__setitem__(40, data[40] ^ 1),
    "the count": lambda data, at: data.__setitem__(slice(16, 20), b"\xff\xff\xff\xff"),
    "the rest gone": lambda data, at: data.__delitem__(slice(at + BODY_START + 4, None)),
    "nothing left": lambda data, at: data.clear(),
}


@pytest.mark.parametrize("harm", HARM.values(), ids=HARM.keys())
def test_an_altered_body_of_a_pack_is_refused(place: Place, names: list[str], harm: Callable[[bytearray, int], None]) -> None:
    path = place.spool.path(names[0])
    data = bytearray(path.read_bytes())
    harm(data, where(place, names[0]))
    path.write_bytes(data)
    with pytest.raises(SpoolError):
        place.read(names[0])


def test_what_is_beside_an_altered_body_is_read(place: Place, names: list[str]) -> None:
    path, at = place.spool.path(names[0]), where(place, names[0])
    data = bytearray(path.read_bytes())
    data[at : at + BODY_START + 4] = os.urandom(BODY_START + 4)
    path.write_bytes(data)
    with pytest.raises(SpoolError):
        place.read(names[0])
    assert [place.read(name) for name in names[1:]] == list(TEXTS[1:])


def test_one_body_can_not_be_put_in_the_place_of_another(place: Place) -> None:
    names = kept(place, b"first ", b"second")
    path, first, second = place.spool.path(names[0]), where(place, names[0]), where(place, names[1])
    data = bytearray(path.read_bytes())
    length = second - first
    data[first:second], data[second:] = data[second:], data[first:second]
    assert len(data) == second + length
    path.write_bytes(data)
    for name in names:
        with pytest.raises(SpoolError, match="altered"):
            place.read(name)


@pytest.mark.parametrize("name", ["{0}/" + "0" * 32, "{0}/../{0}", "../{0}/{0}", "{0}/", "/"])
def test_a_name_that_a_pack_does_not_have_is_an_error_of_ours(place: Place, names: list[str], name: str) -> None:
    with pytest.raises(SpoolError):
        place.spool.open(name.format(names[0].partition("/")[0]))


def test_erasing_one_wipes_its_key_and_leaves_the_others(place: Place, names: list[str]) -> None:
    path, at = place.spool.path(names[1]), where(place, names[1])
    place.spool.discard(names[1])
    assert path.read_bytes()[at + SLOTS[0] :][: 2 * SLOT_SIZE] == bytes(2 * SLOT_SIZE)
    with pytest.raises(SpoolError, match="damaged or wiped"):
        place.read(names[1])
    assert [place.read(names[number]) for number in (0, 2, 3)] == [TEXTS[number] for number in (0, 2, 3)]
    assert list(place.spool.names()) == [names[0], names[2], names[3]]
    place.spool.discard(names[1])


def test_a_pack_goes_with_the_last_of_its_bodies(place: Place, names: list[str], tmp_path: Path) -> None:
    path = place.spool.path(names[0])
    os.link(path, tmp_path / "what-the-disk-keeps")
    alone = kept(place, b"alone")[0]
    place.spool.discard(names[0], alone, *names[2:])
    assert path.exists()
    place.spool.discard(names[1])
    assert not path.exists()
    assert not place.spool.path(alone).exists()
    for name in names:
        with pytest.raises(SpoolError):
            place.read(name)
    data = (tmp_path / "what-the-disk-keeps").read_bytes()
    assert b"\x00\x00\x00\x01" + next(iter(place.spool.keys.private)) not in data, "no slot is left"
    place.spool.discard(*names)


def test_erasing_is_durable_before_it_is_said(place: Place, names: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.EIO, "Input/output error")))
    with pytest.raises(SpoolFatal):
        place.spool.discard(names[0])
    assert len(place.fatal) == 1


def test_a_damaged_pack_is_told_when_something_of_it_is_to_be_erased_and_the_rest_is_erased(place: Place, names: list[str]) -> None:
    alone, others = kept(place, b"alone")[0], kept(place, b"a", b"b")
    path = place.spool.path(names[0])
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(SpoolError, match="index"):
        place.spool.discard(names[0], others[0], alone)
    assert list(place.spool.names()) == [others[1]]


def test_a_rotation_rewraps_each_key_of_a_pack_and_no_body(place: Place, names: list[str]) -> None:
    path = place.spool.path(names[0])
    before, places = path.read_bytes(), [where(place, name) for name in names]
    old = next(iter(place.spool.keys.private))
    place.spool.discard(names[1])
    place.rotate()
    failed: list[str] = []
    assert place.spool.rewrap(lambda name, _: failed.append(name)) == 3
    assert failed == []
    after = path.read_bytes()
    assert old not in after
    del place.spool.keys.private[old]
    assert [place.read(names[number]) for number in (0, 2, 3)] == [TEXTS[number] for number in (0, 2, 3)]
    for start, end in zip(places, [*places[1:], len(before)], strict=True):
        assert after[start + BODY_START : end] == before[start + BODY_START : end]
    assert place.spool.rewrap(lambda name, _: failed.append(name)) == 0


def test_a_rotation_tells_of_a_damaged_pack_whose_keys_it_can_not_reach(place: Place, names: list[str]) -> None:
    path = place.spool.path(names[0])
    path.write_bytes(path.read_bytes()[:60])
    place.rotate()
    failed: list[str] = []
    assert place.spool.rewrap(lambda name, _: failed.append(name)) == 0
    assert failed == [path.stem]


def test_the_sweep_takes_orphans_out_of_a_pack(place: Place, names: list[str]) -> None:
    path = place.spool.path(names[0])
    assert place.spool.sweep(lambda _: set(), DAY) == 0
    age(path, 2 * DAY)
    assert place.spool.sweep(lambda found: {names[1]} & set(found), DAY) == 3
    assert list(place.spool.names()) == [names[1]]
    age(path, 2 * DAY)
    assert place.spool.sweep(lambda _: set(), DAY) == 1
    assert not path.exists()


def test_what_a_crash_left_of_a_pack_is_no_body_and_goes_when_it_is_old(place: Place, names: list[str]) -> None:
    left = place.spool.path(names[0]).with_name(f"{new_id().hex}.new")
    left.write_bytes(b"half")
    assert list(place.spool.names()) == names
    assert place.spool.sweep(set, DAY) == 0
    assert left.exists(), "somebody may be at it"
    age(left, 2 * DAY)
    assert place.spool.sweep(set, DAY) == 0
    assert not left.exists()
    assert list(place.spool.names()) == names


def test_a_damaged_pack_is_left_for_a_person_and_stops_no_sweep(place: Place, names: list[str], caplog: pytest.LogCaptureFixture) -> None:
    path = place.spool.path(names[0])
    path.write_bytes(path.read_bytes()[:60])
    orphan = kept(place, b"orphan")[0]
    for file in (path, place.spool.path(orphan)):
        age(file, 2 * DAY)
    assert place.spool.sweep(lambda _: set(), DAY) == 1
    assert path.exists()
    assert "a pack is damaged" in caplog.text


def refusing(error: int) -> Callable[..., int]:
    def write(*_: Any) -> int:
        raise OSError(error, os.strerror(error))

    return write


def test_a_full_disk_refuses_all_of_a_pack_and_leaves_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    kept(place, b"the folder is made")
    before = list(place.settings.folder.rglob("*"))
    bodies = [arrived(place, text) for text in TEXTS]
    monkeypatch.setattr(os, "write", refusing(errno.ENOSPC))

    async def together() -> list[Any]:
        return await asyncio.gather(*(place.spool.seal(body, {}) for body in bodies), return_exceptions=True)

    found = asyncio.run(together())
    assert [type(one) for one in found] == [Refusal] * len(TEXTS)
    assert found[0].reply.code == 452
    assert place.fatal == []
    assert list(place.settings.folder.rglob("*")) == before


def test_a_sync_that_fails_is_told_to_all_of_a_pack_and_ends_the_process(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    bodies = [arrived(place, text) for text in TEXTS]
    monkeypatch.setattr(os, "fsync", refusing(errno.EIO))

    async def together() -> list[Any]:
        return await asyncio.gather(*(place.spool.seal(body, {}) for body in bodies), return_exceptions=True)

    assert [type(one) for one in asyncio.run(together())] == [SpoolFatal] * len(TEXTS)
    assert len(place.fatal) == 1
    assert list(place.spool.names()) == [], "what is not durable has no name"


def test_what_comes_while_a_pack_is_written_goes_into_the_next(place: Place) -> None:
    async def story() -> list[str]:
        first = asyncio.gather(*(place.spool.seal(arrived(place, text), {}) for text in TEXTS[:2]))
        while not place.spool._packer._writing or place.spool._packer._waiting:
            await asyncio.sleep(0)
        later = asyncio.gather(*(place.spool.seal(arrived(place, text), {}) for text in TEXTS[2:]))
        return [*await first, *await later]

    names = asyncio.run(story())
    assert len({name.partition("/")[0] for name in names}) == 2
    assert (place.spool._packer.packs, place.spool._packer.bodies) == (2, 4)
    assert [place.read(name) for name in names] == list(TEXTS)


def test_a_process_without_the_private_key_seals_and_reads_nothing(place: Place, names: list[str]) -> None:
    bodies = [arrived(place, text) for text in TEXTS]

    async def together() -> list[str]:
        return await asyncio.gather(*(place.intake.seal(body, {}) for body in bodies))

    written = asyncio.run(together())
    assert [place.read(name) for name in written] == list(TEXTS)
    with pytest.raises(SpoolError, match="no private key"):
        place.intake.open(written[0])


def test_a_window_is_bounded_by_its_body(place: Place, names: list[str]) -> None:
    with PackFile(place.spool.path(names[0]), "r+b") as pack:
        window = pack.window(identity(names[0]))
        length = window.seek(0, io.SEEK_END)
        assert (length, window.tell(), window.read(10)) == (pack.places[identity(names[0])].length, length, b"")
        with pytest.raises(ValueError, match="does not grow"):
            window.write(b"x")
        window.seek(0)
        assert len(window.read()) == length
