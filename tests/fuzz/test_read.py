"""The messages of the demonstration, mutated by a seeded generator: the reader never raises, and never takes long."""

import random
import time
from importlib.resources import files

import pytest

from relay.model.features import Header
from relay.model.finding import Kind
from relay.read import read
from relay.read.limits import ReadLimits

LIMITS = ReadLimits()
ROUNDS = 400
SECONDS = 5.0  # of CPU for one message, on a slow machine; a quadratic walk over a header takes minutes
SEEDS = sorted(
    (path.name, path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
    for path in files("relay.demo").joinpath("messages").iterdir()
    if path.name.endswith(".eml")
)
PIECES = (
    *(
        b"\r\n",
        b"\r\n\r\n",
        b"\r",
        b"\n",
        b"\0",
        b"\t",
        b" ",
        b'"',
        b";",
        b"=",
        b"--",
        b"(",
        b"<",
        b":",
        b"\xff",
        b"\xc3",
        b"=?utf-8?b?A?=",
    ),
    *(
        b"\r\nContent-Type: multipart/mixed; boundary=x",
        b"\r\nContent-Transfer-Encoding: base64",
        b"\r\nFrom: x",
        b"\r\n--x\r\n",
        b"filename*1*=",
    ),
)


def mutation(data: bytes, chance: random.Random) -> bytes:
    """A few places overwritten, cut out, doubled, moved or with a piece put in."""
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        start = chance.randrange(len(data) + 1)
        end = min(len(data), start + chance.choice((0, 1, 1, 4, 40, 400)))
        other = chance.randrange(len(data) + 1)
        middle = chance.choice((b"", chance.choice(PIECES), chance.randbytes(end - start), data[start:end] * 2, data[other : other + 40]))
        data = data[:start] + middle + data[end:]
    return data


@pytest.mark.parametrize(("name", "data"), SEEDS, ids=[name for name, _ in SEEDS])
def test_a_mutated_message_is_read_or_is_a_finding(name: str, data: bytes) -> None:
    chance = random.Random(name)
    for _ in range(ROUNDS):
        hostile = mutation(data, chance)
        started = time.thread_time()
        result = read(hostile, LIMITS, "relay.example.nl")
        assert time.thread_time() - started < SECONDS, hostile
        assert isinstance(result.header, Header)
        assert bool(result.findings) == result.raw
        assert all(finding.kind in (Kind.AMBIGUOUS, Kind.LIMIT) for finding in result.findings)


@pytest.mark.parametrize(("name", "data"), SEEDS, ids=[name for name, _ in SEEDS])
def test_a_message_cut_off_anywhere_is_read_or_is_a_finding(name: str, data: bytes) -> None:
    for end in range(0, len(data), max(1, len(data) // ROUNDS)):
        result = read(data[:end], LIMITS, "relay.example.nl")
        assert bool(result.findings) == result.raw


K = 1024
FROM = b"From: a@example.nl\r\n"
HOSTILE = {
    "a header line without a colon": b"a" * (250 * K) + b"\r\n\r\n",
    "header lines without a colon": b"a\r\n" * (80 * K) + b"\r\n",
    "a field name with a space behind every letter": b"a " * (120 * K) + b"\r\n\r\n",
    "a field folded everywhere": FROM + b"X: " + b"a\r\n " * (60 * K) + b"\r\n\r\n",
    "comments in comments": b"Authentication-Results: " + b"(" * (100 * K) + b")" * (100 * K) + b" x\r\n\r\n",
    "comments never closed": b"Authentication-Results: " + b"(" * (250 * K) + b"\r\n\r\n",
    "quotes never closed": b"Authentication-Results: " + b'"\\' * (120 * K) + b"\r\n\r\n",
    "angle brackets": b"From: " + b"<" * (60 * K) + b"\r\n\r\n",
    "colons in an angle bracket": b"From: <" + b":" * (60 * K) + b">\r\n\r\n",
    "commas": b"From: " + b"a@b," * (15 * K) + b"\r\n\r\n",
    "recipients": FROM + b"To: a@b\r\n" * (25 * K) + b"\r\n",
    "encoded words": FROM + b"Subject: " + b"=?utf-8?q?a" * (20 * K) + b"\r\n\r\n",
    "encoded words in a name": FROM + b'Content-Type: text/plain; name="' + b"=?u?q?a" * (1 * K) + b'"\r\n\r\n',
    "parameters": FROM + b"Content-Type: text/plain" + b"; a=b" * (3 * K) + b"\r\n\r\n",
    "pieces of a name": FROM + b"Content-Type: text/plain" + b"".join(b"; name*%d=b" % n for n in range(1000)) + b"\r\n\r\n",
    "spaces in quoted-printable": FROM + b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + b" " * (4096 * K) + b"x",
    "base64 of one letter": FROM + b"Content-Transfer-Encoding: base64\r\n\r\n" + b"A\r\n" * (500 * K),
    "lines that begin like base64": FROM + b"no field\r\n\r\n" + b"QUJDQUJDQUJDQUJDQUJD\r\n=\r\n" * (50 * K),
    "delimiters": FROM + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n" * (100 * K),
    "delimiters in the middle of lines": FROM + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"x--b" * (500 * K),
    "multiparts in multiparts": FROM
    + b"".join(b"Content-Type: multipart/mixed; boundary=%d.\r\n\r\n--%d.\r\n" % (n, n) for n in range(900)),
    "messages in messages": FROM + b"Content-Type: message/rfc822\r\n\r\n" * (5 * K),
    "dashes": FROM + b"Content-Type: multipart/mixed; boundary=--------\r\n\r\n" + b"-" * (2048 * K),
    "empty lines": b"\r\n" * (1024 * K),
    "only line feeds": b"\n" * (1024 * K),
    "nothing": b"",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_made_to_cost_time_costs_little(name: str) -> None:
    started = time.thread_time()
    result = read(HOSTILE[name], LIMITS, "relay.example.nl")
    assert time.thread_time() - started < SECONDS
    assert bool(result.findings) == result.raw
