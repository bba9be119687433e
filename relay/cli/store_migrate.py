"""`sluis store migrate`: moves everything into another store and spool, such as from SQLite to PostgreSQL."""

import contextlib
import hashlib
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import click
from sqlalchemy import Connection, Engine, func, select

from relay.cli.common import config_option, json_option, print_json, problems_told, reason_option, settings_from
from relay.cli.progress import Bar
from relay.cli.store_offline import ORIGIN, stopped, tell, who
from relay.model.errors import ConfigurationError, SpoolError, StoreError
from relay.model.ports import SystemClock
from relay.model.text import printable
from relay.phases import change, state
from relay.settings.models import Settings
from relay.sign.body_hash import RelaxedBodyHash
from relay.store import high_water, queue, schema, transfer
from relay.store.bodies import OUT_OF_PACKS, Bodies, FolderBodies, bodies_of, flat, move_body, same_place
from relay.store.engine import check_durability, must_be_made, open_engine
from relay.store.spool.open import open_spool
from relay.store.spool.ports import Spool
from relay.store.tables import Message
from relay.store.transfer import Contents

MESSAGE = Message.__table__  # type: ignore[attr-defined]
MOVED = "the store is being moved, or was: what is here leaves from"
SHOWN = 20
PAGE = 500


@click.command()
@click.option(
    "--to",
    "target_config",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="the settings of afterwards: its store.url and spool are where everything goes",
)
@config_option
@reason_option
@json_option
def migrate(target_config: Path, config: Path, reason: str, as_json: bool) -> None:
    """Copy the store and the spool of these settings to those of the settings --to, with the relay stopped. The target has its tables
    (sluis store upgrade) and is empty, or holds the same migration, interrupted. Rows are compared table by table, bodies octet by octet,
    and read with their key where it is here. The old store stays, with its brake on, so that nothing leaves twice."""
    source, target = settings_from(config), settings_from(target_config)
    bar = Bar()
    with problems_told(), closing(bar), ExitStack() as stack:
        _check_different(source, target)
        for settings in (source, target):
            stack.enter_context(stopped(settings))
        must_be_made(source.store)
        must_be_made(target.store)
        engines = [open_engine(settings.store) for settings in (source, target)]
        for engine in engines:
            stack.callback(engine.dispose)
        try:
            found, bodies = _migrate(source, target, engines[0], engines[1], reason, bar)
        except OSError as error:
            raise StoreError(f"{error.filename or target.spool.folder}: {error.strerror or error}") from None
    if as_json:
        print_json({"bodies": bodies, "tables": {name: {"rows": one.rows, "digest": one.digest} for name, one in found.items()}})
        return
    click.echo(f"moved {sum(one.rows for one in found.values())} rows in {len(found)} tables, and {bodies} bodies; all compared")
    click.echo(f"run the relay with {target_config} from now on: on the old store the brake is on")


def _check_different(source: Settings, target: Settings) -> None:
    if source.store.url == target.store.url:
        raise ConfigurationError([f"both settings name the same store: {source.store.url}"])


def _migrate(source: Settings, target: Settings, here: Engine, there: Engine, reason: str, bar: Bar) -> tuple[dict[str, Contents], int]:
    """Raises StoreError, SpoolError, OSError; then it can be run again."""
    schema.check_schema(here)
    schema.check_version(there)
    check_durability(there)
    actor = who(source)
    _stand_still(here, actor, f"{MOVED} {target.store.url} (sluis store migrate); to stay here all the same: sluis brake release")
    with transfer.one_moment(here) as found:
        transfer.begin(found, there, "migration")
        bodies = _move_bodies(found, source, target, bar)
        transfer.copy(found, there, bar)
        with transfer.one_moment(there) as copied:
            contents = transfer.compare(found, copied, bar)
    details: dict[str, object] = {
        "from": source.store.url,
        "to": target.store.url,
        "bodies": bodies,
        "tables": {name: {"rows": one.rows, "digest": one.digest} for name, one in contents.items()},
    }
    with there.begin() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        if bodies:
            connection.execute(OUT_OF_PACKS)
        queue.end_leases(connection)
        _go_on(connection, actor)
        tell(connection, "migrated", actor, object_="store and spool", result="done", reason=reason, details=details)
        transfer.finish(connection)
    with transfer.one_moment(there) as connection:
        high_water.mark_first(high_water.marks_of(target.spool), connection, socket.gethostname(), SystemClock().now_us())
    return contents, bodies


