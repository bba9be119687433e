"""`sluis store backup` and `sluis store restore`."""

import socket
from contextlib import closing
from pathlib import Path

import click
from sqlalchemy import Connection

from relay.cli.call import asked
from relay.cli.common import config_option, json_option, print_json, problems_told, reason_option, settings_from, time_text
from relay.cli.progress import Bar
from relay.cli.store_offline import pull_brake, stopped, tell, who
from relay.model.errors import ConfigurationError, StoreError
from relay.model.ports import SystemClock
from relay.model.text import printable
from relay.settings.models import Settings, Spool
from relay.store import high_water, queue
from relay.store.backup import back_up
from relay.store.backup_files import Backup, newest_backup, prune
from relay.store.duplicates import name_possible_duplicates
from relay.store.engine import must_be_made, open_engine
from relay.store.high_water import Gap, marks_of
from relay.store.restore import restore
from relay.store.restore_check import Found, check
from relay.store.spool.keys import load_keys
from relay.store.transfer import one_moment

NO_KEYS = "no key is in the backup: keep {keys} apart from it; without them nobody can read a body of it"


@click.command()
@click.argument("target", type=click.Path(path_type=Path, file_okay=False))
@click.option("--keep", type=click.IntRange(1), help="afterwards remove all but the newest N backups in TARGET")
@config_option
@reason_option
@json_option
def backup(target: Path, keep: int | None, config: Path, reason: str, as_json: bool) -> None:
    """Copy the store and every body that it names into the folder TARGET, while the relay runs. Bodies that an earlier backup in TARGET
    has are not copied again. Bodies stay encrypted; addresses and subjects in the store do not: guard TARGET as the store itself. Exits 1
    if a body was missing or damaged."""
    settings = settings_from(config)
    bar = Bar()
    with problems_told(), closing(bar):
        must_be_made(settings.store)
        asked(settings, "store.backup", {"reason": reason, "target": printable(str(target.absolute()), 4000)})
        try:
            made = back_up(settings.store, settings.spool, target, socket.gethostname(), SystemClock().now_us(), bar)
            removed = prune(target, keep) if keep else (0, 0)
        except OSError as error:
            raise StoreError(f"{error.filename or target}: {error.strerror or error}") from None
    manifest = made.manifest
    if as_json:
        print_json({"backup": str(made.folder), **manifest.to_json(), "removed_backups": removed[0], "removed_bodies": removed[1]})
    else:
        click.echo(f"backup {made.folder}: {manifest.bodies} bodies, {manifest.octets} octets; the store {manifest.store.size} octets")
        if removed[0]:
            click.echo(f"removed {removed[0]} older backups and {removed[1]} bodies of theirs")
        for text in manifest.missing[:20]:
            click.echo(f"MISSING  {printable(text)}")
        click.echo(NO_KEYS.format(keys=settings.spool.private_keys or "the private spool keys"), err=True)
    if manifest.missing:
        raise SystemExit(1)


@click.command(name="restore")
@click.argument("source", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option("--check", "only_check", is_flag=True, help="read and check everything, and change nothing")
@config_option
@reason_option
@json_option
def restore_(source: Path, only_check: bool, config: Path, reason: str, as_json: bool) -> None:
    """Put the backup SOURCE (or the newest in the folder SOURCE) into the empty store and the spool of these settings. The relay is
    stopped. All of it is read and checked first. The brake is on afterwards: what was delivered since the backup may be queued again."""
    settings = settings_from(config)
    bar = Bar()
    with problems_told(), closing(bar), stopped(settings):
        try:
            chosen = newest_backup(source)
            found = check(chosen, settings.store, settings.spool, bar)
            missing = sorted(found.keys - _own_keys(settings.spool))
            if not found.wrong and not only_check:
                why = _reason(chosen)
                restore(chosen, found, settings.store, settings.spool, lambda c: _finish(c, settings, chosen, why, reason), bar)
                _keep_gap(settings, chosen)
        except OSError as error:
            raise StoreError(f"{error.filename or source}: {error.strerror or error}") from None
    if as_json:
        print_json(
            {
                "ok": not found.wrong,
                "restored": not found.wrong and not only_check,
                "backup": str(chosen.folder),
                "made_us": chosen.manifest.made_us,
                "bodies": found.bodies,
                "copied": len(found.new),
                "keys_missing": missing,
                "problems": found.problems,
                "wrong": found.wrong,
            }
        )
    else:
        _show(chosen, found, missing, only_check=only_check)
    if found.wrong:
        raise SystemExit(1)


def _show(chosen: Backup, found: Found, missing: list[str], *, only_check: bool) -> None:
    for text in found.problems:
        click.echo(printable(text, 2000))
    if found.wrong > len(found.problems):
        click.echo(f"and {found.wrong - len(found.problems)} more")
    if missing:
        click.echo(f"the private spool keys {', '.join(missing)} are not here: without them bodies of this backup can't be read")
    made = time_text(chosen.manifest.made_us)
    if found.wrong:
        click.echo(f"{chosen.folder} of {made}: {found.wrong} problems; nothing was changed", err=True)
    elif only_check:
        click.echo(
            f"{chosen.folder} of {made} is whole: {found.bodies} bodies, {len(found.new)} of them not in the spool; nothing was changed"
        )
    else:
        click.echo(f"restored {chosen.folder} of {made}: {found.bodies} bodies, {len(found.new)} of them copied")
        click.echo("the brake is on (sluis brake show); what is in the spool and not in the backup: sluis store rebuild")


def _own_keys(settings: Spool) -> set[str]:
    try:
        return {identity.hex() for identity in load_keys(settings.public_key, settings.private_keys).private}
    except ConfigurationError:
        return set()


def _reason(chosen: Backup) -> str:
    return (
        f"the store was restored from the backup of {time_text(chosen.manifest.made_us)}: what was delivered since may be queued again, "
        f"what was accepted since is not in it (sluis store rebuild); a person lets go: sluis brake release"
    )


def _finish(connection: Connection, settings: Settings, chosen: Backup, why: str, reason: str) -> None:
    """In the restored store, before anybody can use it."""
    actor = who(settings)
    queue.end_leases(connection)  # whoever had one is elsewhere, or no more
    after = None
    while (after := name_possible_duplicates(connection, after)) is not None:
        pass
    details = {"backup": str(chosen.folder), "made_us": str(chosen.manifest.made_us), "bodies": chosen.manifest.bodies}
    tell(connection, "restored", actor, object_="store and spool", result="done", reason=reason, details=details)
    pull_brake(connection, actor, why)


def _keep_gap(settings: Settings, chosen: Backup) -> None:
    """The sweep takes no body of the time that the backup does not know; a new spool gets its first mark."""
    marks = marks_of(settings.spool)
    now_us = SystemClock().now_us()
    gap = Gap(max(0, chosen.manifest.made_us - high_water.GAP_BEGINS_EARLIER_US), now_us)
    marks.write(f"{high_water.GAP}{now_us}.json", high_water.encoded({"from_us": gap.from_us, "until_us": gap.until_us}))
    engine = open_engine(settings.store)
    try:
        with one_moment(engine) as connection:
            high_water.mark_first(marks, connection, socket.gethostname(), now_us)
    finally:
        engine.dispose()
