"""Two spellings of one address have one key, and two addresses have two."""

import pytest

from relay.model.address import Mailbox, domain_key


@pytest.mark.parametrize("local", ['"press"', '"p\\ress"', '"\\p\\r\\e\\s\\s"', "PRESS", '"Pre\\ss"'])
def test_a_quoted_pair_hides_nobody(local: str) -> None:
    assert Mailbox(local, "paper.example").key == "press@paper.example"


def test_a_quoted_backslash_stays_one() -> None:
    assert Mailbox('"a\\\\b"', "paper.example").key == "a\\b@paper.example"


def test_a_sharp_s_is_no_double_s() -> None:
    """IDNA2003 made one of the two; since IDNA2008 (RFC 5891) they are two domains that two people may hold."""
    assert domain_key("straße.example") == "xn--strae-oqa.example"
    assert domain_key("strasse.example") == "strasse.example"


SHOWN_AS_OURS = ["prosecution.ex🄰mple", "PROSECUTION.example", "prosecution。example", "ｐrosecution.example"]


@pytest.mark.parametrize("text", SHOWN_AS_OURS)
def test_what_is_shown_as_our_domain_is_our_domain(text: str) -> None:
    assert domain_key(text) == "prosecution.example"


@pytest.mark.parametrize("dot", [".", "\u3002", "\uff0e", "\uff61"])
def test_a_final_dot_of_any_script_makes_no_other_domain(dot: str) -> None:
    assert domain_key(f"evil.example{dot}") == "evil.example"
