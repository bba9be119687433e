"""`sluis queue`: what waits for delivery, for a phase, or after a failure that nobody may be told of by mail."""

from pathlib import Path
from typing import Any

import click

from relay.cli.call import call_operation
from relay.cli.common import config_option, json_option, reason_option, settings_from, time_text
from relay.cli.filters import bulk_options, filter_options
from relay.cli.journey import journey_command
from relay.cli.pages import all_pages, limit_option, search_reason_option, show_change, show_rows, where

STATES = ("ready", "undecided", "held", "undeliverable")
DONE = {"retry": "to be tried now", "hold": "held", "unhold": "let go: it is decided again", "delete": "deleted"}


@click.group()
def command() -> None:
    """See and steer what waits for delivery."""


@command.command(name="list")
@filter_options
@click.option("--state", "states", type=click.Choice(STATES), multiple=True, help="only these")
@limit_option
@search_reason_option
@config_option
@json_option
def list_(config: Path, filters: dict[str, Any], states: tuple[str, ...], limit: int, reason: str, as_json: bool) -> None:
    """List what waits, newest first. To look for somebody's mail takes a reason."""
    params = {"filters": filters, "states": list(states), "reason": reason}
    rows = all_pages(settings_from(config), "queue.list", params, limit)
    titles = ("message", "received", "sender", "recipient", "state", "attempts", "next", "reason")
    show_rows(rows, titles, _columns, as_json=as_json, limit=limit, empty="the queue is empty")


def _columns(row: dict[str, Any]) -> list[str]:
    entry = row["queue"]
    following = "now being sent" if entry and entry["final_dot"] else time_text(entry["next_us"]) if entry else ""
    return [*where(row), row["state"], str(entry["attempts"] if entry else row["attempts"]), following, row["reply"] or row["because"]]


command.add_command(journey_command("message.show"), "show")


def _bulk(name: str, text: str) -> None:
    @command.command(name=name, help=text)
    @bulk_options
    @reason_option
    @config_option
    @json_option
    def change(
        config: Path, ids: tuple[str, ...], filters: dict[str, Any], everything: bool, dry_run: bool, reason: str, as_json: bool
    ) -> None:
        params = {"filters": filters, "everything": everything, "dry_run": dry_run, "reason": reason}
        show_change(call_operation(settings_from(config), f"queue.{name}", params), DONE[name], as_json=as_json)


_bulk("retry", "Try now what waits for its next attempt; what failed for good is inspected and decided again.")
_bulk("hold", "Hold what is queued, until a person lets it go.")
_bulk("unhold", "Let go what is held: it is inspected and decided again, so that what policy holds is held again.")
_bulk("delete", "Delete what waits. It is not delivered, and nobody is told by mail.")
