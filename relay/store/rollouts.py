"""The ways of policies into force, newest first: who proposed each, who approved it, what its tests said, and since when it is in force."""

import uuid
from typing import Any

from sqlalchemy import Connection, Select, insert, select, update

from relay.store.tables import Approval, PolicyRollout, PolicyVersion, Request

ROLLOUT = PolicyRollout.__table__  # type: ignore[attr-defined]
REQUEST = Request.__table__  # type: ignore[attr-defined]
APPROVAL = Approval.__table__  # type: ignore[attr-defined]
VERSION = PolicyVersion.__table__  # type: ignore[attr-defined]

PROPOSED, ROLLBACK, FOLDER = "proposed", "rollback", "folder"
"""Where one came from."""
MOST_TESTS = 20
"""Sets of tests of one policy that are looked through for one that somebody names."""


def add(connection: Connection, **row: Any) -> None:
    """A row, by the names of its columns."""
    connection.execute(insert(ROLLOUT).values(**row))


def live(connection: Connection, identity: uuid.UUID, now_us: int) -> None:
    """It is in force from now on."""
    connection.execute(update(ROLLOUT).where(ROLLOUT.c.id == identity).values(live_us=now_us))


def page(connection: Connection, after: uuid.UUID | None, limit: int) -> list[Any]:
    """Without the tests themselves. `request_state` and `approver` are None where no request was made."""
    query = _told().order_by(ROLLOUT.c.id.desc()).limit(limit)
    return list(connection.execute(query if after is None else query.where(ROLLOUT.c.id < after)))


def waiting(connection: Connection) -> list[Any]:
    """Those that wait for a second person, newest first."""
    return list(connection.execute(_told().where(REQUEST.c.state == "open").order_by(ROLLOUT.c.id.desc())))


def _told() -> Select[Any]:
    columns = [column for column in ROLLOUT.c if column.name != "tests"]
    joined = ROLLOUT.outerjoin(REQUEST, REQUEST.c.id == ROLLOUT.c.id).outerjoin(APPROVAL, APPROVAL.c.request_id == ROLLOUT.c.id)
    answered = (REQUEST.c.state.label("request_state"), REQUEST.c.details, APPROVAL.c.actor.label("approver"), APPROVAL.c.approved)
    return select(*columns, *answered).select_from(joined)


def current(connection: Connection, digest: str | None) -> uuid.UUID | None:
    """The way on which the policy in force came there last; None where it came before there were such rows."""
    query = select(ROLLOUT.c.id).where(ROLLOUT.c.digest == digest, ROLLOUT.c.live_us.is_not(None))
    return connection.execute(query.order_by(ROLLOUT.c.live_us.desc(), ROLLOUT.c.id.desc()).limit(1)).scalar()


def tests_of(connection: Connection, digest: str) -> dict[str, str]:
    """The tests of a policy: those with which it came into force last, or else was last proposed; none where it never was."""
    return next(iter(beside(connection, digest, 1)), {})


def stood(connection: Connection, digest: str, limit: int = MOST_TESTS) -> list[dict[str, str]]:
    """Those with which it was in force, newest first."""
    query = select(ROLLOUT.c.tests).where(ROLLOUT.c.digest == digest, ROLLOUT.c.live_us.is_not(None))
    return list(connection.execute(query.order_by(ROLLOUT.c.live_us.desc(), ROLLOUT.c.id.desc()).limit(limit)).scalars())


def beside(connection: Connection, digest: str, limit: int = MOST_TESTS) -> list[dict[str, str]]:
    """All that stood beside it, those first with which it came into force, newest first."""
    query = select(ROLLOUT.c.tests).where(ROLLOUT.c.digest == digest)
    ordered = query.order_by(ROLLOUT.c.live_us.is_(None), ROLLOUT.c.live_us.desc(), ROLLOUT.c.id.desc())
    return list(connection.execute(ordered.limit(limit)).scalars())
