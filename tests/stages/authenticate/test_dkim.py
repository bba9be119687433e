"""DKIM of arriving mail: what was signed by others is found good, and nothing else; what a sender writes costs little."""

import asyncio
import base64
import subprocess
from collections.abc import Awaitable, Callable
from typing import TypeVar

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as some

from relay.app.resolver import DnsResolver
from relay.authenticate.dkim import best, verified
from relay.authenticate.signatures import MAX_FIELD, MAX_FIELDS, signatures
from relay.model.authentication import MOST_SIGNATURES, Result, Signature, SignatureResult
from tests.fakes.dns import FakeResolver
from tests.servers.nameserver import NameServer
from tests.stages.authenticate.signed import EDWARDS, MESSAGE, body_hash, read, record, signed, signed_with_edwards, zone
from tests.stages.cost import in_proportion

NAME = "s1._domainkey.partner.example"
Answer = TypeVar("Answer")


def result(message: bytes, *texts: str, name: str = NAME) -> Result:
    """Of its first signature, with these records at the key's name."""
    dns = FakeResolver(texts={name: [text.encode() for text in texts]})
    return asyncio.run(verified(read(message)[0], dns)).result


def with_real_dns(ask: Callable[[DnsResolver], Awaitable[Answer]], records: dict[tuple[str, str], list[str]], **server: set[str]) -> Answer:
    async def asked() -> Answer:
        async with NameServer(records, **server) as names:  # type: ignore[arg-type]
            return await ask(DnsResolver([names.address], lifetime=1.0))

    return asyncio.run(asked())


@pytest.mark.parametrize("canonical", [(b"relaxed", b"relaxed"), (b"simple", b"simple"), (b"relaxed", b"simple"), (b"simple", b"relaxed")])
def test_what_others_signed_is_found_good(canonical: tuple[bytes, bytes]) -> None:
    message = signed(canonicalize=canonical)
    assert with_real_dns(lambda dns: verified(read(message)[0], dns), {(NAME, "TXT"): [zone(record())]}) == SignatureResult(
        "partner.example", "s1", Result.PASS
    )


def test_a_key_behind_a_cname_is_found() -> None:
    records = {(NAME, "CNAME"): ["key.provider.example."], ("key.provider.example", "TXT"): [zone(record())]}
    assert with_real_dns(lambda dns: verified(read(signed())[0], dns), records).result is Result.PASS


def test_ed25519_is_found_good() -> None:
    assert result(signed_with_edwards(), record(EDWARDS), name="ed._domainkey.partner.example") is Result.PASS
    assert result(signed_with_edwards().replace(b"Hoi", b"Hai"), record(EDWARDS), name="ed._domainkey.partner.example") is Result.FAIL


@pytest.mark.parametrize("body", [b"", b"\r\n", b"\r\n\r\n", b" \r\n", b"a", b"a\r\n\r\n"])
@pytest.mark.parametrize("how", [b"relaxed", b"simple"])
def test_bodies_that_are_hardly_there_are_hashed_as_others_do(body: bytes, how: bytes) -> None:
    assert result(signed(b"From: a@partner.example\r\n\r\n" + body, canonicalize=(b"relaxed", how)), record()) is Result.PASS


@pytest.mark.parametrize("lines", [1, 32_767, 32_768, 32_769, 100_000])
def test_however_many_empty_lines_end_a_body_it_is_the_same(lines: int) -> None:
    message = signed(MESSAGE + b"the end\r\n", canonicalize=(b"simple", b"simple"))
    assert result(message + b"\r\n" * lines, record()) is Result.PASS
    assert result(message + b"\r\n" * lines + b"x\r\n", record()) is Result.FAIL


@pytest.mark.parametrize(
    ("was", "became"), [(b"Beste", b"Boze"), (b"Hoi", b"Hai"), (b"jan@", b"piet@"), (b"From: Jan", b"From: Eve <e@x>\r\nFrom: Jan")]
)
def test_what_was_changed_or_added_is_found(was: bytes, became: bytes) -> None:
    assert result(signed().replace(was, became), record()) is Result.FAIL


def test_a_key_of_somebody_else_proves_nothing() -> None:
    assert result(signed(), record(rsa.generate_private_key(65537, 2048))) is Result.FAIL


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ((), Result.PERMERROR),
        ((record(), record()), Result.PERMERROR),
        ((record(p=""),), Result.PERMERROR),
        ((record(p="AAAA"),), Result.PERMERROR),
        ((record(p="?"),), Result.PERMERROR),
        ((record(k="ed25519"),), Result.PERMERROR),
        ((record(h="sha1"),), Result.PERMERROR),
        ((record(s="other"),), Result.PERMERROR),
        ((record(v="DKIM2"),), Result.PERMERROR),
        ((record() + "; p=AAAA",), Result.PERMERROR),
        ((record() + "; n=" + "x" * 10_000,), Result.PERMERROR),
        ((record(t="y"),), Result.NEUTRAL),
        ((record(t="s"),), Result.PASS),
        ((record(s="email:other"), "v=spf1 -all"), Result.PASS),
    ],
)
def test_what_a_record_says_of_its_key_counts(texts: tuple[str, ...], said: Result) -> None:
    assert result(signed(), *texts) is said


def test_a_key_for_the_very_domain_does_not_vouch_for_what_is_below() -> None:
    message = signed(identity=b"jan@unit.partner.example")
    assert (result(message, record()), result(message, record(t="s"))) == (Result.PASS, Result.PERMERROR)


