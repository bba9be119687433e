"""`sluis message`: find messages, show the whole journey of one, write out its bytes."""

import base64
import hashlib
import os
import sys
from pathlib import Path
from typing import Any, BinaryIO

import click

from relay.cli.call import call_operation
from relay.cli.common import config_option, json_option, print_json, reason_option, settings_from
from relay.cli.filters import filter_options
from relay.cli.journey import journey_command
from relay.cli.pages import all_pages, limit_option, show_rows, where
from relay.model.delivery import State
from relay.settings.models import Settings


@click.group()
def command() -> None:
    """Find a message, and show its whole journey."""


@command.command()
@filter_options
@click.option("--state", "states", type=click.Choice([state.value for state in State]), multiple=True, help="only these")
@limit_option
@reason_option
@config_option
@json_option
def find(config: Path, filters: dict[str, Any], states: tuple[str, ...], limit: int, reason: str, as_json: bool) -> None:
    """Find messages by sender, recipient, Message-ID, client, rule, state and time; refused ones too. Newest first."""
    params = {"filters": filters, "states": list(states), "reason": reason}
    rows = all_pages(settings_from(config), "message.find", params, limit)
    titles = ("message", "received", "sender", "recipient", "state", "subject", "reason")
    show_rows(rows, titles, _columns, as_json=as_json, limit=limit, empty="nothing found")


def _columns(row: dict[str, Any]) -> list[str]:
    return [*where(row), row["state"], row["subject"][:60], row["reply"] or row["because"]]


command.add_command(journey_command("message.show"), "show")


def _mark(name: str, text: str, said: str) -> None:
    @command.command(name=name, help=text)
    @click.argument("message")
    @reason_option
    @config_option
    @json_option
    def mark(message: str, reason: str, config: Path, as_json: bool) -> None:
        result = call_operation(settings_from(config), f"message.{name}", {"id": message, "reason": reason})
        if as_json:
            print_json(result)
        else:
            click.echo(f"message {result['id']} {said}")


_mark("keep", "Keep MESSAGE as it is, whatever its age: retention erases neither its body nor its record.", "is kept")
_mark("unkeep", "Let retention have MESSAGE again.", "may go when its time is over")


@command.command()
@click.argument("message")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@reason_option
@config_option
def content(message: str, file: Path, reason: str, config: Path) -> None:
    """Decrypt MESSAGE and write its bytes to FILE, which must not exist yet (`-` for standard output). Every piece that is read is in the
    audit. What is written may be what a rule stopped: malware too."""
    settings = settings_from(config)
    if str(file) == "-":
        if sys.stdout.isatty():
            raise click.ClickException("a message may hold what steers a terminal: give a FILE, or pipe it")
        _copy(settings, message, reason, sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as target:
            _copy(settings, message, reason, target)
    except FileExistsError:
        raise click.ClickException(f"{file} is there already") from None
    except OSError as error:
        raise click.ClickException(f"{file}: {error.strerror}") from None
    except BaseException:
        file.unlink()
        raise


def _copy(settings: Settings, message: str, reason: str, target: BinaryIO) -> None:
    """Raises ClickException where the bytes are not those that were recorded; then nothing of them may be used."""
    offset, size, digest = 0, 1, ""
    total = hashlib.sha256()
    while offset < size:
        piece = call_operation(settings, "message.content", {"id": message, "offset": offset, "reason": reason})
        data = base64.b64decode(piece["data"])
        size, digest = piece["size"], piece["digest"]
        if not data:
            break
        target.write(data)
        total.update(data)
        offset += len(data)
    if total.hexdigest() != digest:
        raise click.ClickException("what was read is not what was recorded: the digests differ")
