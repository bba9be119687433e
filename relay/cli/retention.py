"""`sluis store retention`: erases what the settings no longer keep, now instead of at the relay's next look."""

import asyncio
import os
import sys
from collections import Counter
from pathlib import Path

import click

from relay.cli.call import call_operation
from relay.cli.common import config_option, json_option, print_json, problems_told, reason_option, settings_from
from relay.control.actor import actor_of
from relay.control.retention import NAMES, Retention
from relay.model.errors import ConfigurationError
from relay.model.ports import SystemClock
from relay.settings.models import Settings
from relay.store import schema
from relay.store.engine import check_durability, open_engine, sqlite_path
from relay.store.journal import Journal
from relay.store.reader import Reader

OWNER_NEEDED = "records are erased by the owner of the tables: give its --url (SLUIS_STORE_URL)"


@click.command()
@click.option(
    "--url",
    envvar="SLUIS_STORE_URL",
    show_envvar=True,
    help="PostgreSQL: the store as its owner reaches it; only the owner may erase records, and it drops whole months",
)
@click.option("--dry-run", is_flag=True, help="count what may go, and erase nothing")
@reason_option
@config_option
@json_option
def retention(url: str | None, dry_run: bool, reason: str, config: Path, as_json: bool) -> None:
    """Erase bodies and records that are older than [retention] in the settings says, in small steps beside the mail. What waits, and what
    `sluis message keep` marks, stays; so do ids and commitments of events. On PostgreSQL without --url: bodies only."""
    settings = settings_from(config)
    counts: Counter[str] = Counter()
    owner_needed = False
    if url:
        with problems_told():
            counts = asyncio.run(_as_owner(settings, url, dry_run, reason))
    else:
        position = None
        while True:
            piece = call_operation(settings, "store.retention", {"dry_run": dry_run, "position": position, "reason": reason})
            counts += Counter(piece["counts"])
            position, owner_needed = piece["next"], piece["owner_needed"]
            _progress(counts)
            if position is None:
                break
    if as_json:
        print_json({"dry_run": dry_run, "owner_needed": owner_needed, **{name: counts[name] for name in NAMES}})
        return
    told = ", ".join(f"{counts[name]} {name}" for name in NAMES if counts[name]) or "nothing"
    click.echo(f"{'may go' if dry_run else 'erased'}: {told}")
    if owner_needed and not dry_run:
        click.echo(OWNER_NEEDED, err=True)


def _progress(counts: Counter[str]) -> None:
    if sys.stderr.isatty():
        click.echo("\r" + ", ".join(f"{number} {name}" for name, number in counts.items()), nl=False, err=True)


async def _as_owner(settings: Settings, url: str, dry_run: bool, reason: str) -> Counter[str]:
    """Records only: the bodies are the relay's. Months are made ahead on the way."""
    store = settings.store.model_copy(update={"url": url})
    if sqlite_path(store) is not None:
        raise ConfigurationError(["--url is for PostgreSQL: on SQLite the relay erases records itself"])
    engine = open_engine(store)
    try:
        schema.check_schema(engine)
        check_durability(engine)
        if not dry_run:
            with engine.begin() as connection:
                schema.make_partitions(connection)
        journal, reader = Journal(engine), Reader(engine)
        journal.start()
        who = (actor_of(os.getuid(), settings.control).name, "command line", reason)
        run = Retention(journal, reader, None, SystemClock(), settings.retention, who, may_drop=True, own_journal=True, dry_run=dry_run)
        try:
            return await run.run(_progress)
        finally:
            journal.close()
            reader.close()
    finally:
        engine.dispose()
