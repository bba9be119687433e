"""Claims on what is due: a lease with a fence. A write that names an older fence changes nothing."""

import logging
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, delete, literal_column, or_, select, update

from relay.model.decision import Epoch
from relay.model.delivery import State
from relay.model.effects import NO_EFFECTS, Effects
from relay.model.errors import SluisError
from relay.model.features import Inspection
from relay.model.message import Claimed, StoredMessage, Ticket
from relay.store.codec import peer_from_json, recipient_from_json, release_from_json, sender_from_json
from relay.store.hot import Hot
from relay.store.tables import Delivery, Message, Queue

log = logging.getLogger("sluis.queue")
QUEUE = Queue.__table__  # type: ignore[attr-defined]
DELIVERY = Delivery.__table__  # type: ignore[attr-defined]
MESSAGE = Message.__table__  # type: ignore[attr-defined]
_OURS = (
    (QUEUE.c.message_id == bindparam("of_message"))
    & (QUEUE.c.ordinal == bindparam("of_ordinal"))
    & (QUEUE.c.owner == bindparam("of_owner"))
    & (QUEUE.c.fence == bindparam("of_fence"))
)
_MARK = {
    first: Hot(
        update(QUEUE)
        .where(_OURS & (QUEUE.c.lease_until_us > bindparam("of_now")))
        .values(marked_fence=QUEUE.c.fence, attempts=QUEUE.c.attempts + literal_column(str(int(first))))
        .returning(QUEUE.c.lease_until_us)
    )
    for first in (True, False)
}
_COUNT_ATTEMPT = Hot(
    update(DELIVERY)
    .where(DELIVERY.c.message_id == bindparam("of_message"), DELIVERY.c.ordinal == bindparam("of_ordinal"))
    .values(attempts=DELIVERY.c.attempts + literal_column("1"))
)
_DROP = Hot(delete(QUEUE).where(_OURS))
_TAKE = (
    update(QUEUE)
    .where(QUEUE.c.message_id == bindparam("of_message"), QUEUE.c.ordinal == bindparam("of_ordinal"))
    .values(owner=bindparam("to_owner"), lease_until_us=bindparam("to_until"), fence=bindparam("to_fence"), marked_fence=None)
)
_INTERRUPTED = (
    update(DELIVERY)
    .where(DELIVERY.c.message_id == bindparam("of_message"), DELIVERY.c.ordinal == bindparam("of_ordinal"))
    .values(possible_duplicates=DELIVERY.c.possible_duplicates + 1)
)


_Way = tuple[bool, tuple[tuple[str, str], ...]]
_Group = tuple[uuid.UUID, str, str, str, _Way | None]
"""Message, route, policy, phase, and the way of `Effects`: what shares a claim leaves in one copy."""
DAMAGED = (ValueError, LookupError, TypeError, AttributeError)
"""What is raised for a row that is not as it was written, or that a newer program wrote."""


class LeaseLost(SluisError):
    """Another process has taken the delivery over, or its lease ran out."""


