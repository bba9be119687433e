"""`sluis check`: everything that `serve` would refuse, and what it would stumble over later, said with file, line and hint."""

import time
import tomllib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import click

from relay.cli.common import config_option, json_option, print_json, time_text
from relay.deliver.login import read_login
from relay.deliver.tls import ClientContexts
from relay.listen.tls import ServerTls
from relay.model.errors import ConfigurationError, SluisError
from relay.observe.metrics import certificate_end
from relay.phases import state as phase_state
from relay.policy.expired import expired
from relay.policy.load import digest, load_policy, read_files
from relay.policy.models import Policy
from relay.settings.load import load_settings
from relay.settings.models import Settings, TlsFiles
from relay.sign.body_hash import RelaxedBodyHash
from relay.sign.keys import KeyRing
from relay.store import schema
from relay.store.durability import check_standby, doubts
from relay.store.engine import check_durability, open_engine, sqlite_path
from relay.store.logins import read_logins
from relay.store.spool.keys import load_keys
from relay.store.spool.open import open_spool

Made = TypeVar("Made")
SOON_SECONDS = 14 * 24 * 3600  # for somebody who is on holiday


@click.command()
@config_option
@click.option("--offline", is_flag=True, help="files only: do not open the store")
@json_option
def command(config: Path, offline: bool, as_json: bool) -> None:
    """Check settings, policy, certificates, keys and the store. Exits 1 if anything is wrong."""
    problems: list[str] = []
    warnings: list[str] = []
    settings = _noted(problems, load_settings, config)
    if settings is None:
        _noted_of_policy(problems, config)
    else:
        policy = _noted(problems, load_policy, settings.policies)
        problems += _listeners(settings)
        warnings += _certificate_warnings(settings)
        problems += _keys(settings)
        if policy is not None:
            problems += _policy_files(settings, policy)
            warnings += _policy_warnings(settings, policy)
        if not offline:
            problems += _store(settings, warnings)
            problems += _object_store(settings)
    if as_json:
        print_json({"problems": problems, "warnings": warnings})
    else:
        for line in problems:
            click.echo(line, err=True)
        for line in warnings:
            click.echo(f"{line} (warning)", err=True)
        click.echo(f"{_many(len(problems), 'problem')}, {_many(len(warnings), 'warning')}" if problems or warnings else "all is well")
    if problems:
        raise SystemExit(1)


