"""Checks of the settings that no single key can make, and of the two places where passwords lie."""

import ipaddress
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from relay.settings.models import Listener, Settings
from relay.settings.positions import Path as Key

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")  # Amazon's rules for bucket names, which others follow
_PREFIX = re.compile(r"([A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*)?")

Problem = tuple[Key, str]
"""Where (the path of a key) and what."""


def crosscheck(settings: Settings) -> Iterator[Problem]:
    """Every problem, in the order of the file's keys."""
    yield from _hostname(settings)
    yield from _listeners(settings)
    yield from _store(settings)
    yield from _object_store(settings)
    if settings.processes > 1 and settings.store.url.startswith("sqlite"):
        yield ("processes",), "on SQLite one process does everything: several need PostgreSQL (store.url)"
    yield from _secrets(settings)
    if settings.delivery.delay_notice >= settings.delivery.expiry:
        yield ("delivery", "delay_notice"), "a delay notice that comes after the expiry is never sent"
    if settings.inspection.deadline < settings.clamd.deadline and settings.clamd.socket is not None:
        yield ("inspection", "deadline"), "shorter than clamd.deadline: a slow scan would end as a crash of the worker"


def _object_store(settings: Settings) -> Iterator[Problem]:
    s3 = settings.spool.s3
    if s3 is None:
        return
    where: Key = ("spool", "s3")
    if not s3.url.startswith("s3://") or not _BUCKET.fullmatch(s3.bucket) or not _PREFIX.fullmatch(s3.prefix):
        yield (*where, "url"), f"'{s3.url}' is not of the form s3://BUCKET/PREFIX"
    if s3.endpoint is None:
        return
    try:
        parts = urlsplit(s3.endpoint)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        known = False
    if not known or parts.path.strip("/") or parts.query or parts.username is not None:
        yield (*where, "endpoint"), "not of the form https://HOST:PORT, with nothing else in it"
    elif parts.scheme == "http" and not s3.allow_plain_http and not _is_loopback(parts.hostname or ""):
        yield (*where, "endpoint"), "http:// to another machine tells everybody on the way what is fetched (or set allow_plain_http)"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _hostname(settings: Settings) -> Iterator[Problem]:
    for key, name in ((("hostname",), settings.hostname), (("delivery", "hostname"), settings.delivery.hostname)):
        if name is not None and not is_hostname(name):
            yield key, f"'{name}' is no full host name such as relay.example.org (RFC 5321 §2.3.5)"


def is_hostname(name: str) -> bool:
    """Whether this is a full host name, of two labels at least (RFC 5321 §2.3.5)."""
    labels = name.split(".")
    return len(labels) > 1 and len(name) <= 253 and all(_is_label(label) for label in labels)


def _is_label(label: str) -> bool:
    """RFC 1123 §2.1: letters, digits and hyphens, at most 63, no hyphen at an end."""
    return 0 < len(label) <= 63 and label.isascii() and label.replace("-", "").isalnum() and label[0] != "-" and label[-1] != "-"


def _listeners(settings: Settings) -> Iterator[Problem]:
    names: set[str] = set()
    bound: dict[str, str] = {}
    for index, listener in enumerate(settings.listeners):
        where: Key = ("listeners", index)
        if listener.name in names:
            yield (*where, "name"), f"another listener is named '{listener.name}' too"
        names.add(listener.name)
        for address in listener.addresses:
            if address in bound and not address.endswith(":0"):
                yield (*where, "addresses"), f"{address} belongs to the listener '{bound[address]}' already"
            bound.setdefault(address, listener.name)
        yield from _tls(listener, settings, where)
        yield from _proxied_tls(listener, where)
        yield from _networks(listener, where)


def _proxied_tls(listener: Listener, where: Key) -> Iterator[Problem]:
    if listener.implicit_tls and listener.proxy_from:
        yield (*where, "proxy_from"), "a proxy sends its header before TLS, and is not understood with implicit_tls; use STARTTLS"


def _tls(listener: Listener, settings: Settings, where: Key) -> Iterator[Problem]:
    if listener.tls is None:
        for key in ("require_tls", "implicit_tls", "auth"):
            if getattr(listener, key):
                hint = "; give it a tls table, or say require_tls = false" if key == "require_tls" else ""
                yield (*where, key), f"the listener '{listener.name}' has {key} and no certificate{hint}"
    if listener.auth and settings.logins is None:
        yield (*where, "auth"), "nobody can log in without a 'logins' file"


def _networks(listener: Listener, where: Key) -> Iterator[Problem]:
    for key in ("proxy_from", "xclient_from", "xforward_from"):
        for text in getattr(listener, key):
            try:
                network = ipaddress.ip_network(text)
            except ValueError as error:
                yield (*where, key), f"'{text}' is no network: {error}"
                continue
            if network.prefixlen == 0:
                yield (*where, key), f"{text} is everybody: anybody could claim any address"


def _store(settings: Settings) -> Iterator[Problem]:
    url = settings.store.url
    if not url.startswith(("sqlite:///", "postgresql+psycopg://")):
        yield ("store", "url"), "a store is sqlite:///PATH or postgresql+psycopg://USER@HOST/DATABASE"
        return
    try:
        password = urlsplit(url).password
    except ValueError:
        yield ("store", "url"), "this is no URL"
        return
    if password is not None:
        yield ("store", "url"), "a password stands here for everybody to read; put it into PostgreSQL's password file (PGPASSFILE)"


def _secrets(settings: Settings) -> Iterator[Problem]:
    """Passwords that others may read are passwords no more; what does not exist is no problem here, `sluis check` looks for it."""
    for key, path in ((("secrets",), settings.secrets), (("logins",), settings.logins)):
        if path is not None and _others_may_read(path):
            yield key, f"{path} can be read or changed by everybody (chmod o-rwx)"


def _others_may_read(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & stat.S_IRWXO)
    except OSError:
        return False
