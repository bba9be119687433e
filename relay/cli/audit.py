"""`sluis audit`: the events, and whether each is what was committed to."""

import sys
from pathlib import Path
from typing import Any

import click

from relay.audit.kinds import KINDS
from relay.cli.call import call_operation
from relay.cli.common import config_option, json_option, print_json, reason_option, settings_from, time_text
from relay.cli.filters import MOMENT
from relay.cli.pages import all_pages, limit_option, show_rows


@click.group()
def command() -> None:
    """Read the events, and check them."""


@command.command(name="list")
@click.option(
    "--kind",
    "kinds",
    type=click.Choice(sorted(KINDS)),
    multiple=True,
    metavar="KIND",
    help="accepted, refused, decided, outcome, release, … (docs/record.md has them all); may be given several times",
)
@click.option("--message", help="only those of one message")
@click.option("--since", "since_us", type=MOMENT, help="from then on: 30m, 6h, 2d, 2026-11-24 (UTC)")
@click.option("--newest", is_flag=True, help="newest first: with --limit, the last events")
@limit_option
@reason_option
@config_option
@json_option
def list_(
    config: Path, kinds: tuple[str, ...], message: str | None, since_us: int | None, newest: bool, limit: int, reason: str, as_json: bool
) -> None:
    """List events, oldest first, or newest first with --newest. That you looked, and why, is an event too."""
    params = {"kinds": list(kinds), "message": message, "since_us": since_us, "newest": newest, "reason": reason}
    rows = all_pages(settings_from(config), "audit.list", params, limit)
    titles = ("event", "time", "kind", "object", "result", "actor", "reason")
    show_rows(rows, titles, _columns, as_json=as_json, limit=limit, empty="no events")


def _columns(row: dict[str, Any]) -> list[str]:
    record = row["record"]
    if record is None:
        return [row["event"], "", row["kind"], "(erased)", "", "", ""]
    return [
        row["event"],
        time_text(int(record["time_us"])),
        row["kind"],
        record["object"],
        record["result"],
        record["actor"],
        record["reason"],
    ]


@command.command()
@config_option
@json_option
def check(config: Path, as_json: bool) -> None:
    """Recompute every commitment. Exits 1 if a record is not what was committed to."""
    settings = settings_from(config)
    total: dict[str, Any] = {"sound": 0, "erased": 0, "broken": []}
    after = None
    while True:
        page = call_operation(settings, "audit.check", {"after": after})
        for name in total:
            total[name] += page[name]
        after = page["next"]
        if sys.stderr.isatty():
            click.echo(f"\r{total['sound'] + total['erased']} events", nl=False, err=True)
        if after is None:
            break
    if sys.stderr.isatty():
        click.echo("", err=True)
    if as_json:
        print_json(total)
    else:
        for event in total["broken"]:
            click.echo(f"event {event['event']} ({event['kind']}): the record is not what was committed to", err=True)
        click.echo(f"{total['sound']} events are sound, {total['erased']} erased, {len(total['broken'])} broken")
    if total["broken"]:
        raise SystemExit(1)
