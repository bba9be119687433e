"""`sluis request`: what waits for a second person."""

from pathlib import Path
from typing import Any

import click

from relay.cli.call import call_operation
from relay.cli.common import config_option, json_option, print_json, reason_option, settings_from, time_text
from relay.cli.pages import all_pages, limit_option, show_rows


@click.group()
def command() -> None:
    """See what waits for a second person; approve or refuse it."""


@command.command(name="list")
@click.option("--all", "everything", is_flag=True, help="those that are done or refused, too")
@limit_option
@config_option
@json_option
def list_(config: Path, everything: bool, limit: int, as_json: bool) -> None:
    """List requests, newest first."""
    rows = all_pages(settings_from(config), "request.list", {"everything": everything}, limit)
    titles = ("request", "asked", "kind", "by", "state", "what", "reason")
    show_rows(rows, titles, _columns, as_json=as_json, limit=limit, empty="no request waits")


def _columns(row: dict[str, Any]) -> list[str]:
    details = row["details"]
    what = f"{row['message']}/{details['ordinal']} to {details['recipient']}" if row["kind"] == "release" else ""
    if row["kind"] == "policy":
        what = f"version {details['digest'][:16]}, because {details['why_two'] or 'it can only close'}"
    what = what or (f"{details['from']} to {details['phase']}" if row["kind"] == "phase" else "let go")
    return [row["request"], time_text(row["asked_us"]), row["kind"], row["actor"], row["state"], what, row["reason"]]


def _answer(name: str, text: str) -> None:
    @command.command(name=name, help=text)
    @click.argument("request")
    @reason_option
    @config_option
    @json_option
    def answer(request: str, reason: str, config: Path, as_json: bool) -> None:
        result = call_operation(settings_from(config), f"request.{name}", {"request": request, "reason": reason})
        if as_json:
            print_json(result)
        else:
            click.echo(f"request {result['request']} is {result['request_state']}")


_answer("approve", "Approve REQUEST, as a second person: it is carried out at once.")
_answer("refuse", "Refuse REQUEST, or take back your own.")