def claim(connection: Connection, owner: str, now_us: int, lease_us: int, limit: int, at_work: Collection[uuid.UUID] = ()) -> list[Claimed]:
    """Takes up to `limit` due rows, those of one message, route and effects together. What is leased to nobody, or to somebody whose lease
    ran out, can be taken; a mark that has no outcome is then a possible duplicate. Messages that `owner` is `at_work` on stay with it: a
    clock that was put forward ends leases of what is being delivered. What can't be read from the store is told, and left alone until its
    lease is over: all other mail would wait behind it."""
    over = QUEUE.c.lease_until_us < now_us
    if at_work:
        over &= (QUEUE.c.owner != owner) | QUEUE.c.message_id.not_in(at_work)
    free = (QUEUE.c.next_us <= now_us) & or_(QUEUE.c.lease_until_us.is_(None), over)
    query = select(QUEUE).where(free).order_by(QUEUE.c.next_us).limit(limit).with_for_update(skip_locked=True)
    rows = connection.execute(query).all()
    if not rows:
        return []
    identities = {row.message_id for row in rows}
    ordinals = {row.ordinal for row in rows}
    wanted = select(DELIVERY).where(DELIVERY.c.message_id.in_(identities), DELIVERY.c.ordinal.in_(ordinals))
    deliveries = {(row.message_id, row.ordinal): row for row in connection.execute(wanted)}
    groups: dict[_Group, list[Any]] = {}
    for row in rows:
        groups.setdefault((row.message_id, row.route, row.policy, row.phase, _way(row, deliveries)), []).append(row)
    until_us = now_us + lease_us
    fences = {key: max(row.fence for row in members) + 1 for key, members in groups.items()}
    _take(connection, groups, fences, owner, until_us)
    messages = {row.id: row for row in connection.execute(select(MESSAGE).where(MESSAGE.c.id.in_(identities)))}
    claims = []
    for key, members in groups.items():
        try:
            if key[4] is None:
                raise ValueError("effects that can't be read")
            claims.append(
                Claimed(
                    message=stored_message(messages[key[0]]),
                    route=key[1],
                    tickets=tuple(
                        _ticket(row, deliveries[row.message_id, row.ordinal]) for row in sorted(members, key=lambda member: member.ordinal)
                    ),
                    epoch=Epoch(key[2], key[3]),
                    owner=owner,
                    fence=fences[key],
                    lease_until_us=until_us,
                    expires_us=min(row.expires_us for row in members),
                    effects=Effects(require_tls=key[4][0], fields=key[4][1]),
                )
            )
        except DAMAGED as error:
            log.error("a delivery can't be read from the store", extra={"fields": {"message": key[0].hex, "error": repr(error)}})
    return claims


def _way(row: Any, deliveries: Mapping[tuple[uuid.UUID, int], Any]) -> _Way | None:
    """Of the effects of a delivery; None where they can't be read."""
    try:
        return (Effects.from_json(deliveries[row.message_id, row.ordinal].effects) if row.route else NO_EFFECTS).way
    except DAMAGED:
        return None


def _take(
    connection: Connection,
    groups: Mapping[_Group, Sequence[Any]],
    fences: Mapping[_Group, int],
    owner: str,
    until_us: int,
) -> None:
    """All rows of a claim get its fence; what was marked and has no outcome is a possible duplicate from now on."""
    taken, interrupted = [], []
    for key, rows in groups.items():
        for row in rows:
            place = {"of_message": row.message_id, "of_ordinal": row.ordinal}
            taken.append(place | {"to_owner": owner, "to_until": until_us, "to_fence": fences[key]})
            if row.marked_fence is not None:
                interrupted.append(place)
    connection.execute(_TAKE, taken)
    if interrupted:
        connection.execute(_INTERRUPTED, interrupted)


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
    """The same as `mark_all`, for one."""
    return mark_all(connection, [claimed], now_us, first=first)[0]


def mark_all(connection: Connection, claims: Sequence[Claimed], now_us: int, *, first: bool) -> list[int]:
    """The attempts may send their final dot after this commit, and not before (promise 1). A claim over several destinations has several
    final dots: one attempt, counted at the first. Gives when each lease ends. Raises LeaseLost, also where a lease ran out and was not
    renewed, though nobody has taken it yet."""
    rows = [row | {"of_now": now_us} for claimed in claims for row in _rows_of(claimed)]
    ends = [found[0] for found in _MARK[first].each(connection, rows) if found is not None]
    if len(ends) != len(rows):
        raise LeaseLost(_lost(claims))
    if first:
        _COUNT_ATTEMPT.run(connection, rows)
    of_row = iter(ends)
    return [min(next(of_row) for _ in claimed.tickets) for claimed in claims]


def drop(connection: Connection, claims: Sequence[Claimed]) -> None:
    """The rows of claims that are at their end. Raises LeaseLost."""
    rows = [row for claimed in claims for row in _rows_of(claimed)]
    if _DROP.run(connection, rows) != len(rows):
        raise LeaseLost(_lost(claims))


def _rows_of(claimed: Claimed) -> list[dict[str, Any]]:
    """What `_OURS` asks for, for each ticket."""
    return [
        {"of_message": claimed.message.id, "of_ordinal": ticket.ordinal, "of_owner": claimed.owner, "of_fence": claimed.fence}
        for ticket in claimed.tickets
    ]


def _lost(claims: Sequence[Claimed]) -> str:
    """Of several nobody knows which; each is then asked for alone."""
    return f"the lease on {claims[0].message.id.hex} is lost" if len(claims) == 1 else "a lease is lost"


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
