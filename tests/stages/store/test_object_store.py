"""Bodies in an object store (Ceph's S3): what was sealed comes back whole, what was altered not at all, what was erased never again."""

import asyncio
import os
import time
import tracemalloc
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from relay.model.errors import ConfigurationError, SpoolError, SpoolUnavailable, StoreError
from relay.model.message import Body
from relay.settings.models import ObjectStore
from relay.store.spool import pack
from relay.store.spool.bucket import Bucket
from relay.store.spool.format import BODY_START, CHUNK, read_body
from relay.store.spool.s3 import PACKED, S3Spool
from relay.store.spool.s3_sweep import S3Sweep
from tests.servers.object_spool import ObjectPlace, object_place
from tests.servers.s3 import Ceph

DAY = 86_400.0
MIB = 1024 * 1024


@pytest.fixture
def place(ceph: Ceph, tmp_path: Path) -> Iterator[ObjectPlace]:
    with object_place(ceph, tmp_path) as place:
        yield place


def pack_of(name: str) -> str:
    return pack.split(name)[0]


# writing and reading

SIZES = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, PACKED, 3 * CHUNK + 5, MIB + 1, 6 * MIB + 12_345]


@pytest.mark.parametrize("size", SIZES)
def test_what_was_sealed_comes_back_whole_from_anywhere_in_it(place: ObjectPlace, size: int) -> None:
    content = os.urandom(size)
    (name,) = place.keep(content)
    assert place.spool.open(name).size == size
    for start in {0, 1, CHUNK, size // 2, max(size - 1, 0), size}:
        if start <= size:
            assert place.read(name, start) == content[start:], start
    assert place.spool.manifest(name)["commitment"] == pack.split(name)[1].hex
    assert place.spool.sealed(name)


def test_two_may_read_a_large_body_at_once(place: ObjectPlace) -> None:
    content = os.urandom(3 * MIB)
    (name,) = place.keep(content)
    opened = asyncio.run(place.spool.fetch(name))
    pairs = list(zip(opened().chunks(), opened().chunks(), strict=True))
    assert b"".join(one for one, _ in pairs) == b"".join(other for _, other in pairs) == content


def test_the_octets_are_those_of_a_folder_but_for_where_the_header_lies(place: ObjectPlace) -> None:
    (name,) = place.keep(b"as in a folder" * 1000)
    pack_id, identity = pack.split(name)
    (entry,) = pack.decode(place.get(f"packs/{pack_id}.keys"), pack_id).values()
    path = place.folder / identity.hex
    path.write_bytes(entry.header + place.get(f"packs/{pack_id}.body"))
    with path.open("rb") as file:
        assert b"".join(read_body(file, identity.hex, place.spool.keys.unwrap(entry.slot, identity.hex))) == b"as in a folder" * 1000


def test_nothing_in_the_bucket_is_readable_without_the_private_key(place: ObjectPlace) -> None:
    (name,) = place.keep(b"a secret that nobody else may read" * 10)
    assert not any(b"secret" in place.get(found) for found in place.objects())
    with pytest.raises(SpoolUnavailable, match="no private key"):
        place.intake.open(name)


@pytest.mark.parametrize("size", [100, 3 * CHUNK])
def test_what_is_not_sealed_yet_is_inspected_from_here_and_leaves_no_file(place: ObjectPlace, size: int) -> None:
    content = os.urandom(size)
    body = place.arrive(content)

    async def inspected(found: Body) -> bytes:
        async with place.intake.local(found) as local:
            with local.path.open("rb") as file:
                return b"".join(read_body(file, local.name, local.key, size=size))

    assert asyncio.run(inspected(body)) == content
    assert place.objects() == {}
    assert list(place.folder.iterdir()) == []
    (name,) = place.seal(body)
    assert place.read(name) == content


@pytest.mark.parametrize("size", [100, 3 * MIB])
def test_what_comes_back_from_hold_is_inspected_from_a_copy_that_is_still_encrypted(place: ObjectPlace, size: int) -> None:
    content = os.urandom(size)
    (name,) = place.keep(content)

    async def inspected() -> bytes:
        async with place.spool.local(Body(name, size, "", "")) as local:
            with local.path.open("rb") as file:
                assert content[:64] not in file.read()
                return b"".join(read_body(file, local.name, local.key, size=size))

    assert asyncio.run(inspected()) == content
    assert list(place.folder.iterdir()) == []


def test_a_message_that_is_given_up_leaves_nothing_here_and_nothing_there(place: ObjectPlace) -> None:
    writer = place.intake.create(uuid.uuid4())
    writer.write(os.urandom(4 * CHUNK))
    writer.discard()
    writer.discard()
    body = place.arrive(os.urandom(4 * CHUNK))
    place.spool.drop(body)
    assert place.objects() == {}
    assert list(place.folder.iterdir()) == []


def test_memory_does_not_grow_with_a_message(place: ObjectPlace) -> None:
    place.keep(b"x")
    piece = os.urandom(MIB)
    writer = place.intake.create(uuid.uuid4())
    tracemalloc.start()
    try:
        for _ in range(40):
            writer.write(piece)
        (name,) = place.seal(writer.finish(normalised=False))
        sent = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        assert sum(map(len, place.spool.open(name).chunks())) == 40 * MIB
        assert max(sent, tracemalloc.get_traced_memory()[1]) < 24 * MIB
    finally:
        tracemalloc.stop()


# what can't keep bodies


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"url": "s3://nobody-has-this-bucket"}, "404 Not Found NoSuchBucket"),
        ({"endpoint": "http://127.0.0.1:1", "deadline": 1.0}, "Connection refused"),
        ({"endpoint": "tls", "deadline": 1.0}, "UnknownIssuer"),
    ],
)
def test_a_store_that_can_not_be_used_is_told_with_its_reason(ceph: Ceph, bucket: ObjectStore, change: dict[str, Any], says: str) -> None:
    if change.get("endpoint") == "tls":
        change = {**change, "endpoint": ceph.tls_endpoint}
    with pytest.raises(StoreError, match=says):
        Bucket(bucket.model_copy(update=change)).check()


