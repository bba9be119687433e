"""A message inside a part that does not say so: its parts are inspected, its names count, and what is wrong with it is a finding."""

import base64
import gzip
from dataclasses import replace

import pytest

from relay.app.inspect_worker import inspect_bytes, new_engine
from relay.inspect.template import told
from relay.inspect.worker_settings import WorkerSettings
from relay.inspect.yara import YaraInspector
from relay.model.features import Inspection
from relay.model.finding import Kind
from relay.settings.models import Settings
from tests.servers.clamd import EICAR
from tests.stages.inspect.samples import label, zipped

SETTINGS = told(Settings(hostname="relay.example.nl"))
ENGINE = new_engine([YaraInspector()], SETTINGS)
MALWARE = (Kind.MALWARE, "eicar")


def message(name: str, data: bytes, declared: str = "application/octet-stream") -> bytes:
    """With one attachment in base64."""
    content = base64.encodebytes(data).replace(b"\n", b"\r\n")
    head = f'Content-Type: {declared}; name="{name}"' if name else f"Content-Type: {declared}"
    return (
        b"From: piet@example.nl\r\nTo: jan@example.nl\r\nSubject: x\r\nMIME-Version: 1.0\r\n"
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nSee.\r\n--b\r\n"
        b"%b\r\nContent-Transfer-Encoding: base64\r\n\r\n%b--b--\r\n"
    ) % (head.encode(), content)


def inspected(
    data: bytes, name: str = "a.bin", declared: str = "application/octet-stream", settings: WorkerSettings = SETTINGS
) -> Inspection:
    engine = ENGINE if settings is SETTINGS else new_engine([], settings)
    return inspect_bytes(message(name, data, declared), "relay.example.nl", engine, settings)


def found(data: bytes, name: str = "a.bin", declared: str = "application/octet-stream") -> list[tuple[Kind, str]]:
    return [(finding.kind, finding.name) for finding in inspected(data, name, declared).findings]


INNER = message("tool.js", EICAR)
WEB_ARCHIVE = INNER[INNER.index(b"MIME-Version") :]


@pytest.mark.parametrize(
    ("data", "name", "declared"),
    [
        (INNER, "a.eml", "application/octet-stream"),
        (INNER, "a.bin", "application/octet-stream"),
        (INNER, "a.eml", "text/plain"),
        (INNER, "a.txt", "text/plain"),
        (INNER.replace(b"\r\n", b"\n"), "a.eml", "application/octet-stream"),
        (b"\xef\xbb\xbf\r\n\r\n" + INNER, "a.eml", "application/octet-stream"),
        (b"1234\n" + INNER, "a.emlx", "application/octet-stream"),
        (b"From piet Mon Jan  1 00:00:00 2024\r\n" + INNER, "a", "application/octet-stream"),
        (b"From a Mon\r\nSubject: y\r\n\r\ntext\r\n\r\nFrom b Mon\r\n" + INNER, "a.mbox", "application/mbox"),
        (WEB_ARCHIVE, "a.doc", "application/msword"),
        (WEB_ARCHIVE, "a.mht", "application/octet-stream"),
        (b"X-Any: thing\r\n" + INNER, "a.eml", "application/octet-stream"),
        (zipped({"a.eml": INNER}), "a.zip", "application/zip"),
        (zipped({"a.doc": WEB_ARCHIVE}), "a.zip", "application/zip"),
        (gzip.compress(INNER), "a.gz", "application/gzip"),
        (message("b.eml", INNER), "a.eml", "application/octet-stream"),
        (message("b.zip", zipped({"tool.js": EICAR})), "a.eml", "application/octet-stream"),
    ],
    ids=label,
)
def test_malware_in_a_message_inside_a_part_is_found(data: bytes, name: str, declared: str) -> None:
    assert MALWARE in found(data, name, declared)
    (attachment,) = [part for part in inspected(data, name, declared).attachments if part.name == name]
    assert any(member.endswith("tool.js") for member in attachment.members)


def test_the_path_says_where_in_the_inner_message_it_was() -> None:
    (finding,) = inspected(zipped({"a.eml": INNER}), "a.zip").findings
    assert finding.part == "2/a.eml/2"


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (INNER.replace(b"boundary=b", b"boundary=b; boundary=c"), "a.eml"),
        (INNER.replace(b"boundary=b", b"boundary=b; boundary=c"), "a.bin"),
        (INNER.replace(b"--b--", b""), "a.eml"),
    ],
    ids=label,
)
def test_an_inner_message_that_readers_read_differently_is_ambiguous_and_inspected(data: bytes, name: str) -> None:
    assert {MALWARE, Kind.AMBIGUOUS} <= {*found(data, name), *(kind for kind, _ in found(data, name))}


@pytest.mark.parametrize(
    ("data", "name", "declared"),
    [
        (b"Subject: x\r\nFrom: y\r\nand so on, in plain text\r\n", "", "text/plain"),
        (b"Content-Type: multipart/mixed; boundary=b\r\nFrom: x\r\n\r\n", "", "text/rfc822-headers"),
        (b"Content-Type: multipart/mixed; boundary=b\r\nFrom: x\r\n\r\n", "headers.txt", "text/rfc822-headers"),
        (b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n", "headers.txt", "text/plain"),
        (b"From: a\nTo: b\nname: c\n\t- d\n", "jobs.yaml", "application/octet-stream"),
        (b"content-type: [a, b]\nx: y\n", "settings.yaml", "application/octet-stream"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n", "a.bin", "application/octet-stream"),
        (b"From piet came no word.\r\n", "a.bin", "application/octet-stream"),
        (b"From: piet@example.nl\nSubject: x\n\ntekst\n", "a.eml", "application/octet-stream"),
        (
            INNER.replace(base64.encodebytes(EICAR).strip().split(b"\n")[0], base64.b64encode(b"x" * 57)),
            "a.eml",
            "application/octet-stream",
        ),
    ],
    ids=label,
)
def test_text_that_nobody_opens_as_a_message_and_messages_in_order_have_no_finding(data: bytes, name: str, declared: str) -> None:
    assert found(data, name, declared) == []


def test_messages_inside_messages_meet_the_limit_of_depth() -> None:
    data = INNER
    for _ in range(6):
        data = message("a.eml", data)
    assert (Kind.LIMIT, "archive-depth") in found(data, "a.eml")


def test_the_parts_of_inner_messages_count_against_the_limits_of_archives() -> None:
    settings = replace(SETTINGS, archive_members=10)
    result = inspected(zipped({f"{number}.eml": INNER for number in range(6)}), settings=settings)
    assert "archive-members" in [finding.name for finding in result.findings]


def test_a_mailbox_of_more_messages_than_parts_are_allowed_meets_a_limit() -> None:
    settings = replace(SETTINGS, parts=20)
    result = inspected(b"From a Mon\r\nSubject: y\r\n\r\n" * 21, "a.mbox", settings=settings)
    assert (Kind.LIMIT, "parts") in [(finding.kind, finding.name) for finding in result.findings]
