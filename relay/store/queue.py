"""Claims on what is due: a lease with a fence. A write that names an older fence changes nothing."""

import uuid
from collections.abc import Collection, Iterable
from typing import Any

from sqlalchemy import Connection, or_, select, update

from relay.model.decision import Epoch
from relay.model.delivery import State
from relay.model.errors import SluisError
from relay.model.features import Inspection
from relay.model.message import Claimed, StoredMessage, Ticket
from relay.store.codec import peer_from_json, recipient_from_json, release_from_json, sender_from_json
from relay.store.tables import Delivery, Message, Queue

QUEUE = Queue.__table__  # type: ignore[attr-defined]
DELIVERY = Delivery.__table__  # type: ignore[attr-defined]
MESSAGE = Message.__table__  # type: ignore[attr-defined]


class LeaseLost(SluisError):
    """Another process has taken the delivery over, or its lease ran out."""


def claim(connection: Connection, owner: str, now_us: int, lease_us: int, limit: int, at_work: Collection[uuid.UUID] = ()) -> list[Claimed]:
    """Takes up to `limit` due rows, those of one message and route together. What is leased to nobody, or to somebody whose lease ran out,
    can be taken; a mark that has no outcome is then a possible duplicate. Messages that `owner` is `at_work` on stay with it: a clock that
    was put forward ends leases of what is being delivered."""
    over = QUEUE.c.lease_until_us < now_us
    if at_work:
        over &= (QUEUE.c.owner != owner) | QUEUE.c.message_id.not_in(at_work)
    free = (QUEUE.c.next_us <= now_us) & or_(QUEUE.c.lease_until_us.is_(None), over)
    query = select(QUEUE).where(free).order_by(QUEUE.c.next_us).limit(limit).with_for_update(skip_locked=True)
    groups: dict[tuple[uuid.UUID, str, str, str], list[Any]] = {}
    for row in connection.execute(query):
        groups.setdefault((row.message_id, row.route, row.policy, row.phase), []).append(row)
    return [_claim_group(connection, rows, owner, now_us, lease_us) for rows in groups.values()]


def _claim_group(connection: Connection, rows: list[Any], owner: str, now_us: int, lease_us: int) -> Claimed:
    message_id = rows[0].message_id
    fence = max(row.fence for row in rows) + 1
    ordinals = [row.ordinal for row in rows]
    interrupted = [row.ordinal for row in rows if row.marked_fence is not None]
    connection.execute(
        update(QUEUE)
        .where(QUEUE.c.message_id == message_id, QUEUE.c.ordinal.in_(ordinals))
        .values(owner=owner, lease_until_us=now_us + lease_us, fence=fence, marked_fence=None)
    )
    if interrupted:
        connection.execute(
            update(DELIVERY)
            .where(DELIVERY.c.message_id == message_id, DELIVERY.c.ordinal.in_(interrupted))
            .values(possible_duplicates=DELIVERY.c.possible_duplicates + 1)
        )
    message = connection.execute(select(MESSAGE).where(MESSAGE.c.id == message_id)).one()
    deliveries = {
        row.ordinal: row
        for row in connection.execute(select(DELIVERY).where(DELIVERY.c.message_id == message_id, DELIVERY.c.ordinal.in_(ordinals)))
    }
    return Claimed(
        message=stored_message(message),
        route=rows[0].route,
        tickets=tuple(_ticket(row, deliveries[row.ordinal]) for row in sorted(rows, key=lambda row: row.ordinal)),
        epoch=Epoch(rows[0].policy, rows[0].phase),
        owner=owner,
        fence=fence,
        lease_until_us=now_us + lease_us,
        expires_us=min(row.expires_us for row in rows),
    )


def stored_message(row: Any) -> StoredMessage:
    """A row of `message` as the model type."""
    return StoredMessage(
        id=row.id,
        received_us=row.received_us,
        peer=peer_from_json(row.peer),
        client=row.client,
        sender=sender_from_json(row.envelope),
        spool_object=row.spool_object or "",
        size=row.size,
        digest=row.digest,
        body_hash=row.body_hash,
        vouched=row.vouched,
        authorised=row.authorised,
        inspection=Inspection.from_json(row.inspection),
        commitment=row.commitment,
        recipients_total=row.recipients,
    )