def test_a_bucket_that_keeps_old_versions_is_refused_because_nothing_could_be_erased(ceph: Ceph, bucket: ObjectStore) -> None:
    ceph.keep_versions(bucket)
    with pytest.raises(StoreError, match="keeps old versions"):
        Bucket(bucket).check()


@pytest.mark.parametrize(
    ("text", "mode", "says"),
    [
        ("[default]\naws_access_key_id = a\naws_secret_access_key = b\n", 0o644, "others may read"),
        ("[default]\naws_access_key_id = a\n", 0o600, "no \\[default\\]"),
        ("not a file of that kind", 0o600, "no \\[default\\]"),
        (None, 0o600, "No such file"),
    ],
)
def test_credentials_that_are_wrong_are_told_and_not_shown(
    tmp_path: Path, bucket: ObjectStore, text: str | None, mode: int, says: str
) -> None:
    file = tmp_path / "credentials"
    if text is not None:
        file.write_text(text)
        file.chmod(mode)
    with pytest.raises(ConfigurationError, match=says) as caught:
        Bucket(bucket.model_copy(update={"credentials": file}))
    assert "secret_access_key = b" not in str(caught.value)


def test_without_credentials_nobody_on_the_network_is_asked_for_some(bucket: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    with pytest.raises(ConfigurationError, match="no credentials"):
        Bucket(bucket.model_copy(update={"credentials": None}))


def test_credentials_may_stand_in_the_environment(ceph: Ceph, bucket: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ceph.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", ceph.secret_key)
    Bucket(bucket.model_copy(update={"credentials": None})).check()


# packs


def test_what_is_sealed_together_shares_an_object_and_large_bodies_stand_alone(place: ObjectPlace) -> None:
    contents = [os.urandom(2000 + number) for number in range(100)]
    names = place.keep(*contents, os.urandom(PACKED + 1))
    assert len({pack_of(name) for name in names[:-1]}) <= 3
    assert pack_of(names[-1]) not in {pack_of(name) for name in names[:-1]}
    assert len(place.objects()) <= 8
    assert [place.read(name) for name in names[:-1]] == contents
    assert set(place.spool.names()) == set(names)


def test_a_body_is_not_opened_by_the_key_of_another_in_its_pack(place: ObjectPlace) -> None:
    names = place.keep(*(os.urandom(5000) for _ in range(10)))
    shared = max({pack_of(name) for name in names}, key=lambda pack_id: sum(name.startswith(pack_id) for name in names))
    entries = list(pack.decode(place.get(f"packs/{shared}.keys"), shared).values())
    swapped = [entries[0].with_slot(entries[1].slot), entries[1].with_slot(entries[0].slot)]
    place.put(f"packs/{shared}.keys", pack.encode(swapped))
    with pytest.raises(SpoolError, match="its key is altered"):
        place.read(pack.joined(shared, entries[0].identity))


@pytest.mark.parametrize("position", [0, BODY_START, -1])
def test_altered_octets_are_not_used(place: ObjectPlace, position: int) -> None:
    (name,) = place.keep(os.urandom(3000))
    data = bytearray(place.get(f"packs/{pack_of(name)}.body"))
    data[position] ^= 1
    place.put(f"packs/{pack_of(name)}.body", bytes(data))
    with pytest.raises(SpoolError):
        place.read(name)


@pytest.mark.parametrize("half", ["keys", "body"])
def test_half_a_pack_is_no_body(place: ObjectPlace, half: str) -> None:
    (name,) = place.keep(os.urandom(3000))
    data = place.get(f"packs/{pack_of(name)}.{half}")
    place.put(f"packs/{pack_of(name)}.{half}", data[: len(data) // 2])
    with pytest.raises(SpoolError):
        place.read(name)


# erasing, rotating


def test_an_erased_body_is_gone_whoever_has_the_key_and_its_neighbours_are_not(place: ObjectPlace) -> None:
    contents = [os.urandom(3000) for _ in range(6)]
    names = place.keep(*contents)
    shared = [name for name in names if pack_of(name) == pack_of(names[-1])]
    slot = pack.decode(place.get(f"packs/{pack_of(names[-1])}.keys"), "")[pack.split(names[-1])[1]].slot
    place.spool.discard(names[-1])
    place.spool.discard(names[-1])
    with pytest.raises(SpoolError):
        place.read(names[-1])
    assert not any(slot in place.get(found) for found in place.objects())
    assert [place.read(name) for name in names[:-1]] == contents[:-1]
    place.spool.discard(*shared)
    assert not any(pack_of(names[-1]) in found for found in place.objects())


def test_rotation_touches_no_body_and_what_is_erased_meanwhile_stays_erased(place: ObjectPlace) -> None:
    contents = [os.urandom(3000) for _ in range(6)] + [os.urandom(PACKED + 1)]
    names = place.keep(*contents)
    old = next(iter(place.spool.keys.private))
    bodies = {found: place.get(found) for found in place.objects() if found.endswith(".body")}
    place.rotate()
    place.spool.discard(names[0])
    failed: list[str] = []
    assert place.spool.rewrap(lambda name, _: failed.append(name)) == len(names) - 1
    assert failed == []
    assert bodies == {found: place.get(found) for found in place.objects() if found.endswith(".body")}
    del place.spool.keys.private[old]
    assert [place.read(name) for name in names[1:]] == contents[1:]
    with pytest.raises(SpoolError, match="erased"):
        place.read(names[0])
    assert place.spool.rewrap(lambda name, _: failed.append(name)) == 0


def test_a_body_whose_private_key_is_lost_is_named_and_no_other(place: ObjectPlace) -> None:
    (lost,) = place.keep(b"lost")
    old = next(iter(place.spool.keys.private))
    place.rotate()
    place.intake.keys = place.spool.keys
    (other,) = place.keep(b"other")
    del place.spool.keys.private[old]
    failed: list[str] = []
    assert place.spool.rewrap(lambda name, _: failed.append(name)) == 0
    assert failed == [lost]
    assert place.read(other) == b"other"


def test_two_machines_that_erase_from_one_pack_at_once_bring_nothing_back(place: ObjectPlace) -> None:
    names = place.keep(*(os.urandom(500) for _ in range(12)))

    async def both() -> None:
        await asyncio.gather(
            *(asyncio.to_thread(spool.discard, name) for spool, name in zip([place.spool, place.intake] * 6, names, strict=True))
        )

    asyncio.run(both())
    assert list(place.spool.names()) == []


# orphans


def aged(name: str, seconds: float) -> str:
    """The pack's id as if it had been made so long ago."""
    pack_id = uuid.UUID(pack_of(name))
    return uuid.UUID(int=pack_id.int - (int(seconds * 1000) << 80)).hex


def age(place: ObjectPlace, name: str, seconds: float = 0) -> str:
    """Moves a pack to an older id; gives the new name of the body."""
    older = aged(name, seconds)
    for end in ("body", "keys"):
        place.put(f"packs/{older}.{end}", place.get(f"packs/{pack_of(name)}.{end}"))
    place.spool.discard(*(found for found in place.spool.names() if found.startswith(pack_of(name))))
    return f"{older}/{name.partition('/')[2]}"


def test_the_sweep_takes_old_bodies_without_a_row_and_nothing_else(place: ObjectPlace) -> None:
    (owned,), (orphan,), (ancient,) = place.keep(b"owned"), place.keep(b"orphan"), place.keep(b"ancient")
    owned, orphan, ancient = age(place, owned, 3600), age(place, orphan, 3600), age(place, ancient, 40 * DAY)
    time.sleep(1.1)  # the store's clock counts as well: what it was given just now is new
    (fresh,) = place.keep(b"fresh")
    asked: list[str] = []

    def known(names: Iterable[str]) -> set[str]:
        asked.extend(names)
        return {owned} & set(asked)

    assert place.spool.sweep(known, 1.0) == 2
    assert set(place.spool.names()) == {owned, fresh}
    assert fresh not in asked
    assert place.spool.sweep(known, 1.0) == 0
    assert place.read(owned) == b"owned"


def test_halves_that_a_crash_left_are_swept(place: ObjectPlace) -> None:
    one, other = place.keep(b"one")[0], place.keep(b"other")[0]
    one, other = age(place, one, 3600), age(place, other, 3600)
    place.put(f"packs/{aged(one, 10)}.body", b"octets whose keys never came")
    place.spool.discard(other)
    time.sleep(1.1)
    place.put(f"packs/{aged(one, 20)}.keys", b"no index")
    assert place.spool.sweep(lambda names: set(names), 1.0) == 0
    assert {found.partition(".")[0] for found in place.objects()} == {f"packs/{pack_of(one)}", f"packs/{aged(one, 20)}"}


def test_a_sweep_asks_in_pages_and_goes_on_through_old_packs_where_it_ended(place: ObjectPlace) -> None:
    assert isinstance(place.spool, S3Spool)
    sweep = S3Sweep(place.spool._bucket, place.spool._indexes, old_packs=2)
    names = [age(place, place.keep(b"old")[0], (50 - number) * DAY) for number in range(5)]
    time.sleep(1.1)
    asked: list[list[str]] = []

    def known(page: Iterable[str]) -> set[str]:
        asked.append(list(page))
        return set(asked[-1])

    for _ in range(4):
        assert sweep.run(known, 1.0) == 0
    assert asked == [names[:2], names[2:4], names[4:], names[:2]]