def test_a_short_key_is_never_found_good() -> None:
    """768 bits are factored at home; `cryptography` makes no such key."""
    private = run_openssl("genrsa", "-traditional", "768")
    public = base64.b64encode(run_openssl("rsa", "-pubout", "-outform", "DER", given=private)).decode()
    message = dkim.sign(MESSAGE, b"s1", b"partner.example", private) + MESSAGE
    assert dkim.verify(message, minkey=512, dnsfunc=lambda name, timeout=5: f"v=DKIM1; p={public}".encode()), "it is a good signature"
    assert result(message, record(p=public)) is Result.FAIL


def run_openssl(*words: str, given: bytes = b"") -> bytes:
    return subprocess.run(["openssl", *words], input=given, capture_output=True, check=True).stdout


def test_a_body_that_may_grow_and_sha1_are_not_taken() -> None:
    assert result(signed(length=True), record()) is Result.POLICY
    assert result(signed(signature_algorithm=b"rsa-sha1"), record()) is Result.PERMERROR


@pytest.mark.parametrize(
    "tag", [b"v=1", b"a=rsa-sha256", b"d=partner.example", b"s=s1", b"from", b"bh=", b"i=@partner.example", b"c=relaxed"]
)
def test_a_field_that_is_not_whole_is_an_error_and_no_pass(tag: bytes) -> None:
    message = signed(identity=b"@partner.example", include_headers=[b"from"], canonicalize=(b"relaxed", b"relaxed"))
    assert tag in message
    assert result(message.replace(tag, tag[:2] + b"!", 1), record()) in (Result.PERMERROR, Result.FAIL)


def test_an_expired_signature_is_not_good() -> None:
    [found] = read(signed().replace(b"v=1;", b"v=1; x=1000000000;"))
    assert found.known == Result.PERMERROR


def test_dns_that_does_not_answer_is_a_temporary_error() -> None:
    [found] = read(signed())
    assert with_real_dns(lambda dns: verified(found, dns), {}, failing={NAME}).result is Result.TEMPERROR
    assert with_real_dns(lambda dns: verified(found, dns), {}).result is Result.PERMERROR


def test_no_more_than_some_signatures_are_looked_at_and_the_best_counts() -> None:
    message = signed()
    field = message[: -len(MESSAGE)]
    found = read(field.replace(b"bh=", b"bh=x") * 20 + message)
    assert len(found) == MOST_SIGNATURES
    assert [one.known for one in read(field.replace(b"d=partner", b"d=!") + message)] == ["permerror", ""]
    several = [SignatureResult("a", "b", Result(word)) for word in ("fail", "temperror", "permerror")]
    assert best(several) is Result.TEMPERROR
    assert best([*several, SignatureResult("a", "b", Result.PASS)]) is Result.PASS
    assert best([]) is Result.NONE


def test_a_header_that_can_be_read_in_two_ways_is_never_found_good() -> None:
    for line in (b"From : eve@evil.example\r\n", b"no field\r\n", b" begins folded\r\n"):
        assert [one.known for one in read(line + signed())] == ["permerror"]


HOSTILE: dict[str, tuple[int, Callable[[int], bytes]]] = {
    "blanks in the body": (2_000_000, lambda n: signed() + b" " * n + b"a\r\n"),
    "tabs and blanks": (1_000_000, lambda n: signed(canonicalize=(b"simple", b"simple")) + b"\t " * n + b"x\r\n"),
    "empty lines": (1_000_000, lambda n: signed(canonicalize=(b"simple", b"simple")) + b"\r\n" * n + b"x\r\n"),
    "folds in the field": (80_000, lambda n: b"DKIM-Signature: v=1; b=" + b"\r\n " * n + b"\r\n" + MESSAGE),
    "folds up to the limit": (3000, lambda n: signed().replace(b"b=", b"b=" + b"\r\n " * (n // 60) + b" " * n, 1)),
    "a long list of names": (50_000, lambda n: signed().replace(b"h=", b"h=" + names(n), 1)),
    "a list of names up to the limit": (
        MAX_FIELDS - 20,
        lambda n: b"y: z\r\n" * n + signed().replace(b"h=", b"h=" + names(240 * n // (MAX_FIELDS - 20)), 1),
    ),
    "many fields": (80_000, lambda n: b"y:\r\n" * n + signed()),
    "many signatures": (500, lambda n: signed()[: -len(MESSAGE)] * n + MESSAGE),
    "digits": (3900, lambda n: signed().replace(b"v=1;", b"v=1; t=" + b"9" * n + b";")),
    "one long field": (60_000, lambda n: b"DKIM-Signature: " + b"a=b;" * n + b"\r\n" + MESSAGE),
}
"""The size of each, and what it is at a size."""


def names(count: int) -> bytes:
    """As in h=."""
    return b"".join(b"x%d:" % number for number in range(count))


@pytest.mark.parametrize("what", HOSTILE)
def test_what_a_sender_writes_costs_no_more_than_in_proportion(what: str) -> None:
    size, written = HOSTILE[what]
    messages = {n: written(n) for n in (size // 4, size)}
    known = {n: body_hash(message) for n, message in messages.items()}

    def read_through(n: int) -> None:
        assert len(signatures(messages[n], known[n])) <= MOST_SIGNATURES

    assert in_proportion(read_through, size, at_most=2)


@given(some.binary(max_size=200), some.integers(0, 400), some.integers(0, 30))
def test_whatever_is_in_the_header_there_is_an_answer(octets: bytes, place: int, gone: int) -> None:
    message = SIGNED[:place] + octets + SIGNED[place + gone :]
    for found in signatures(message, "x"):
        assert isinstance(found, Signature)
        assert found.known in ("", "permerror", "fail", "policy")


SIGNED = signed()
assert len(SIGNED) < MAX_FIELD