def _ticket(row: Any, delivery: Any) -> Ticket:
    return Ticket(
        ordinal=row.ordinal,
        recipient=recipient_from_json(delivery.envelope),
        state=State(delivery.state),
        attempts=row.attempts,
        interrupted=row.marked_fence is not None or delivery.possible_duplicates > 0,
        release=release_from_json(delivery.release) if delivery.release else None,
        delay_notified=row.delay_notified,
    )


def _held(claimed: Claimed, ordinals: Iterable[int]) -> Any:
    """The rows of a claim, if they are still ours."""
    return (
        (QUEUE.c.message_id == claimed.message.id)
        & QUEUE.c.ordinal.in_(list(ordinals))
        & (QUEUE.c.owner == claimed.owner)
        & (QUEUE.c.fence == claimed.fence)
    )


def check_lease(connection: Connection, claimed: Claimed) -> None:
    """Raises LeaseLost unless every row of the claim is still ours; part of each transaction that ends one."""
    ordinals = [ticket.ordinal for ticket in claimed.tickets]
    query = select(QUEUE.c.ordinal).where(_held(claimed, ordinals)).with_for_update()
    if len(connection.execute(query).all()) != len(ordinals):
        raise LeaseLost(f"the lease on {claimed.message.id.hex} is lost")


def mark(connection: Connection, claimed: Claimed, now_us: int, *, first: bool = True) -> int:
    """The attempt may send its final dot after this commit, and not before (promise 1). A claim over several destinations has several
    final dots: one attempt, counted at the first. Gives when the lease ends. Raises LeaseLost, also where it ran out and was not renewed,
    though nobody has taken it yet."""
    ordinals = [ticket.ordinal for ticket in claimed.tickets]
    values = {"marked_fence": claimed.fence, "attempts": QUEUE.c.attempts + int(first)}
    held = _held(claimed, ordinals) & (QUEUE.c.lease_until_us > now_us)
    ends = connection.execute(update(QUEUE).where(held).values(**values).returning(QUEUE.c.lease_until_us)).scalars().all()
    if len(ends) != len(ordinals):
        raise LeaseLost(f"the lease on {claimed.message.id.hex} is lost")
    connection.execute(
        update(DELIVERY)
        .where(DELIVERY.c.message_id == claimed.message.id, DELIVERY.c.ordinal.in_(ordinals))
        .values(attempts=DELIVERY.c.attempts + int(first))
    )
    return int(min(ends))


def renew(connection: Connection, claimed: Claimed, now_us: int, lease_us: int) -> int:
    """A longer lease; gives its new end. Raises LeaseLost."""
    ordinals = [ticket.ordinal for ticket in claimed.tickets]
    if connection.execute(update(QUEUE).where(_held(claimed, ordinals)).values(lease_until_us=now_us + lease_us)).rowcount != len(ordinals):
        raise LeaseLost(f"the lease on {claimed.message.id.hex} is lost")
    return now_us + lease_us


def give_back(connection: Connection, claimed: Claimed, next_us: int) -> None:
    """Ends a claim without an outcome, such as at a stop: what was not marked is as it was."""
    ordinals = [ticket.ordinal for ticket in claimed.tickets]
    connection.execute(update(QUEUE).where(_held(claimed, ordinals)).values(owner=None, lease_until_us=None, next_us=next_us))


def end_leases(connection: Connection) -> int:
    """On SQLite the one process that starts knows that every lease is of a dead one."""
    statement = update(QUEUE).where(QUEUE.c.owner.is_not(None)).values(lease_until_us=0)
    return int(connection.execute(statement).rowcount)


def is_due(connection: Connection, now_us: int) -> bool:
    """Whether a claim would find anything."""
    free = (QUEUE.c.next_us <= now_us) & or_(QUEUE.c.lease_until_us.is_(None), QUEUE.c.lease_until_us < now_us)
    return connection.execute(select(QUEUE.c.ordinal).where(free).limit(1)).first() is not None
