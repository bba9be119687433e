"""Stored bodies that are altered in every region, cut short, exchanged or away, while their messages wait for the next hop.

What is altered is never delivered and never dropped: it waits for a person. What is only away is delivered when it is back.
"""

import contextlib
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from relay.model.delivery import State
from relay.model.errors import SpoolError
from relay.settings.load import load_settings
from relay.sign.body_hash import RelaxedBodyHash
from relay.store.spool.folder import FolderSpool
from relay.store.spool.format import BODY_START, CHUNK, SLOT_SIZE, SLOTS, TAG, TRAILER
from relay.store.spool.keys import load_keys
from tests.faults.around.play import Fault, deferred, prove
from tests.faults.client import LARGE, Transaction
from tests.faults.stand import CLERKS, DESK, LOOK_SECONDS, Stand
from tests.stories.house import until

Harm = Callable[[bytearray, int], None]
"""Changes the bytes of an object; the number is a chance of 0 to 2**32."""
SEALED_CHUNK = CHUNK + TAG


def _flip(data: bytearray, start: int, end: int, chance: int) -> None:
    """One bit between two positions."""
    data[start + chance % (end - start)] ^= 1 << (chance >> 8) % 8


def _sizes(data: bytearray) -> tuple[int, int]:
    """Of body and manifest, as the trailer has them."""
    size, manifest = TRAILER.unpack(data[-TRAILER.size :])
    return int(size), int(manifest)


def _manifest_start(data: bytearray) -> int:
    return len(data) - TRAILER.size - _sizes(data)[1]


def _both_slots(data: bytearray, chance: int) -> None:
    for start in SLOTS:
        _flip(data, start, start + SLOT_SIZE - 12, chance)  # what is behind the check is padding


def _swap(data: bytearray, _: int) -> None:
    first, second = data[BODY_START : BODY_START + SEALED_CHUNK], data[BODY_START + SEALED_CHUNK : BODY_START + 2 * SEALED_CHUNK]
    data[BODY_START : BODY_START + 2 * SEALED_CHUNK] = second + first


def _cut(data: bytearray, chance: int) -> None:
    del data[chance % len(data) :]


HARM: dict[str, Harm] = {
    "magic": lambda data, chance: _flip(data, 0, 16, chance),
    "key slots": _both_slots,
    "first chunk": lambda data, chance: _flip(data, BODY_START, BODY_START + CHUNK, chance),
    "a tag": lambda data, chance: _flip(data, BODY_START + CHUNK, BODY_START + SEALED_CHUNK, chance),
    "a later chunk": lambda data, chance: _flip(data, BODY_START + SEALED_CHUNK, BODY_START + 5 * SEALED_CHUNK, chance),
    "last chunk": lambda data, chance: _flip(data, _manifest_start(data) - TAG - 10, _manifest_start(data), chance),
    "trailer": lambda data, chance: _flip(data, len(data) - TRAILER.size, len(data), chance),
    "cut anywhere": _cut,
    "cut in the manifest": lambda data, chance: data.__delitem__(slice(_manifest_start(data) + chance % 20, None)),
    "longer": lambda data, _: data.extend(bytes(16)),
    "chunks swapped": _swap,
    "empty": lambda data, _: data.clear(),
}


@asynccontextmanager
async def _waiting(at: Stand) -> AsyncIterator[tuple[Transaction, Path]]:
    """A large message whose next hop said 451, and its body in the spool; at the end it says 250 again."""
    behaviour = at.hop.behaviour
    behaviour.replies = {"MAIL": "451 4.3.0 Later"}
    try:
        transaction = await at.send([CLERKS[0]], LARGE)
        prove(transaction.heard_250, f"it was not accepted: {transaction.reply}")
        await until(lambda: deferred(at, transaction), "a first attempt", every=LOOK_SECONDS)
        (row,) = at.rows_of(transaction)
        name = str(row.m_spool_object)
        path = at.house.folder / "spool" / name[:6] / name
        prove(row.state == "ready" and path.exists(), "it has left already")
        yield transaction, path
    finally:
        behaviour.replies = {}


async def _for_a_person(at: Stand, transaction: Transaction) -> None:
    """It waits, nothing of it arrived, and nothing was thrown away."""
    await until(lambda: [row.state for row in at.rows_of(transaction)] == ["undeliverable"], lambda: f"a stop: {at.rows_of(transaction)}")
    (row,) = at.rows_of(transaction)
    assert "the stored body can't be used" in row.outcome["reply"], row.outcome
    assert not [copy for copy in at.hop.copies if copy.id == transaction.id], "something of it arrived"


async def _found_by_store_check(at: Stand, transaction: Transaction) -> None:
    said = await at.house.sluis("store", "check", "--json")
    assert transaction.id is not None
    assert said.code == 1, "store check has not seen it"
    assert transaction.id.hex in said.out, said.out


