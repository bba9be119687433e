"""`sluis keys`: the spool's key pairs, and the logins of mail servers."""

import getpass
import sys
from pathlib import Path

import click

from relay.cli.call import call_operation
from relay.cli.common import config_option, json_option, print_json, print_table, problems_told, reason_option, settings_from
from relay.store.logins import read_logins, set_login
from relay.store.spool.keys import key_id, load_keys, new_keypair


@click.group()
def command() -> None:
    """Make and rotate spool keys; set logins."""


@command.group()
def spool() -> None:
    """The key pairs that bodies in the spool are encrypted to."""


@spool.command()
@config_option
@json_option
def new(config: Path, as_json: bool) -> None:
    """Make the first key pair. Refuses where there is one: `rotate` makes the next."""
    settings = settings_from(config).spool
    if settings.private_keys is None:
        raise click.ClickException("spool.private_keys is not set: this role may not hold the private key")
    if settings.public_key.exists():
        raise click.ClickException(f"{settings.public_key} is there already (sluis keys spool rotate)")
    try:
        identity = new_keypair(settings.public_key, settings.private_keys)
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from None
    if as_json:
        print_json({"key": identity.hex()})
    else:
        click.echo(f"new spool key {identity.hex()}")
    click.echo(f"keep a copy of {settings.private_keys} where a break-in here does not reach: without it no body can be read", err=True)


@spool.command(name="list")
@config_option
@json_option
def list_(config: Path, as_json: bool) -> None:
    """Show the keys that are here, and which one new bodies are encrypted to."""
    settings = settings_from(config).spool
    with problems_told():
        keys = load_keys(settings.public_key, settings.private_keys)
    rows = [{"key": identity.hex(), "present": identity == key_id(keys.public)} for identity in keys.private]
    if as_json:
        print_json(rows)
    else:
        print_table(("key", "new bodies"), [(str(row["key"]), "yes" if row["present"] else "") for row in rows])


@spool.command()
@config_option
@reason_option
@json_option
def rotate(config: Path, reason: str, as_json: bool) -> None:
    """Make a new key pair, and wrap the key of every body in the spool to it. Bodies are not touched; old private keys stay until you
    remove them."""
    result = call_operation(settings_from(config), "keys.rotate", {"reason": reason})
    if as_json:
        print_json(result)
    else:
        click.echo(f"new spool key {result['key']}; {result['rewrapped']} bodies wrapped to it, {result['failed']} could not be")
    if result["failed"]:
        raise SystemExit(1)


@command.command()
@click.argument("name")
@config_option
def login(name: str, config: Path) -> None:
    """Set the password of login NAME. It is asked for, or read as one line from standard input; only its argon2id hash is kept."""
    settings = settings_from(config)
    if settings.logins is None:
        raise click.ClickException(f"{config}: 'logins' names no file")
    if not name.isprintable() or ":" in name or " " in name or not name or name.startswith("#"):
        raise click.UsageError("a login has no spaces, colons or control characters, and does not begin with #")
    password = _password()
    if len(password) < 12:
        raise click.ClickException("a password of a mail server has at least 12 characters")
    try:
        with problems_told():
            set_login(settings.logins, name, password)
            count = len(read_logins(settings.logins))
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from None
    click.echo(f"login {name} is set; {settings.logins} has {count}")


def _password() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    first, second = getpass.getpass("password: "), getpass.getpass("again: ")
    if first != second:
        raise click.ClickException("the two are not the same")
    return first
