"""`sluis policy history`: every way of a policy into force."""

from pathlib import Path
from typing import Any

import click

from relay.cli.common import config_option, json_option, settings_from, time_text
from relay.cli.pages import all_pages, limit_option, show_rows


@click.command()
@limit_option
@config_option
@json_option
def command(config: Path, limit: int, as_json: bool) -> None:
    """List versions of the policy, newest first: who proposed each and why, who approved it, what its tests and a replay said, and since
    when it was in force. Every one stays readable: sluis policy diff, sluis policy export."""
    rows = all_pages(settings_from(config), "policy.history", {}, limit)
    titles = ("version", "state", "proposed", "by", "approved by", "in force since", "tests", "replay", "reason")
    show_rows(rows, titles, _columns, as_json=as_json, limit=limit, empty="no policy was rolled out yet")


def _columns(row: dict[str, Any]) -> list[str]:
    tested = row["tested"]
    return [
        row["digest"][:16],
        row["state"],
        time_text(row["asked_us"]),
        row["author"],
        row["approver"] or row["refused_by"] or "",
        time_text(row["live_us"]) if row["live_us"] else "",
        f"{tested['passed']} passed" if tested["ran"] else "not run",
        row["replay"].get("told", "replayed") if row["replay"] else "not replayed",
        row["reason"],
    ]