def _many(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def _noted(problems: list[str], make: Callable[[Path], Made], path: Path) -> Made | None:
    """What `make` gives, or None and its problems noted."""
    try:
        return make(path)
    except ConfigurationError as error:
        problems += error.problems
    return None


def _noted_of_policy(problems: list[str], config: Path) -> None:
    """Wrong settings hide no mistake in the policy, as long as they say where it lies."""
    try:
        folder = tomllib.loads(config.read_text(encoding="utf-8")).get("policies")
    except (OSError, ValueError, RecursionError):
        return  # told already
    if isinstance(folder, str):
        _noted(problems, load_policy, config.resolve().parent / folder)


def _listeners(settings: Settings) -> Iterator[str]:
    for listener in settings.listeners:
        if listener.tls is not None:
            try:
                ServerTls(listener.tls)
                yield from _certificate(listener.tls)
            except ConfigurationError as error:
                yield from error.problems
    if not settings.listeners:
        yield "no listener is configured: nothing could come in ([[listeners]])"


def _certificate(files: TlsFiles) -> Iterator[str]:
    end = certificate_end(files.certificate)
    if end is not None and end <= time.time():
        yield f"{files.certificate}:1: this certificate ended on {time_text(int(end * 1e6))}"
    if files.key.stat().st_mode & 0o007:
        yield f"{files.key}:1: others may read this private key (chmod 600)"


def _certificate_warnings(settings: Settings) -> Iterator[str]:
    for listener in settings.listeners:
        end = certificate_end(listener.tls.certificate) if listener.tls else None
        if listener.tls and end is not None and 0 < end - time.time() < SOON_SECONDS:
            yield f"{listener.tls.certificate}:1: this certificate ends on {time_text(int(end * 1e6))}"


def _keys(settings: Settings) -> Iterator[str]:
    try:
        load_keys(settings.spool.public_key, settings.spool.private_keys)
        if settings.logins is not None and settings.logins.exists():
            read_logins(settings.logins)
    except ConfigurationError as error:
        yield from error.problems
    except OSError as error:
        yield f"{error.filename}: {error.strerror}"
    except UnicodeDecodeError:
        yield f"{settings.logins}:1: not UTF-8"


def _policy_files(settings: Settings, policy: Policy) -> Iterator[str]:
    """Files that the policy refers to and that lie elsewhere: DKIM keys, logins and certificates of routes."""
    ring = KeyRing(settings.dkim_keys)
    for signing in policy.signing:
        for entry in signing.keys:
            try:
                ring.key(signing.domain, entry.selector, entry.algorithm)
            except ConfigurationError as error:
                where = f"{settings.policies / 'signing.yaml'}, domain '{signing.domain}'"
                yield from (f"{problem} (wanted by {where})" for problem in error.problems)
    for route in policy.routes:
        try:
            if route.login is not None:
                read_login(settings.secrets, route.login)
            ClientContexts().context(route.tls, route.ca_file)
        except ConfigurationError as error:
            yield from (f"{problem} (route '{route.name}')" for problem in error.problems)
    scanner_asked = any("clamd" in getattr(policy.inspection, name) for name in ("outbound", "inbound", "internal"))
    if scanner_asked and settings.clamd.socket is None:
        yield f"{settings.policies / 'inspection.yaml'}:1: clamd must answer, but clamd.socket is not set: no mail could ever be delivered"


def _policy_warnings(settings: Settings, policy: Policy) -> Iterator[str]:
    if any(waiver.until < datetime.now(UTC).date() for waiver in policy.waivers):
        yield from expired(read_files(settings.policies), datetime.now(UTC).date(), settings.policies)
    if settings.clamd.socket is not None and not settings.clamd.socket.is_socket():
        yield f"{settings.clamd.socket}: nobody listens there (clamd.socket); until clamd runs, what must be scanned is deferred"
    sides = {listener.side for listener in settings.listeners}
    for client in policy.clients:
        if client.side not in sides:
            yield f"{settings.policies / 'clients.yaml'}: the client '{client.name}' is {client.side.value}, and no listener is"


def _not_in_force(settings: Settings, in_force: str | None) -> Iterator[str]:
    """A folder that is away is a problem of its own, and told as such."""
    if in_force is None or not settings.policies.is_dir():
        return
    try:
        same = digest(read_files(settings.policies)) == in_force
    except ConfigurationError:
        return
    if not same:
        what_now = {"approved": "sluis policy diff, sluis policy propose", "folder": "reload the relay", "watched": "is the relay up?"}
        hint = what_now[settings.policy.source]
        yield f"{settings.policies}: this is not the policy in force, version {in_force[:16]} ({hint})"


def _object_store(settings: Settings) -> Iterator[str]:
    """A folder needs no look: whoever checks may not be the one who writes there."""
    if settings.spool.s3 is None:
        return
    try:
        spool = open_spool(settings.spool, RelaxedBodyHash)
        try:
            spool.check()
        finally:
            spool.close()
    except ConfigurationError as error:
        yield from error.problems
    except (SluisError, OSError) as error:
        yield f"spool: {error}"


def _store(settings: Settings, warnings: list[str]) -> Iterator[str]:
    database = sqlite_path(settings.store)
    if database is not None and not database.exists():  # opening it would make one that belongs to whoever checks
        yield f"store: {database} is not there (run: sluis store upgrade)"
        return
    try:
        engine = open_engine(settings.store)
        try:
            schema.check_schema(engine)
            check_durability(engine)
            check_standby(engine, settings.store.standby)
            with engine.connect() as connection:
                warnings += (f"store: {doubt}" for doubt in doubts(connection, settings.store.standby))
                warnings += _not_in_force(settings, phase_state.read(connection).policy)
        finally:
            engine.dispose()
    except (SluisError, OSError) as error:
        yield f"store: {error}"
