"""What a pattern covers: an address, a domain, all below a domain, anything; never the empty reverse-path."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.model.address import address_key
from relay.policy.match import PatternSet, pattern_matches

DOMAINS = ["b.nl", "a.b.nl", "c.a.b.nl", "xb.nl", "nl"]
ADDRESSES = [f"{local}@{domain}" for local in ("x", "y") for domain in DOMAINS] + ["postmaster", ""]
PATTERNS = ["*", *ADDRESSES[:-2], *DOMAINS, *(f".{domain}" for domain in DOMAINS)]


@pytest.mark.parametrize(
    ("pattern", "covered"),
    [
        ("b.nl", {"x@b.nl", "y@b.nl"}),
        (".b.nl", {"x@a.b.nl", "y@a.b.nl", "x@c.a.b.nl", "y@c.a.b.nl"}),
        ("x@b.nl", {"x@b.nl"}),
        (".nl", {address for address in ADDRESSES if "@" in address and not address.endswith("@nl")}),
        ("*", set(ADDRESSES) - {""}),
    ],
)
def test_a_pattern_covers_just_this(pattern: str, covered: set[str]) -> None:
    assert {address for address in ADDRESSES if pattern_matches(pattern, address)} == covered


@pytest.mark.parametrize(
    ("pattern", "address"),
    [
        ("Jan@Example.NL", "jan@example.nl"),
        ("bücher.example", "x@XN--BCHER-KVA.example"),
        ("xn--bcher-kva.example", "x@bücher.example"),
        (".bücher.example", "x@post.xn--bcher-kva.example"),
        ('"jan"@example.nl', "jan@example.nl"),
        ("jan@example.nl", '"jan"@example.nl'),
        ("example.nl", '"a@b"@example.nl'),
        ("example.nl", "x@example.nl."),
    ],
)
def test_one_address_written_in_two_ways_is_one_address(pattern: str, address: str) -> None:
    assert pattern_matches(pattern, address_key(address))


@given(st.sets(st.sampled_from(PATTERNS), max_size=6), st.sampled_from(ADDRESSES))
def test_a_set_covers_what_one_of_its_patterns_covers(patterns: set[str], address: str) -> None:
    assert PatternSet(patterns).covers(address) == any(pattern_matches(pattern, address) for pattern in patterns)
