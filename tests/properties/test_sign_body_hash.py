"""The streaming body hash against dkimpy's, for any body in any chunks."""

import base64
import hashlib
import itertools

from dkim import rfc822_parse
from dkim.canonicalization import Relaxed
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.sign.body_hash import RelaxedBodyHash

PIECES = st.sampled_from([b"a", b"b.", b" ", b"\t", b"  ", b" \t ", b"\r\n", b"\r\n\r\n", b".", b"\r\n.", b"\xc3\xab", b"\r\n \r\n", b"\0"])
BODIES = st.lists(PIECES, max_size=60).map(b"".join)
HEADERS = st.sampled_from([b"", b"From: a@b.nl\r\n", b"From: a@b.nl\r\nSubject:  x \r\n y\r\n"])


def expected(message: bytes) -> str:
    _, body = rfc822_parse(message)
    return base64.b64encode(hashlib.sha256(Relaxed.canonicalize_body(body)).digest()).decode()


def streamed(message: bytes, cuts: list[int]) -> str:
    body_hash = RelaxedBodyHash()
    edges = [0, *sorted(cut % (len(message) + 1) for cut in cuts), len(message)]
    for start, end in itertools.pairwise(edges):
        body_hash.update(message[start:end])
    return body_hash.base64()


@settings(max_examples=600)
@given(HEADERS, BODIES, st.lists(st.integers(min_value=0, max_value=10_000), max_size=20))
def test_any_body_in_any_chunks_hashes_as_dkimpy_says(header: bytes, body: bytes, cuts: list[int]) -> None:
    message = header + b"\r\n" + body + b"\r\n"
    assert streamed(message, cuts) == expected(message)


@settings(max_examples=100)
@given(BODIES)
def test_byte_by_byte_is_the_same_as_at_once(body: bytes) -> None:
    message = b"From: a@b.nl\r\n\r\n" + body + b"\r\n"
    assert streamed(message, list(range(len(message)))) == streamed(message, [])


def test_a_message_without_an_empty_line_has_an_empty_body() -> None:
    assert streamed(b"From: a@b.nl\r\nSubject: x\r\n", [5]) == base64.b64encode(hashlib.sha256(b"").digest()).decode()


def test_a_body_of_empty_lines_only_is_an_empty_body_and_keeps_no_memory() -> None:
    body_hash = RelaxedBodyHash()
    body_hash.update(b"From: a@b.nl\r\n\r\n")
    for _ in range(200):
        body_hash.update(b"\r\n \t" * 16_384)
    assert len(body_hash._tail) <= 3
    assert body_hash.base64() == base64.b64encode(hashlib.sha256(b"").digest()).decode()


def test_many_empty_lines_before_text_are_all_hashed() -> None:
    message = b"From: a@b.nl\r\n\r\na\r\n" + b"\r\n" * 50_000 + b"b\r\n"
    assert streamed(message, list(range(0, len(message), 999))) == expected(message)
