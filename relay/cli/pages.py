"""Lists that come in pages, and the answer to a bulk change."""

from collections.abc import Callable, Sequence
from typing import Any

import click

from relay.cli.call import call_operation
from relay.cli.common import print_json, print_table, time_text
from relay.model.text import printable
from relay.settings.models import Settings

PAGE = 500
Columns = Callable[[dict[str, Any]], Sequence[str]]


def all_pages(settings: Settings, operation: str, params: dict[str, Any], limit: int) -> list[dict[str, Any]]:
    """Rows of an operation that gives pages, at most `limit`."""
    rows: list[dict[str, Any]] = []
    after = None
    while len(rows) < limit:
        page = call_operation(settings, operation, {**params, "after": after, "limit": min(PAGE, limit - len(rows))})
        rows += page["rows"]
        after = page["next"]
        if after is None:
            break
    return rows


def show_rows(rows: list[dict[str, Any]], titles: Sequence[str], columns: Columns, *, as_json: bool, limit: int, empty: str) -> None:
    """A table, or JSON. Says so where there may be more."""
    if as_json:
        print_json(rows)
        return
    print_table(titles, [columns(row) for row in rows], empty)
    if len(rows) == limit:
        click.echo(f"the first {limit}; more with --limit", err=True)


def show_change(result: dict[str, Any], verb: str, *, as_json: bool) -> None:
    """What was changed and what could not be. Exits 1 where something could not."""
    if as_json:
        print_json(result)
    else:
        for row in result["changed"]:
            click.echo(printable(f"{row['id']}/{row['ordinal']} {row['recipient']}: {_done(row, verb, dry_run=result['dry_run'])}", 1000))
        for row in result["refused"]:
            click.echo(printable(f"{row['id']}/{row['ordinal']} {row['recipient']}: not {verb}: {row['error']}", 1000), err=True)
        for row in result["missing"]:
            click.echo(f"{row['id']}: not {verb}: {row['error']}", err=True)
        if not result["changed"] and not result["refused"]:
            click.echo("nothing fits")
    if result["refused"] or result["missing"]:
        raise SystemExit(1)


def _done(row: dict[str, Any], verb: str, *, dry_run: bool) -> str:
    if dry_run:
        return f"would be {verb}"
    if row.get("request_state") == "open":
        return f"not yet {verb}; a second person must approve: sluis request approve {row['request']} --reason …"
    return verb


def where(row: dict[str, Any]) -> list[str]:
    """The first columns of every list."""
    return [f"{row['id']}/{row['ordinal']}", time_text(row["received_us"]), row["sender"] or "<>", row["recipient"]]


limit_option = click.option("--limit", type=click.IntRange(1, 1_000_000), default=100, show_default=True, help="rows at most")
search_reason_option = click.option("--reason", default="", help="why; needed with --sender, --recipient and --message-id")
