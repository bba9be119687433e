"""`sluis store rebuild`: makes rows for the bodies in the spool that the store does not know."""

import itertools
import uuid
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import click
from sqlalchemy import Connection, Engine, select

from relay.cli.common import config_option, json_option, print_json, problems_told, reason_option, settings_from
from relay.cli.progress import Bar
from relay.cli.store_offline import ORIGIN, pull_brake, stopped, tell, who
from relay.model.errors import SpoolError, StoreError
from relay.model.ports import SystemClock
from relay.model.text import printable
from relay.record.rebuilt import Rebuilt, read_object, write_rows
from relay.settings.models import Settings
from relay.sign.body_hash import RelaxedBodyHash
from relay.store import schema
from relay.store.engine import check_durability, must_be_made, open_engine
from relay.store.spool.open import open_spool
from relay.store.spool.ports import Spool, identity_of
from relay.store.tables import Message
from relay.store.transfer import one_moment

MESSAGE = Message.__table__  # type: ignore[attr-defined]
PAGE = 100
SHOWN = 20
BRAKE = (
    "messages were rebuilt from the spool: each is in quarantine, and may have been delivered already, or never accepted (its client heard "
    "no 250); a person looks at them (sluis quarantine list) and lets go: sluis brake release"
)


@dataclass
class Run:
    """What was found. `unsealed` objects were cut off before their 250, or their end is lost; `problems` could not be read."""

    objects: int = 0
    known: int = 0
    rebuilt: int = 0
    recipients: int = 0
    unsealed: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@click.command()
@click.option("--dry-run", is_flag=True, help="read everything and say what would be done")
@config_option
@reason_option
@json_option
def rebuild(dry_run: bool, config: Path, reason: str, as_json: bool) -> None:
    """Make messages again from the bodies in the spool that the store does not know, such as after a restore: each sealed body carries its
    envelope and decision. It needs the private spool keys. The relay is stopped, on every machine.

    Nobody knows what became of them: every recipient comes back in quarantine, as a possible duplicate, and the brake is on. A message
    that never heard 250, because the relay died just then, looks like one that did: it waits for a person, too."""
    settings = settings_from(config)
    bar = Bar()
    with problems_told(), closing(bar), stopped(settings):
        must_be_made(settings.store)
        engine = open_engine(settings.store)
        try:
            spool = open_spool(settings.spool, RelaxedBodyHash)
            try:
                run = _rebuild(settings, engine, spool, reason, bar, dry_run=dry_run)
            finally:
                spool.close()
        except OSError as error:
            raise StoreError(f"{error.filename or settings.spool.folder}: {error.strerror or error}") from None
        finally:
            engine.dispose()
    _show(run, dry_run=dry_run, as_json=as_json)
    if run.problems:
        raise SystemExit(1)


def _rebuild(settings: Settings, engine: Engine, spool: Spool, reason: str, bar: Bar, *, dry_run: bool) -> Run:
    """The brake with the first rows, in their commit. Raises StoreError."""
    schema.check_schema(engine)
    check_durability(engine)
    if not spool.keys.private:
        raise StoreError("the private spool keys are needed: spool.private_keys is not set, or empty")
    actor = who(settings)
    run = Run()
    total = sum(1 for _ in spool.names(lambda name, error: None))
    names = spool.names(lambda name, error: run.problems.append(str(error)))
    while page := list(itertools.islice(names, PAGE)):
        found = _read_page(engine, spool, page, run)
        if found and not dry_run:
            with engine.begin() as connection:
                if connection.dialect.name == "sqlite":
                    connection.exec_driver_sql("BEGIN IMMEDIATE")
                _write(connection, found, actor, reason, first=run.rebuilt == 0)
        run.rebuilt += len(found)
        run.recipients += sum(len(rebuilt.deliveries) for rebuilt in found)
        run.objects += len(page)
        bar("bodies", run.objects, total)
    if run.rebuilt and not dry_run:
        result = f"{run.rebuilt} messages"
        details: dict[str, object] = {"objects": run.objects, "unsealed": run.unsealed[:SHOWN], "problems": run.problems[:SHOWN]}
        with engine.begin() as connection:
            tell(connection, "rebuilt", actor, object_="store", result=result, reason=reason, details=details)
    return run


def _read_page(engine: Engine, spool: Spool, page: list[str], run: Run) -> list[Rebuilt]:
    with one_moment(engine) as connection:
        known = _known(connection, page)
    unknown = [name for name in page if name not in known]
    run.known += len(page) - len(unknown)
    found = []
    for name in unknown:
        try:
            if not spool.sealed(name):
                run.unsealed.append(name)
                continue
            found.append(read_object(spool, name))
        except SpoolError as error:
            run.problems.append(str(error))
    with one_moment(engine) as connection:
        there = _identities(connection, [rebuilt.message["id"] for rebuilt in found])
    return [rebuilt for rebuilt in found if rebuilt.message["id"] not in there]


def _known(connection: Connection, names: list[str]) -> set[str]:
    """By the id that a body bears; a message whose body was erased is known, too."""
    identities = {}
    for name in names:
        try:
            identities[identity_of(name)] = name
        except ValueError:
            continue
    return {identities[identity] for identity in _identities(connection, list(identities))}


def _identities(connection: Connection, wanted: list[uuid.UUID]) -> set[uuid.UUID]:
    return set(connection.execute(select(MESSAGE.c.id).where(MESSAGE.c.id.in_(wanted))).scalars())


def _write(connection: Connection, found: list[Rebuilt], actor: str, reason: str, *, first: bool) -> None:
    if first:
        pull_brake(connection, actor, BRAKE)
    now_us = SystemClock().now_us()
    for rebuilt in found:
        write_rows(connection, rebuilt, actor, ORIGIN, reason, now_us)


def _show(run: Run, *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "objects": run.objects,
                "known": run.known,
                "rebuilt": run.rebuilt,
                "recipients": run.recipients,
                "unsealed": run.unsealed,
                "problems": run.problems,
                "dry_run": dry_run,
            }
        )
        return
    for title, texts in (("not sealed, no 250 was said", run.unsealed), ("can't be read", run.problems)):
        for text in texts[:SHOWN]:
            click.echo(f"{title}: {printable(text, 2000)}")
        if len(texts) > SHOWN:
            click.echo(f"{title}: and {len(texts) - SHOWN} more")
    done = "would be rebuilt" if dry_run else "rebuilt"
    click.echo(f"{run.objects} bodies, {run.known} known; {done}: {run.rebuilt} messages with {run.recipients} recipients, in quarantine")
    if run.rebuilt and not dry_run:
        click.echo("the brake is on: sluis brake show; sluis quarantine list --rule rebuilt")
