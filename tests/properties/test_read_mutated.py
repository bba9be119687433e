"""However a message is bent: the reader never raises, and what the strict reader accepts, every reader reads in the same way."""

from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st

from relay.read import read
from relay.read.ambiguity import Ambiguous
from relay.read.lenient import Unreadable, differ, with_fast_parser, with_stdlib
from relay.read.limits import LimitReached, ReadLimits
from relay.read.strict import read_strictly
from tests.stages.read.messages import messages

LIMITS = ReadLimits()
bounded = settings(max_examples=300)
PIECES = st.sampled_from(
    [
        *(
            b"\r\n",
            b"\r\n\r\n",
            b"\r\n ",
            b"\r\n\t",
            b"\r",
            b"\n",
            b"\0",
            b" ",
            b"\t",
            b";",
            b":",
            b'"',
            b"\\",
            b"=",
            b"'",
            b"(",
            b")",
            b"--",
            b"*",
        ),
        *(b"\xe9", b"\xc3\xa9", b"=\r\n", b"=3D", b"=?utf-8?q?=41?=", b"QUJD", b"====", b"\r\n--", b"--\r\n", b"/", b",", b"<", b">"),
        *(
            b"; boundary=x",
            b"; name=x",
            b"; filename*0=x",
            b"; charset=x",
            b"\r\nContent-Type: text/plain",
            b"\r\nContent-Type: multipart/mixed",
        ),
        *(
            b"\r\nContent-Transfer-Encoding: base64",
            b"\r\nContent-Transfer-Encoding: 8bit",
            b"\r\nMIME-Version: 1.0",
            b"\r\nX: y",
            b"message/rfc822",
        ),
        *(
            b"multipart/digest",
            b"message/delivery-status",
            b"\r\nbegin 644 x\r\n",
            b"From x\r\n",
            b"\xef\xbb\xbf",
            b"\x0b",
            b"\x0c",
            b"\x1c",
            b"\x85",
        ),
    ]
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """One to three places of a well-formed message cut out, doubled, or with a hostile piece put in."""
    raw = draw(messages()).raw
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(raw)))
        end = min(len(raw), start + draw(st.sampled_from((0, 0, 1, 2, 5, 20))))
        middle = draw(st.one_of(PIECES, st.just(b""), st.just(raw[start:end] * 2)))
        raw = raw[:start] + middle + raw[end:]
    return raw


@bounded
@given(mutated())
def test_the_reader_never_raises_and_always_says_what_it_could_not_read(raw: bytes) -> None:
    result = read(raw, LIMITS, "relay.example.nl")
    assert bool(result.findings) == result.raw


@bounded
@given(mutated())
def test_what_the_strict_reader_accepts_the_lenient_ones_read_in_the_same_way(raw: bytes) -> None:
    try:
        strict = read_strictly(raw, LIMITS).leaves
    except (Ambiguous, LimitReached):
        reject()
    assume(b"message/delivery-status" not in raw)  # fields in blocks: shown as text, or as a message for each block
    try:
        readings = with_stdlib(raw, LIMITS), with_fast_parser(raw, LIMITS)
    except Unreadable as error:
        raise AssertionError(f"the fast parser refuses what the strict reader accepts: {error}") from None
    assert not differ(strict, readings[0])
    assert not differ(strict, readings[1])


@bounded
@given(mutated())
def test_every_octet_of_what_the_strict_reader_accepts_has_its_place(raw: bytes) -> None:
    try:
        spans = read_strictly(raw, LIMITS).spans
    except (Ambiguous, LimitReached):
        reject()
    assert b"".join(raw[span.start : span.end] for span in sorted(spans, key=lambda span: span.start)) == raw


@bounded
@given(st.binary(max_size=2000))
def test_any_octets_at_all_are_read_or_are_a_finding(raw: bytes) -> None:
    result = read(raw, LIMITS, "relay.example.nl")
    assert bool(result.findings) == result.raw