def altered(harm: Harm) -> Fault:
    """Changed while it waits; put right afterwards, so that a person can send it after all."""

    async def fault(at: Stand) -> list[Transaction]:
        async with _waiting(at) as (transaction, path):
            whole = path.read_bytes()
            data = bytearray(whole)
            harm(data, at.rng.getrandbits(32))
            assert data != whole
            path.write_bytes(data)
        await _for_a_person(at, transaction)
        assert path.read_bytes() == data
        await _mended(at, transaction, path, whole)
        return [transaction]

    return fault


async def exchanged(at: Stand) -> list[Transaction]:
    """In its place lies another body of that name and length, encrypted by somebody who has the public key, with tags that are right."""
    async with _waiting(at) as (transaction, path):
        whole = path.read_bytes()
        await _forge(at, path, transaction.raw.replace(b"Case", b"Lies", 1))
    await _for_a_person(at, transaction)
    await _found_by_store_check(at, transaction)
    await _mended(at, transaction, path, whole)
    return [transaction]


async def _forge(at: Stand, path: Path, raw: bytes) -> None:
    settings = load_settings(at.house.config).spool
    spool = FolderSpool(settings.model_copy(update={"private_keys": None}), RelaxedBodyHash, load_keys(settings.public_key, None))
    path.unlink()
    try:
        writer = spool.create(uuid.UUID(path.name))
        writer.write(raw)
        await spool.seal(writer.finish(normalised=False), {})
    finally:
        spool.close()


async def _mended(at: Stand, transaction: Transaction, path: Path, whole: bytes) -> None:
    """The body comes back from a backup, and a person asks for another try."""
    path.write_bytes(whole)
    assert transaction.id is not None
    said = await at.house.sluis("queue", "retry", transaction.id.hex, "--reason", "the body was put back")
    assert said.code == 0, said.err
    await until(lambda: [row.state for row in at.rows_of(transaction)] == ["delivered"], lambda: f"{at.rows_of(transaction)}")


async def away(at: Stand) -> list[Transaction]:
    """The file is not there for a while: that may pass, and it is deferred until it is back."""
    async with _waiting(at) as (transaction, path):
        hidden = path.with_name("." + path.name)
        path.rename(hidden)
        before = len(at.house.log())
    await until(lambda: "spool-unavailable" in at.house.log()[before:], "an alert")
    assert [row.state for row in at.rows_of(transaction)] == ["ready"]
    hidden.rename(path)
    return [transaction]


async def manifest_altered(at: Stand) -> list[Transaction]:
    """The manifest is for a rebuild, and no delivery reads it: the body is whole, and leaves."""
    async with _waiting(at) as (transaction, path):
        data = bytearray(path.read_bytes())
        start = _manifest_start(data)
        _flip(data, start, len(data) - TRAILER.size, at.rng.getrandbits(32))
        path.write_bytes(data)
        spool = at.spool()
        try:
            with contextlib.suppress(SpoolError):
                spool.manifest(path.name)
                raise AssertionError("an altered manifest was read")
        finally:
            spool.close()
    return [transaction]


async def in_quarantine(at: Stand) -> list[Transaction]:
    """It is altered while it waits for a person; the person releases it."""
    transaction = await at.send([DESK], LARGE)
    prove(transaction.heard_250, f"it was not accepted: {transaction.reply}")
    (row,) = at.rows_of(transaction)
    path = at.house.folder / "spool" / row.m_spool_object[:6] / row.m_spool_object
    whole = path.read_bytes()
    data = bytearray(whole)
    _flip(data, BODY_START + SEALED_CHUNK, BODY_START + 5 * SEALED_CHUNK, at.rng.getrandbits(32))
    path.write_bytes(data)
    assert transaction.id is not None
    at.causes.harmed[transaction.id] = State.UNDELIVERABLE
    assert await at.release(transaction, 0) == 0
    await at.settle()
    states = [row.state for row in at.rows_of(transaction)]
    assert states != ["delivered"]
    assert not [copy for copy in at.hop.copies if copy.id == transaction.id], "something of it arrived"
    path.write_bytes(whole)
    return [transaction]


BODIES: dict[str, Fault] = {
    **{f"stored body: {name}": altered(harm) for name, harm in HARM.items()},
    "stored body: exchanged": exchanged,
    "stored body: away": away,
    "stored body: manifest": manifest_altered,
    "stored body: in quarantine": in_quarantine,
}
FEW = ("key slots", "a later chunk", "cut anywhere", "exchanged", "away", "in quarantine")
"""For `make test`; that each harm is found when an object is read is shown by tests/stages/store/test_spool.py."""
