"""What `sluis store check` looks at: schema, triggers, durability, ownership, commitments, the balance, bodies that rows name."""

import hashlib
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sqlalchemy import Connection, Engine, exists, select, text

from relay.audit import event
from relay.model.delivery import WAITING
from relay.model.errors import ConfigurationError, SluisError, SpoolError, StoreError
from relay.settings.models import Settings
from relay.sign.body_hash import RelaxedBodyHash
from relay.store import schema, states
from relay.store.engine import check_durability, open_engine, sqlite_path
from relay.store.reader import Reader
from relay.store.spool.open import open_spool
from relay.store.spool.ports import Spool
from relay.store.tables import Delivery, Message

MESSAGE = Message.__table__  # type: ignore[attr-defined]
DELIVERY = Delivery.__table__  # type: ignore[attr-defined]
EVENTS_PAGE = 1000
BODIES_PAGE = 200
SHOWN = 20
"""How many problems of a kind are named; all are counted."""


@dataclass
class Check:
    """One thing that was looked at. `said` is one line; `problems` names the first of what is wrong, `wrong` counts all."""

    name: str
    said: str = ""
    wrong: int = 0
    problems: list[str] = field(default_factory=list)

    def problem(self, text: str) -> None:
        self.wrong += 1
        if len(self.problems) < SHOWN:
            self.problems.append(text)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"name": self.name, "ok": not self.wrong, "said": self.said, "wrong": self.wrong, "problems": self.problems}


def check_store(settings: Settings, progress: Callable[[str, int], None], *, every_body: bool = False) -> Iterator[Check]:
    """Each check as it is done; `progress` hears its name and how far it is. A store that does not fit this program ends it. Bodies of
    messages that wait for somebody are read whole; `every_body`: the others too."""
    database = sqlite_path(settings.store)
    if database is not None and not database.exists():
        yield Check("schema", "", 1, [f"{database} is not there (run: sluis store upgrade)"])
        return
    try:
        engine = open_engine(settings.store)
    except StoreError as error:
        yield Check("schema", "", 1, [str(error)])
        return
    reader = Reader(engine)
    try:
        fits = _schema(engine)
        yield fits
        if fits.wrong:
            return
        yield _durability(engine)
        if engine.dialect.name == "postgresql":
            yield _ownership(reader)
        yield _events(reader, progress)
        yield _balance(reader)
        yield _bodies(settings, reader, progress, every_body)
    finally:
        reader.close()
        engine.dispose()


def _schema(engine: Engine) -> Check:
    check = Check("schema", f"{schema.newest()}, with its append-only triggers")
    try:
        schema.check_schema(engine)
    except StoreError as error:
        check.problem(str(error))
    return check


def _durability(engine: Engine) -> Check:
    check = Check("durability", "a commit is on the disk when the database says so")
    try:
        check_durability(engine)
    except StoreError as error:
        check.problem(str(error))
    return check


def _ownership(reader: Reader) -> Check:
    """Who owns a table can drop its triggers."""
    check = Check("ownership", "the role of store.url owns no table")
    query = text(
        "SELECT c.relname FROM pg_class c WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') "
        "AND pg_has_role(c.relowner, 'USAGE') AND NOT c.relispartition ORDER BY c.relname"
    )
    for row in reader.read_now(lambda connection: connection.execute(query).all()):
        check.problem(f"the role of store.url owns {row.relname}: it could take the triggers away")
    return check


def _events(reader: Reader, progress: Callable[[str, int], None]) -> Check:
    check = Check("events")
    counts = {"sound": 0, "erased": 0, "broken": 0}
    after: uuid.UUID | None = None
    while True:
        page = reader.read_now(partial(_events_page, after=after))
        for item in page:
            counts[item.state] += 1
            if item.state == "broken":
                check.problem(f"event {item.id.hex} ({item.kind}) is not what was committed to")
        progress("events", sum(counts.values()))
        if len(page) < EVENTS_PAGE:
            break
        after = page[-1].id
    check.said = ", ".join(f"{number} {state}" for state, number in counts.items() if number or state == "sound")
    return check


