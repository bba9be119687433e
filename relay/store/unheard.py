"""Receipts of which nobody knows yet whether their client heard them (RFC 1047): a row from the commit of the message to the client's next
word. Rows are keyed by a digest over client, envelope and bytes.
"""

import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from relay.store.hot import Hot
from relay.store.tables import Unheard

UNHEARD = Unheard.__table__  # type: ignore[attr-defined]
_ADD = {dialect.__name__.rpartition(".")[2]: Hot(dialect.insert(UNHEARD).on_conflict_do_nothing()) for dialect in (sqlite, postgresql)}


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a client was told, or was about to be told: `codes` are those of the replies, one, or under LMTP one for each recipient."""

    message_id: uuid.UUID
    accepted_us: int
    commitment: str
    codes: tuple[int, ...]


def find(connection: Connection, key: bytes, since_us: int) -> Receipt | None:
    """The unheard receipt for this key that is not older than `since_us`."""
    row = connection.execute(select(UNHEARD).where(UNHEARD.c.key == key, UNHEARD.c.accepted_us >= since_us)).first()
    return Receipt(row.message_id, row.accepted_us, row.commitment, tuple(map(int, row.codes.split(",")))) if row else None


def add_all(connection: Connection, receipts: Mapping[bytes, Receipt]) -> bool:
    """Adds them all where none of them is there; False where one is, and the caller's transaction is then not to be kept."""
    rows = [_row(key, receipt) for key, receipt in receipts.items()]
    return _ADD[connection.dialect.name].run(connection, rows) == len(rows)


def _row(key: bytes, receipt: Receipt) -> dict[str, Any]:
    return {
        "key": key,
        "message_id": receipt.message_id,
        "accepted_us": receipt.accepted_us,
        "commitment": receipt.commitment,
        "codes": ",".join(map(str, receipt.codes)),
    }


def add(connection: Connection, key: bytes, receipt: Receipt, since_us: int) -> Receipt | None:
    """Adds a receipt, and gives None; or gives the one that is there and not older than `since_us`, and changes nothing. On PostgreSQL it
    waits for another process that is about to commit the same key."""
    while not _ADD[connection.dialect.name].run(connection, [_row(key, receipt)]):
        if (found := find(connection, key, since_us)) is not None:
            return found
        # Too old, or removed by another process in this moment: then this removes nothing.
        connection.execute(delete(UNHEARD).where(UNHEARD.c.key == key, UNHEARD.c.accepted_us < since_us))
    return None


def remove(connection: Connection, keys: Collection[bytes]) -> None:
    """Receipts that were heard."""
    connection.execute(delete(UNHEARD).where(UNHEARD.c.key.in_(list(keys))))


def too_old(connection: Connection, since_us: int, after: bytes, limit: int) -> list[bytes]:
    """A page of the keys of what is older than `since_us`, in their order."""
    query = select(UNHEARD.c.key).where(UNHEARD.c.key > after, UNHEARD.c.accepted_us < since_us).order_by(UNHEARD.c.key).limit(limit)
    return list(connection.execute(query).scalars())


def forget(connection: Connection, since_us: int, keys: Collection[bytes]) -> None:
    """What is older than `since_us`, of these."""
    connection.execute(delete(UNHEARD).where(UNHEARD.c.key.in_(list(keys)), UNHEARD.c.accepted_us < since_us))
