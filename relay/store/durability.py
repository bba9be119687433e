"""What a database server must do so that its `committed` can be believed (promise 1), and what was seen when it does not."""

import time
from typing import Any

from sqlalchemy import Connection, Engine, event, text

from relay.model.errors import StoreError
from relay.store.lineage import standing

AGAIN_SECONDS = 1.0
"""Settings change under open connections (ALTER SYSTEM and a reload): each connection is asked again after this long, when it is used."""
REPLICATED = ("on", "remote_apply")
"""Commits that wait until a synchronous standby has them on its disk (PostgreSQL documentation, synchronous_commit)."""
_NAMES = ("fsync", "full_page_writes", "synchronous_commit", "synchronous_standby_names", "transaction_read_only")
_QUERY = f"SELECT pg_is_in_recovery(), {', '.join(f'current_setting({name!r})' for name in _NAMES)}"
_ASKED = "sluis durability asked"
_UNCONFIRMED = "sluis unconfirmed"
_WARNING = "01000"


class Unconfirmed(StoreError):
    """Committed here, and perhaps nowhere else: it must not be run again, and nothing may be promised on it."""


def watch_postgresql(engine: Engine, standby: str) -> None:
    """From here on every connection to PostgreSQL is asked when it is made, and again when it is used: a failover, ALTER ROLE or a reload
    changes what its commits are worth. The connection is refused with StoreError. `standby` is `store.standby`."""

    def made(connection: Any, record: Any) -> None:
        connection.add_notice_handler(lambda told: _noticed(record.info, told))
        try:
            _refuse(connection, standby)
        except BaseException:
            connection.close()
            raise
        record.info[_ASKED] = time.monotonic()

    def used(connection: Any, record: Any, _proxy: Any) -> None:
        if time.monotonic() - record.info.get(_ASKED, 0.0) < AGAIN_SECONDS:
            return
        _refuse(connection, standby)
        record.info[_ASKED] = time.monotonic()

    event.listen(engine, "connect", made)
    event.listen(engine, "checkout", used)


def _refuse(connection: Any, standby: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_QUERY)
        row = cursor.fetchone()
    connection.rollback()
    assert row is not None
    found = problem(in_recovery=row[0], settings=dict(zip(_NAMES, row[1:], strict=True)), standby=standby)
    if found is not None:
        raise StoreError(found)


def problem(*, in_recovery: bool, settings: dict[str, str], standby: str) -> str | None:
    """Why a server's commits can't be believed, or None. `settings` as in `SHOW`; `standby` is `store.standby`."""
    if in_recovery:
        return "this PostgreSQL is a standby, and takes no commits (store.url: with several hosts, say target_session_attrs=read-write)"
    if settings["transaction_read_only"] == "on":
        return "this PostgreSQL is read-only for this role (default_transaction_read_only = on)"
    for name in ("fsync", "full_page_writes", "synchronous_commit"):
        if settings[name] == "off":
            return f"PostgreSQL runs with {name} = off: a commit would not be durable"
    commit, names = settings["synchronous_commit"], settings["synchronous_standby_names"]
    if standby == "synchronous" and not names:
        return "store.standby is synchronous, and synchronous_standby_names is empty: a failover would lose what heard 250"
    if (names or standby == "synchronous") and commit not in REPLICATED:
        return (
            f"PostgreSQL runs with synchronous_commit = {commit} for this role, beside synchronous_standby_names = '{names}': "
            "a failover would lose what heard 250 (ALTER ROLE … SET synchronous_commit = on)"
        )
    return None


def _noticed(info: dict[Any, Any], told: Any) -> None:
    """A commit whose wait for the standby is cancelled (pg_cancel_backend) says that it was well, after a warning with a detail: it is on
    this server only (PostgreSQL, SyncRepWaitForLSN). No other warning comes with a COMMIT of ours."""
    if told.sqlstate == _WARNING and told.message_detail:
        info[_UNCONFIRMED] = told.message_primary


def confirmed(info: dict[Any, Any]) -> None:
    """After a commit; `info` is that of its connection. Raises Unconfirmed where the server did not wait for its standby."""
    told = info.pop(_UNCONFIRMED, None)
    if told is not None:
        raise Unconfirmed(f"the store did not wait for its standby: {told}")


def refusal(connection: Connection, standby: str) -> str | None:
    """Why nothing may begin on a server whose commits are well: somebody follows it without their waiting, and nobody has said what he is
    for (promise 1). Under a relay that runs it is an alert (relay/app/high_water_watch.py): nothing is lost until he is promoted."""
    found = standing(connection) if standby == "none" else None
    if found is None or not found.followers or connection.execute(text("SHOW synchronous_standby_names")).scalar():
        return None
    return (
        f'store.standby is "none", and {_follow(found.followers)}: promoting such a standby loses what heard 250. Say "synchronous", and '
        'let commits wait for it; or "asynchronous", if it is there to be read, or for the worst day (docs/deploying.md)'
    )


def check_standby(engine: Engine, standby: str) -> None:
    """Raises StoreError where a relay may not start: what a standby is for has to be said. `standby` is `store.standby`."""
    with engine.connect() as connection:
        found = refusal(connection, standby)
    if found is not None:
        raise StoreError(found)


def doubts(connection: Connection, standby: str) -> list[str]:
    """What was accepted by whoever runs it, and is said at each start and by `sluis check`."""
    found = standing(connection) if standby == "asynchronous" else None
    if found is None or not found.followers or connection.execute(text("SHOW synchronous_standby_names")).scalar():
        return []
    return [
        f'{_follow(found.followers)}, as store.standby = "asynchronous" accepts: promoting such a standby loses what heard 250, and pulls '
        "the brake"
    ]


def _follow(followers: int) -> str:
    return f"{followers} {'follows' if followers == 1 else 'follow'} this PostgreSQL without its commits waiting"