def _events_page(connection: Connection, after: uuid.UUID | None) -> list[event.CheckedEvent]:
    return list(event.check(connection, after, EVENTS_PAGE))


def _balance(reader: Reader) -> Check:
    found = reader.read_now(states.balance)
    check = Check(
        "balance",
        f"{found.accepted} recipients accepted = {found.delivered} delivered + {found.bounced} bounced + {found.deleted} deleted "
        f"+ {found.waiting} waiting",
    )
    if found.difference:
        check.problem(f"{abs(found.difference)} recipients {'are missing' if found.difference > 0 else 'too many'}")
    elif not found.holds:
        check.problem(f"the running counts do not fit: {found}")
    return check


def _bodies(settings: Settings, reader: Reader, progress: Callable[[str, int], None], every: bool) -> Check:
    check = Check("bodies")
    try:
        spool = open_spool(settings.spool, RelaxedBodyHash)
    except ConfigurationError as error:
        check.problem(str(error))
        return check
    except OSError as error:
        check.problem(f"{settings.spool.folder}: {error.strerror}")
        return check
    try:
        _look_at_bodies(check, spool, reader, progress, every)
    finally:
        spool.close()
    return check


def _look_at_bodies(check: Check, spool: Spool, reader: Reader, progress: Callable[[str, int], None], every: bool) -> None:
    readable = bool(spool.keys.private)
    seen = read = 0
    after: uuid.UUID | None = None
    while True:
        page = reader.read_now(partial(_bodies_page, after=after))
        for row in page:
            whole = readable and (every or row.waits)
            try:
                _look_at_body(spool, row, readable, whole)
                read += whole
            except (SpoolError, OSError) as error:
                # It may have been erased since the page was read.
                if reader.read_now(partial(_still_names, row=row)):
                    check.problem(f"message {row.id.hex}: {error}")
            seen += 1
            progress("bodies", seen)
        if len(page) < BODIES_PAGE:
            break
        after = page[-1].id
    check.said = f"{seen} in the spool" + (
        f", {read} of them read whole" if readable else "; without a private key here it is only seen that they are there"
    )


def _look_at_body(spool: Spool, row: Any, readable: bool, whole: bool) -> None:
    """There, as long as the record says, and with a key that opens; `whole`: each chunk by its tag, and all by the record's digest."""
    if not readable:
        if not spool.sealed(row.spool_object):
            raise SpoolError(f"spool object {row.spool_object}: cut short")
        return
    with closing(spool.open(row.spool_object)) as body:
        if body.size != row.size:
            raise SpoolError(f"spool object {row.spool_object}: {body.size} octets, the record says {row.size}")
        if not whole:
            return
        digest = hashlib.sha256()
        for chunk in body.chunks():
            digest.update(chunk)
        if digest.hexdigest() != row.digest:
            raise SpoolError(f"spool object {row.spool_object}: its SHA-256 is {digest.hexdigest()}, the record says {row.digest}")


def _bodies_page(connection: Connection, after: uuid.UUID | None) -> list[Any]:
    waits = exists().where(DELIVERY.c.message_id == MESSAGE.c.id, DELIVERY.c.state.in_(sorted(WAITING))).label("waits")
    columns = (MESSAGE.c.id, MESSAGE.c.spool_object, MESSAGE.c.size, MESSAGE.c.digest, waits)
    query = select(*columns).where(MESSAGE.c.spool_object.is_not(None))
    if after is not None:
        query = query.where(MESSAGE.c.id > after)
    return list(connection.execute(query.order_by(MESSAGE.c.id).limit(BODIES_PAGE)))


def _still_names(connection: Connection, row: Any) -> bool:
    query = select(MESSAGE.c.id).where(MESSAGE.c.id == row.id, MESSAGE.c.spool_object == row.spool_object)
    return connection.execute(query).first() is not None


def terminal_progress() -> Callable[[str, int], None]:
    """Says how far a check is, on a line that is written over; nothing where standard error is no terminal."""

    def say(name: str, count: int) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{name}: {count} \r")
            sys.stderr.flush()

    return say


def failed(error: SluisError) -> Check:
    """A check that ended half-way: the store was lost."""
    return Check("store", "", 1, [str(error)])
