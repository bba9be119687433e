"""What `sluis policy diff` shows: also the tests, which whoever approves a version approves with it."""

from relay.cli.policy_diff import difference
from relay.policy.content import Content
from tests.stages.policy.texts import FILES, RULES

TEST = b"""tests:
  - name: it leaves
    envelope: {client: exchange, sender: jan@example.nl, recipients: [piet@partner.example]}
    expect: [{disposition: deliver}]
"""
STRICTER = {**FILES, "rules/rules.yaml": RULES + "  - {name: held, when: {tls: false}, then: hold, because: in the clear}\n"}
OLD = Content(FILES, {"tests/a.yaml": TEST, "tests/a.eml": b"\xff"})


def test_tests_are_shown_line_by_line() -> None:
    found = difference(OLD, Content(FILES, {"tests/a.yaml": TEST.replace(b": deliver", b": hold")}))
    (shown,) = found["files"]
    assert shown["file"] == "tests/a.yaml"
    assert {"-    expect: [{disposition: deliver}]", "+    expect: [{disposition: hold}]"} < set(shown["diff"])
    assert found["tests"] == ["tests/a.eml", "tests/a.yaml"]


def test_a_test_that_goes_takes_two_people_also_beside_a_stricter_rule() -> None:
    assert difference(OLD, Content(STRICTER, OLD.tests))["one_person"]
    assert difference(OLD, Content(FILES, {**OLD.tests, "tests/b.eml": b"x"}))["one_person"]
    found = difference(OLD, Content(STRICTER))
    assert (found["one_person"], found["why_two"]) == (False, "tests that were there changed or are gone: 'it leaves', tests/a.eml")