def _stand_still(here: Engine, actor: str, why: str) -> None:
    """On the old store, before anything is copied: what left from both would arrive twice."""
    with here.begin() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        found = state.read(connection)
        if not (found.brake and found.brake_reason.startswith(MOVED)):
            change.hold_brake(connection, actor, why, SystemClock().now_us(), ORIGIN)


def _go_on(connection: Connection, actor: str) -> None:
    """On the new store the brake is as it was before."""
    found = state.read(connection)
    before = found.brake_reason.partition(change.BEFORE)[2]
    if before:
        state.set_brake(connection, True, before, found.brake_fence)
    else:
        change.release_brake(connection, actor, "the store was moved, and is whole here", SystemClock().now_us(), ORIGIN)


def _move_bodies(connection: Connection, source: Settings, target: Settings, bar: Bar) -> int:
    """Those that rows name, then what else is sealed: it may belong to a message that lost its row. Raises SpoolError, OSError."""
    if same_place(source.spool, target.spool):
        return 0
    if source.spool.s3 is not None:
        raise ConfigurationError([f"bodies are in {source.spool.s3.url}: none are moved out of an object store"])
    target.spool.folder.mkdir(parents=True, exist_ok=True, mode=0o770)
    here, there = FolderBodies(source.spool.folder), bodies_of(target.spool)
    problems: list[str] = []
    moved = set()
    total = connection.execute(select(func.count()).select_from(MESSAGE).where(MESSAGE.c.spool_object.is_not(None))).scalar() or 0
    with _reading(target) as spool:
        for name, digest in _named(connection):
            try:
                if move_body(here, there, name):
                    _read_through(spool, flat(name), digest)
                else:
                    problems.append(f"spool object {name}: a message names it, and it is not there")
            except SpoolError as error:
                problems.append(str(error))
            moved.add(name)
            bar("bodies", len(moved), total)
    if problems:
        more = f"\nand {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise SpoolError("\n".join(problems[:SHOWN]) + more)
    _move_others(here, there, moved)
    old, new = high_water.marks_of(source.spool), high_water.marks_of(target.spool)
    for name, data in old.read().items():
        if name.startswith(high_water.GAP):
            new.write(name, data)
    return len(moved)


def _move_others(here: FolderBodies, there: Bodies, moved: set[str]) -> None:
    for name in here.names():
        if name not in moved:
            with contextlib.suppress(SpoolError):  # being received when the relay ended: it never heard 250
                move_body(here, there, name)


def _named(connection: Connection) -> Iterator[tuple[str, str]]:
    after = None
    while True:
        query = select(MESSAGE.c.id, MESSAGE.c.spool_object, MESSAGE.c.digest).where(MESSAGE.c.spool_object.is_not(None))
        if after is not None:
            query = query.where(MESSAGE.c.id > after)
        page = connection.execute(query.order_by(MESSAGE.c.id).limit(PAGE)).all()
        yield from ((row.spool_object, row.digest) for row in page)
        if len(page) < PAGE:
            return
        after = page[-1].id


@contextlib.contextmanager
def _reading(target: Settings) -> Iterator[Spool | None]:
    """The new spool, where its private key is here."""
    try:
        spool = open_spool(target.spool, RelaxedBodyHash)
    except ConfigurationError:
        yield None
        return
    try:
        yield spool if spool.keys.private else None
    finally:
        spool.close()


def _read_through(spool: Spool | None, name: str, digest: str) -> None:
    """Each chunk by its tag, all of it by the digest of the record."""
    if spool is None:
        return
    found = hashlib.sha256()
    with closing(spool.open(name)) as body:
        for chunk in body.chunks():
            found.update(chunk)
    if found.hexdigest() != digest:
        raise SpoolError(f"spool object {name}: its SHA-256 is {found.hexdigest()}, the record says {printable(digest)}")
