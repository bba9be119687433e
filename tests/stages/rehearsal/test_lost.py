"""Tests of a policy that another set of them lacks: gone, changed, or expecting something milder."""

import pytest

from relay.rehearsal.lost import lost_tests, why_two_for_tests

ENVELOPE = "{client: exchange, sender: jan@example.nl, recipients: [piet@partner.example]}"


def one(name: str, expect: str, more: str = "") -> str:
    return f"  - {{name: {name}, envelope: {ENVELOPE}, expect: [{expect}]{more}}}\n"


def files(*tests: str, **others: bytes) -> dict[str, bytes]:
    return {"tests/a.yaml": ("tests:\n" + "".join(tests)).encode(), **{f"tests/{name}.eml": octets for name, octets in others.items()}}


HELD = files(one("x", "{disposition: hold, rules: [closed]}"))


@pytest.mark.parametrize(
    "now",
    [
        HELD,
        files(one("y", "{disposition: deliver}"), one("x", "{disposition: hold, rules: [closed]}")),
        {"tests/moved.yaml": HELD["tests/a.yaml"]},
        {"tests/a.yaml": b"# why\n" + HELD["tests/a.yaml"]},
        files(one("x", "{disposition: quarantine, rules: [other]}")),
        files(one("x", "{disposition: refuse}")),
    ],
)
def test_nothing_is_lost_where_all_is_there_or_stricter(now: dict[str, bytes]) -> None:
    assert lost_tests(HELD, now) == []


@pytest.mark.parametrize(
    "now",
    [
        {},
        files(one("y", "{disposition: hold, rules: [closed]}")),
        files(one("x", "{disposition: deliver}")),
        files(one("x", "{disposition: defer}")),
        files(one("x", "{disposition: hold}")),
        files(one("x", "{disposition: hold, rules: [other]}")),
        files(one("x", "{recipient: piet@partner.example, disposition: quarantine}")),
        files(one("x", "{disposition: quarantine}", ", phase: closed")),
        files(one("x", "{disposition: quarantine}, {disposition: quarantine}")),
    ],
)
def test_a_test_is_lost_that_is_gone_or_asks_for_less(now: dict[str, bytes]) -> None:
    assert lost_tests(HELD, now) == ["'x'"]


def test_what_lies_beside_a_test_or_can_not_be_read_is_compared_as_it_is() -> None:
    was = files(one("x", "{disposition: reject, keep: true}"), one=b"1", two=b"2")
    assert lost_tests(was, files(one("x", "{disposition: reject, keep: true}"), one=b"1", two=b"3")) == ["tests/two.eml"]
    assert lost_tests(was, {**was, "tests/a.yaml": b"tests: 5\n"}) == ["tests/a.yaml"]
    assert why_two_for_tests(was, {}) == "tests that were there changed or are gone: 'x', tests/one.eml, tests/two.eml"


def test_evidence_is_still_expected_of_what_is_refused_instead() -> None:
    was = files(one("x", "{disposition: quarantine, keep: true}"))
    assert lost_tests(was, files(one("x", "{disposition: reject}"))) == ["'x'"]
    assert lost_tests(was, files(one("x", "{disposition: reject, keep: true}"))) == []
