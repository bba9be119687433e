"""`sluis quarantine`: the review desk on the command line."""

from pathlib import Path
from typing import Any

import click

from relay.cli.call import call_operation
from relay.cli.common import config_option, json_option, reason_option, settings_from
from relay.cli.filters import bulk_options, filter_options
from relay.cli.journey import journey_command
from relay.cli.pages import all_pages, limit_option, search_reason_option, show_change, show_rows, where


@click.group()
def command() -> None:
    """Review what waits for a person."""


@command.command(name="list")
@filter_options
@limit_option
@search_reason_option
@config_option
@json_option
def list_(config: Path, filters: dict[str, Any], limit: int, reason: str, as_json: bool) -> None:
    """List what is quarantined, newest first; subjects are shown by `show`. To look for somebody's mail takes a reason."""
    rows = all_pages(settings_from(config), "quarantine.list", {"filters": filters, "reason": reason}, limit)
    titles = ("message", "received", "sender", "recipient", "rules", "reason")
    show_rows(rows, titles, _columns, as_json=as_json, limit=limit, empty="the quarantine is empty")


def _columns(row: dict[str, Any]) -> list[str]:
    return [*where(row), ", ".join(row["rules"]), row["because"]]


command.add_command(journey_command("quarantine.show"), "show")


@command.command()
@bulk_options
@click.option("--unsigned", is_flag=True, help="also what can't be DKIM-signed, because its header can be read in two ways")
@click.option("--again", is_flag=True, help="also what was stopped again by something new; look at that first (quarantine show)")
@reason_option
@config_option
@json_option
def release(
    config: Path,
    ids: tuple[str, ...],
    filters: dict[str, Any],
    everything: bool,
    dry_run: bool,
    again: bool,
    unsigned: bool,
    reason: str,
    as_json: bool,
) -> None:
    """Release for the chosen recipients. Each message is inspected and decided again first; a finding that nobody saw stops it again.
    What a final rule stopped, such as malware, waits for a second person (sluis request approve)."""
    params = {"filters": filters, "everything": everything, "dry_run": dry_run, "again": again, "unsigned": unsigned, "reason": reason}
    show_change(call_operation(settings_from(config), "quarantine.release", params), "released", as_json=as_json)


@command.command()
@bulk_options
@reason_option
@config_option
@json_option
def delete(
    config: Path, ids: tuple[str, ...], filters: dict[str, Any], everything: bool, dry_run: bool, reason: str, as_json: bool
) -> None:
    """Delete what is quarantined. It is not delivered, and nobody is told by mail."""
    params = {"filters": filters, "everything": everything, "dry_run": dry_run, "reason": reason}
    show_change(call_operation(settings_from(config), "quarantine.delete", params), "deleted", as_json=as_json)
