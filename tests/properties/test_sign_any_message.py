"""Whatever the header and body look like: what Sluis signs, other people's verifiers accept."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.demo.verify import verify
from relay.sign.signer import Signer
from tests.fakes.custody import NOW_US, MemoryBody, claimed, stored
from tests.stages.sign import opendkim
from tests.stages.sign.keys import DOMAIN, policy
from tests.stages.sign.test_signer import Keys

TEXT = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)
VALUE = st.lists(st.one_of(TEXT, st.sampled_from([" ", "\t", "\r\n ", "  ", "\r\n\t ", "é", "b=", "; b=x", "bh=y"])), max_size=12).map(
    "".join
)
NAME = st.sampled_from(["To", "SUBJECT", "Date", "cc", "Content-Type", "Message-ID", "X-Other", "List-Id", "References", "Reply-To"])
FIELDS = st.lists(st.tuples(NAME, VALUE), max_size=10)
BODY = st.lists(st.sampled_from([b"a", b" ", b"\t", b"\r\n", b".", b"\xc3\xab", b"- -", b"\r\n\r\n"]), max_size=40).map(b"".join)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def signer(keys: Keys) -> Signer:
    """One, as a relay has: to read an RSA key and check it takes twenty times as long as to sign with it."""
    return Signer(keys.folder)


@settings(max_examples=150)
@given(fields=FIELDS, body=BODY, piece=st.integers(min_value=1, max_value=200))
def test_what_is_signed_verifies(keys: Keys, signer: Signer, fields: list[tuple[str, str]], body: bytes, piece: int) -> None:
    lines = [f"From: jan@{DOMAIN}", *(f"{name}: x{value}x" for name, value in fields)]
    message = "\r\n".join(lines).encode() + b"\r\n\r\n" + body + b"\r\n"
    signed = signer.sign(claimed(stored(message)), policy(), MemoryBody(message, piece), "relay.example.nl", NOW_US)
    assert verify(signed.prefix + message, keys.records) == dict.fromkeys(keys.records, True)
    assert opendkim.verify(signed.prefix + message, keys.records, keys.folder) == dict.fromkeys(keys.records, True)
