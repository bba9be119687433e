"""The filters that lists and bulk changes share."""

import functools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import click

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Moment(click.ParamType[int]):
    """`30m`, `6h`, `2d`, `1w` before now, or `2026-11-24` or `2026-11-24T09:30` in UTC; gives microseconds since 1970."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        text = str(value)
        try:
            if text[-1:] in _UNITS and text[:-1].isdigit():
                moment = datetime.now(UTC) - timedelta(**{_UNITS[text[-1]]: int(text[:-1])})
            else:
                moment = datetime.fromisoformat(text)
                moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        except (ValueError, OverflowError):
            self.fail(f"'{text}' is no time: 30m, 6h, 2d, 1w, 2026-11-24 or 2026-11-24T09:30", param, context)
        return int(moment.timestamp() * 1_000_000)


MOMENT = Moment()
_OPTIONS = (
    click.option("--sender", help="reverse-path: an address, @domain, or <> for the empty one"),
    click.option("--recipient", help="an address or @domain"),
    click.option("--client", help="the client that brought it"),
    click.option("--message-id", help="the Message-ID field, with its brackets"),
    click.option("--rule", help="a rule that matched"),
    click.option("--since", "since_us", type=MOMENT, help="received from then on: 30m, 6h, 2d, 2026-11-24, 2026-11-24T09:30 (UTC)"),
    click.option("--until", "until_us", type=MOMENT, help="received before then"),
)
NAMES = ("sender", "recipient", "client", "message_id", "rule", "since_us", "until_us")


def filter_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the filters to a command, which gets them as one dictionary `filters`, in the form of `relay.control.params.Filters`."""

    @functools.wraps(command)
    def gathered(**values: Any) -> None:
        given = {name: value for name in NAMES if (value := values.pop(name)) is not None}
        command(**values, filters={**given, "ids": list(values.get("ids", ()))})

    for option in reversed(_OPTIONS):
        gathered = option(gathered)
    return gathered


def bulk_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds ids, filters, --all, --dry-run and --reason to a command that changes many."""
    command = filter_options(command)
    command = click.option("--all", "everything", is_flag=True, help="all of them, where no filter is given")(command)
    command = click.option("--dry-run", is_flag=True, help="show what would be changed, and change nothing")(command)
    return click.argument("ids", nargs=-1, metavar="[MESSAGE[/NUMBER]]...")(command)
