"""What a rule may do besides its disposition is checked when the policy is read."""

import pytest

from relay.model.errors import ConfigurationError
from relay.policy.load import build
from tests.stages.policy.texts import FILES

RULE = "rules:\n  - name: x\n    because: x\n    then: {then}\n    {effect}\n"


def wrong(effect: str, then: str = "deliver") -> list[str]:
    """The problems; none where it loads."""
    try:
        build({**FILES, "rules/x.yaml": RULE.format(then=then, effect=effect)})
    except ConfigurationError as error:
        return [problem.removeprefix("policies/rules/x.yaml:5: ") for problem in error.problems]
    return []


@pytest.mark.parametrize(
    "effect",
    [
        "headers: {X-Sluis-Class: case file, Comments: seen, Keywords: a}",
        "require_tls: true",
        "notify: [desk@example.nl]",
    ],
)
@pytest.mark.parametrize("then", ["deliver", "hold", "quarantine", "reject"])
def test_effects_go_with_every_disposition(effect: str, then: str) -> None:
    assert wrong(effect, then) == []


@pytest.mark.parametrize(("then", "fits"), [("deliver", False), ("hold", False), ("quarantine", True), ("reject", True)])
def test_evidence_is_what_does_not_leave(then: str, fits: bool) -> None:
    assert wrong("keep: true", then) == ([] if fits else ["'keep' goes with 'then: quarantine' or 'then: reject' only"])


@pytest.mark.parametrize(
    "name", ["Subject", "From", "Bcc", "X-Spam", "x-sluis-a", "X-Sluis-", "X-Sluis--", "DKIM-Signature", "X-Sluis-A:b"]
)
def test_only_fields_of_the_allow_list_are_put_in_front(name: str) -> None:
    [problem] = wrong(f"headers: {{{name!r}: x}}")
    assert "is no field that a rule may put in front; it may put Comments, Keywords, X-Sluis-…" in problem


@pytest.mark.parametrize("value", ['"a\\r\\nBcc: x@y.nl"', '"a\\nb"', '"a\\tb"', '"caf\\u00e9"', '""', '" a"', '"a "', '"a\\0"'])
def test_the_value_of_a_field_is_one_line_of_printable_ascii(value: str) -> None:
    [problem] = wrong(f"headers: {{Comments: {value}}}")
    assert "the value of a field is one line of printable ASCII" in problem


def test_the_value_of_a_field_is_bounded() -> None:
    assert wrong(f"headers: {{Comments: {'a' * 200}}}") == []
    assert len(wrong(f"headers: {{Comments: {'a' * 201}}}")) == 1


def test_only_people_of_ours_are_told() -> None:
    assert wrong("notify: [desk@elsewhere.example]") == ["'desk@elsewhere.example' is at none of our domains: nobody else is told"]
    assert "is no address" in wrong("notify: [example.nl]")[0]
    assert len(wrong("notify: []")) == 1
