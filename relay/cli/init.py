"""`sluis init DIR`: a commented configuration and starter policies, ready to be filled in."""

import json
import shlex
import socket
import tomllib
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import click

from relay.cli.common import DEFAULT_CONFIG
from relay.model.text import printable
from relay.settings.crosscheck import crosscheck
from relay.settings.models import Settings


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--hostname", default=lambda: socket.getfqdn(), show_default="of this machine", help="the relay's full host name")
@click.option(
    "--state",
    type=click.Path(path_type=Path),
    default=Path("/var/lib/sluis"),
    show_default=True,
    help="where the store, the spool and the keys will be",
)
@click.option(
    "--run", type=click.Path(path_type=Path), default=Path("/run/sluis"), show_default=True, help="where the control socket will be"
)
def command(folder: Path, hostname: str, state: Path, run: Path) -> None:
    """Write sluis.toml and policies/ into FOLDER. Nothing that is there is overwritten."""
    settings = folder / "sluis.toml"
    taken = [path for path in (settings, folder / "policies") if path.exists()]
    if taken:
        raise click.ClickException(f"{taken[0]} is there already; nothing was written")
    if "." not in hostname:
        hostname = f"{hostname}.example.org"
    text = (_starter() / "sluis.toml").read_text(encoding="utf-8")
    for mark, value in (
        ("@HOSTNAME@", hostname),
        ("@STATE@", str(state.absolute())),
        ("@RUN@", str(run.absolute())),
        ("@FOLDER@", str(folder.absolute())),
    ):
        text = text.replace(mark, json.dumps(value, ensure_ascii=False)[1:-1])  # a JSON string is a TOML string
    wrong = [what for key, what in crosscheck(Settings.model_validate(tomllib.loads(text))) if key == ("hostname",)]
    if wrong:
        raise click.UsageError(f"{printable(wrong[0])}: give it with --hostname")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _copy(_policies(), folder / "policies")
        (folder / "secrets").mkdir(mode=0o700, exist_ok=True)
        settings.write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from None
    option = "" if settings.absolute() == DEFAULT_CONFIG else f" --config {shlex.quote(str(settings))}"
    click.echo(
        f"written: {settings} and {folder / 'policies'}\nnext:\n"
        f"  1. put your host name, addresses and certificate into {settings}\n"
        f"  2. put your domains, mail servers and routes into {folder / 'policies'} (its README.md says what first)\n"
        f"  3. sluis keys spool new{option}\n"
        f"  4. sluis dkim new DOMAIN{option}    (it prints what goes into DNS and into policies/signing.yaml)\n"
        f"  5. sluis store upgrade{option}\n"
        f"  6. sluis check{option}\n"
        f"  7. sluis serve{option}"
    )


def _starter() -> Traversable:
    return files("relay") / "starter"


def _policies() -> Traversable:
    """In a wheel beside the settings; in a checkout at the top."""
    packed = _starter() / "policies"
    return packed if packed.is_dir() else Path(__file__).parents[2] / "policies"


def _copy(source: Traversable, target: Path) -> None:
    if source.is_file():
        target.write_bytes(source.read_bytes())
        return
    target.mkdir(parents=True, exist_ok=True)
    for child in source.iterdir():
        if not child.name.startswith((".", "__")):
            _copy(child, target / child.name)
