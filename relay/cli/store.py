"""`sluis store`: makes and migrates the tables, and checks all that can be checked of what they hold."""

from pathlib import Path

import click
from sqlalchemy import make_url

from relay.cli.common import config_option, json_option, print_json, problems_told, settings_from
from relay.cli.retention import retention
from relay.cli.store_backup import backup, restore_
from relay.cli.store_check import Check, check_store, failed, terminal_progress
from relay.cli.store_migrate import migrate
from relay.cli.store_rebuild import rebuild
from relay.model.errors import ConfigurationError, SluisError
from relay.model.text import printable
from relay.settings.models import Store
from relay.store import schema
from relay.store.engine import WriterLock, open_engine, sqlite_path


@click.group()
def command() -> None:
    """Make, check, back up, restore, rebuild and move the store."""


command.add_command(backup)
command.add_command(restore_)
command.add_command(rebuild)
command.add_command(migrate)


@command.command()
@config_option
@click.option(
    "--url",
    envvar="SLUIS_STORE_URL",
    show_envvar=True,
    help="PostgreSQL: the store as its owner reaches it, such as postgresql+psycopg://sluis_owner@/sluis; default: store.url",
)
@click.option("--relay-role", help="PostgreSQL: the role that the relay uses; it gets its rights, and owns nothing")
@click.option(
    "--listen-role",
    envvar="SLUIS_LISTEN_ROLE",
    show_envvar=True,
    help="PostgreSQL: another role, for `serve --role listen`: it gets what accepting needs, and no more",
)
def upgrade(config: Path, url: str | None, relay_role: str | None, listen_role: str | None) -> None:
    """Make the tables, or migrate them to what this program needs. The relay must be stopped.

    On PostgreSQL the tables belong to a role of their own: give its --url, and the rights go to the role of store.url in the settings."""
    configured = settings_from(config).store
    store = configured.model_copy(update={"url": url}) if url else configured
    if relay_role is None and url and sqlite_path(store) is None:
        relay_role = make_url(configured.url).username
        if relay_role is None:
            raise click.UsageError("store.url names no role that rights could be given to: say --relay-role")
    with problems_told():
        if listen_role and sqlite_path(store) is not None:
            raise ConfigurationError([f"--listen-role {listen_role}: SQLite has no roles; one process does everything"])
        if listen_role and listen_role in (relay_role, make_url(store.url).username):
            raise ConfigurationError([f"--listen-role {listen_role}: this role may do more than listen; it takes a role of its own"])
        before, after = _upgrade(store, relay_role, listen_role)
    click.echo(f"store schema: {before or 'empty'} -> {after}" + (" (nothing to do)" if before == after else ""))


def _upgrade(store: Store, relay_role: str | None, listen_role: str | None) -> tuple[str | None, str]:
    database = sqlite_path(store)
    lock = WriterLock(database) if database is not None else None
    engine = open_engine(store)
    try:
        if lock is not None:
            lock.acquire()
        return schema.upgrade(engine, relay_role, listen_role)
    finally:
        engine.dispose()
        if lock is not None:
            lock.release()


@command.command()
@click.option("--bodies", "every_body", is_flag=True, help="read every body that is kept, not only those of messages that wait")
@config_option
@json_option
def check(config: Path, every_body: bool, as_json: bool) -> None:
    """Check schema, triggers, durability, the commitment of every event, the balance, and the bodies: those of messages that wait are read
    whole, of the others it is seen that they are there, of the right length, with a key that opens. It only reads, beside a running relay
    too. Exits 1 if something is wrong."""
    settings = settings_from(config)
    checks: list[Check] = []
    try:
        for done in check_store(settings, terminal_progress(), every_body=every_body):
            checks.append(done)
            if not as_json:
                _show(done)
    except SluisError as error:
        checks.append(failed(error))
        if not as_json:
            _show(checks[-1])
    sound = not any(done.wrong for done in checks)
    if as_json:
        print_json({"ok": sound, "checks": [done.to_json() for done in checks]})
    if not sound:
        raise SystemExit(1)


command.add_command(retention)


def _show(done: Check) -> None:
    click.echo(f"{done.name.ljust(10)}  {'WRONG' if done.wrong else 'ok'.ljust(5)}  {printable(done.said)}".rstrip())
    for problem in done.problems:
        click.echo(f"            {printable(problem)}")
    if done.wrong > len(done.problems):
        click.echo(f"            and {done.wrong - len(done.problems)} more")
