"""The worker process: joins read and inspect, confines itself, then answers one message after the other. The pool starts the process that
workers are forked from, with a socket.
"""

import encodings
import importlib
import io
import os
import pkgutil
import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from relay.authenticate.signatures import signatures
from relay.inspect import frames
from relay.inspect.archive import ArchiveLimits
from relay.inspect.clamav import ClamdInspector
from relay.inspect.engine import Engine
from relay.inspect.filetype import TypeInspector
from relay.inspect.inner_message import InnerMessage
from relay.inspect.item import Inspector, Item, Unavailable
from relay.inspect.personal import PersonalNumbers, in_subject
from relay.inspect.sandbox import SandboxUnavailable, confine, limit_cpu
from relay.inspect.signs import Signs
from relay.inspect.template_process import run
from relay.inspect.worker_settings import WorkerSettings
from relay.inspect.yara import YaraInspector
from relay.model.errors import SpoolError
from relay.model.features import Header, Inspection
from relay.model.finding import Finding, Kind
from relay.read import read
from relay.read.embedded import embedded_messages
from relay.read.limits import ReadLimits
from relay.read.salvage import PATH as SALVAGED
from relay.store.spool.format import read_body

NAME = "inspect"
RAW = "raw"
"""The path of the message as a whole, among its parts."""
SELF_TEST_SECONDS = 10.0  # a scanner that hangs must not keep a worker from starting (the pool waits 60 s)
_OTHER_SYSTEMS = frozenset({"mbcs", "oem"})
_WELL_FORMED = (
    b"From: a@warm-up.invalid\r\nSubject: =?iso-8859-1?q?a?=\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=C3=AB\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>\r\n--b--\r\n"
)
_BENT = _WELL_FORMED.replace(b"boundary=b\r", b"boundary=b (c)\r") + b"--b\r\nContent-Transfer-Encoding: x-uuencode\r\n\r\nbegin 644 a\r\n"

_SIGNED = b"From: a@warm-up.invalid\r\nDKIM-Signature: v=1; a=rsa-sha256; d=a; s=a; h=from; b=YQ==; bh=-; c=relaxed/relaxed\r\n\r\n"


