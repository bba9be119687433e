"""What every command shares: where the settings are, how problems are told, and how rows are shown."""

import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from relay.model.errors import SluisError
from relay.model.text import printable
from relay.model.text import time_text as time_text
from relay.settings.load import load_settings
from relay.settings.models import Settings

DEFAULT_CONFIG = Path("/etc/sluis/sluis.toml")

config_option = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    default=DEFAULT_CONFIG,
    envvar="SLUIS_CONFIG",
    show_default=True,
    show_envvar=True,
    help="the settings file",
)
json_option = click.option("--json", "as_json", is_flag=True, help="print JSON")
reason_option = click.option("--reason", required=True, help="why; it is kept in the audit with your name")


@contextmanager
def problems_told() -> Iterator[None]:
    """An error of ours inside becomes the command's error: its lines on standard error, and exit code 1."""
    try:
        yield
    except SluisError as error:
        lines = str(error).splitlines() or [""]
        raise click.ClickException("\n".join(printable(line, 2000) for line in lines)) from error


def settings_from(config: Path) -> Settings:
    """The settings of a command. Raises ClickException with every problem in the file."""
    with problems_told():
        return load_settings(config)


def print_json(value: Any) -> None:
    """For programs: one JSON value, indented. What could move a cursor or turn a line around is escaped, as JSON may (RFC 8259 §7)."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    click.echo("".join(char if char.isprintable() or char == "\n" else json.dumps(char)[1:-1] for char in text))


def print_table(titles: Sequence[str], rows: Sequence[Sequence[str]], empty: str = "nothing") -> None:
    """Columns as wide as they need to be; on a terminal the last one is cut to fit. Nothing in a cell can move the cursor."""
    if not rows:
        click.echo(empty)
        return
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in (list(titles), *cells)) for column in range(len(titles))]
    room = shutil.get_terminal_size((0, 0)).columns if sys.stdout.isatty() else 0
    for row in (list(titles), *cells):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        click.echo(line[: room - 1] + "…" if room and len(line) > room else line)


def print_fields(fields: Sequence[tuple[str, str]]) -> None:
    """Name and value, one pair a line."""
    width = max((len(name) for name, _ in fields), default=0)
    for name, value in fields:
        click.echo(f"{name.ljust(width)}  {printable(value, 2000)}")