def main() -> None:
    """Ends with its socket."""
    run(prepare, work)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What workers share with the process that they are forked from."""

    embedded: YaraInspector
    types: TypeInspector
    signs: Signs


def prepare(settings: WorkerSettings) -> Loaded:
    """Loads what every worker needs. The scanner starts a thread with its first scan: that is left to the workers. Raises
    ConfigurationError."""
    loaded = Loaded(YaraInspector(Path(settings.rules) if settings.rules is not None else None), TypeInspector(), Signs())
    for module in pkgutil.iter_modules(encodings.__path__):
        if module.name not in _OTHER_SYSTEMS:
            importlib.import_module(f"encodings.{module.name}")
    _warm_up([], settings, loaded)
    return loaded


def _warm_up(scanners: list[Inspector], settings: WorkerSettings, loaded: Loaded) -> None:
    """Loads what is loaded late: once it is confined, a worker can open no file, that of a module or charset neither."""
    engine = new_engine(scanners, settings, loaded)
    for message in (_WELL_FORMED, _BENT):
        inspect_bytes(message, "warm-up.invalid", engine, settings)
    signatures(_SIGNED, "-")


def work(pool: socket.socket, settings: WorkerSettings, loaded: Loaded) -> None:
    """One worker: confines itself, says what it found its scanners to be, and answers."""
    try:
        _warm_up([loaded.embedded], settings, loaded)
        clamd = _clamd(settings, settings.scan_deadline, pool)
        engine = new_engine([loaded.embedded, PersonalNumbers(), *clamd], settings, loaded)
        confine(settings.memory)
    except SandboxUnavailable as error:
        pool.sendall(frames.pack({"problems": str(error).splitlines()}))
        return
    self_test = _clamd(settings, min(settings.scan_deadline, SELF_TEST_SECONDS), pool)
    pool.sendall(frames.pack({"unavailable": _self_test(self_test)}))
    while (job := frames.receive(pool)) is not None:
        head, body, descriptor = job
        limit_cpu(settings.cpu_seconds)
        for scanner in clamd:
            scanner.expect()
        pool.sendall(frames.pack(_answer(head, body, descriptor, engine, settings).to_json()))


def new_engine(scanners: Sequence[Inspector], settings: WorkerSettings, loaded: Loaded | None = None) -> Engine:
    """With archives and inner messages under the limits of the settings."""
    limits = ArchiveLimits(settings.archive_members, settings.archive_bytes, settings.archive_depth, settings.archive_ratio)
    types, signs = (loaded.types, loaded.signs) if loaded is not None else (None, None)
    return Engine(scanners, limits, lambda item: _inner_message(item, settings), types, signs)


def _inner_message(item: Item, settings: WorkerSettings) -> InnerMessage | None:
    """What is wrong with a message that nobody would open as one is no finding; its parts are inspected all the same."""
    found = None if item.path == RAW else embedded_messages(item.data, item.declared, item.name)
    if found is None:
        return None
    parts: list[Item] = []
    findings: list[Finding] = []
    limits = _read_limits(settings)
    if len(found.messages) > limits.parts:  # a mailbox
        findings.append(Finding(Kind.LIMIT, "reader", "parts", item.path))
    for number, message in enumerate(found.messages[: limits.parts], 1):
        result = read(message, limits, "")
        within = f"{number}." if len(found.messages) > 1 else ""
        parts += [Item(within + leaf.path, leaf.name, leaf.media_type, leaf.inline, leaf.data) for leaf in result.leaves]
        findings += [replace(finding, part=f"{item.path}/{within}{finding.part}".rstrip("/.")) for finding in result.findings]
    return InnerMessage(tuple(parts), tuple(findings) if found.meant else ())


def _read_limits(settings: WorkerSettings) -> ReadLimits:
    return ReadLimits(settings.header_size, settings.parts, settings.depth)


def _clamd(settings: WorkerSettings, deadline: float, pool: socket.socket) -> list[ClamdInspector]:
    """One, or none when it is switched off."""
    if not settings.clamd:
        return []

    def connect(_: float) -> socket.socket:
        """The pool connects, and hands the connection over: a worker that is taken over reaches clamd, and no other socket."""
        pool.sendall(frames.pack({"need": "clamd"}))
        reply = frames.receive(pool)
        if reply is None or reply[2] is None:
            raise ConnectionError(reply[0]["error"] if reply else "the relay is gone")
        return socket.socket(fileno=reply[2])

    return [ClamdInspector(connect, settings.connect_timeout, deadline, settings.cache_entries, settings.cache_seconds)]


def _self_test(scanners: list[ClamdInspector]) -> dict[str, str]:
    """A scanner that is down at the start is no reason not to start: its mail is deferred until it is back."""
    down: dict[str, str] = {}
    for scanner in scanners:
        try:
            scanner.self_test()
        except Unavailable as error:
            down[scanner.name] = str(error)
    return down


def _answer(head: dict[str, Any], body: bytes, descriptor: int | None, engine: Engine, settings: WorkerSettings) -> Inspection:
    """The top of a worker: whatever a message does to a reader or inspector is a finding about that message."""
    try:
        data = body if descriptor is None else _read_spool(head, descriptor)
        inspection = inspect_bytes(data, head["authserv_id"], engine, settings)
        return replace(inspection, signatures=signatures(data, head["body_hash"])) if head["body_hash"] else inspection
    except MemoryError:
        return _undecidable(Kind.LIMIT, "memory")
    except SpoolError as error:
        return _undecidable(Kind.CRASH, "spool-damaged", str(error))
    except Exception as error:  # noqa: BLE001 - the top of a worker
        return _undecidable(Kind.CRASH, "reader-crashed", type(error).__name__)


def _read_spool(head: dict[str, Any], descriptor: int) -> bytes:
    """At accept the object is not sealed yet, so that its size comes with the job."""
    body = io.BytesIO()  # gives its own bytes at the end, and no copy
    with os.fdopen(descriptor, "rb") as file:
        for chunk in read_body(file, head["object"], bytes.fromhex(head["key"]), size=head["size"]):
            body.write(chunk)
    return body.getvalue()


def inspect_bytes(data: bytes, authserv_id: str, engine: Engine, settings: WorkerSettings) -> Inspection:
    """read, then inspect."""
    result = read(data, _read_limits(settings), authserv_id)
    items = [Item(leaf.path, leaf.name, leaf.media_type, leaf.inline, leaf.data) for leaf in result.leaves]
    if result.raw:
        items.append(Item(RAW, "", "message/rfc822", True, data))
    inspected = engine.inspect(items)
    looked = PersonalNumbers.name in inspected.answered
    return Inspection(
        header=result.header,
        # The message as a whole and what was dug out of it are no parts of it that anybody sees.
        attachments=tuple(item for item in inspected.attachments if item.part.partition(".")[0] not in (RAW, SALVAGED)),
        findings=(*result.findings, *inspected.findings, *(in_subject(result.header.subject) if looked else ())),
        unavailable=tuple(sorted(inspected.unavailable)),
        answered=tuple(inspected.answered),
        eight_bit=not data.isascii(),
        versions=tuple(inspected.versions),
    )


def _undecidable(kind: Kind, name: str, detail: str = "") -> Inspection:
    return Inspection(Header(), findings=(Finding(kind, NAME, name, detail=detail),))


if __name__ == "__main__":
    main()
