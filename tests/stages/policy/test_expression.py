"""CEL in a policy: checked at load against what it can speak of, bounded before it is parsed."""

import pytest
from cel_expr_python import cel

from relay.policy.expression import problems
from relay.policy.expression_depth import depth
from tests.stages.cost import cpu_seconds
from tests.stages.policy.texts import problems as problems_of_policy

RULE = "rules:\n  - name: x\n    because: x\n    then: hold\n    when:\n      if: {text}\n"


@pytest.mark.parametrize(
    "text",
    [
        "message.size > 3 && sender.endsWith('@x.nl')",
        "attachments.exists(a, a.extension == 'exe' && a.size > 1000)",
        "attachments.exists(a, a.encrypted) && findings.exists(f, f.name == 'x')",
        "size(attachments) > 5 || recipient == sender",
        "message.subject.matches('^[A-Z]{2}-[0-9]+')",
        r"message.subject.matches(r'\p{Greek}+\{\x{10FFFF}a{2}b{2,}c{2,3}\\')",
        "message.subject.matches (R'^\\d+$')",
        "'has(' == sender",
        'sender == "it\'s (" || message.to.exists(t, t == "a@b.nl")',
    ],
)
def test_what_can_be_said_is_taken(text: str) -> None:
    assert problems(text) == []


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("mesage.size > 1", "there is no 'mesage.size' (did you mean 'message.size'?)"),
        ("attachments.exists(a, a.nam == 'x')", "attachment has no 'nam' (did you mean 'name'?)"),
        ("message.size == 'large'", "these types do not go together: '_==_' applied to '(int, string)'"),
        ("sender", "the result is string, and must be true or false"),
        ("message.size", "the result is int, and must be true or false"),
        (r"sender.matches('\\Qa.b\\E')", r"'\\Qa.b\\E': without \Q, \C, and a '{' that counts nothing (write \{)"),
        ("sender.matches('a{,3}')", r"'a{,3}': without \Q, \C, and a '{' that counts nothing (write \{)"),
        (r"sender.matches(r'\w{300}')", r"r'\w{300}' is too large for the engine that runs it: count less, or say [0-9A-Za-z_] for \w"),
        ("sender.matches('(')", "'(' is no regular expression (RE2)"),
        ("sender.matches(recipient)", "'matches' needs its pattern as text, so that it can be checked"),
        ("'a'.matches('' + message.subject)", "'matches' needs its pattern as text, so that it can be checked"),
        ("sender.matches\n(recipient)", "'matches' needs its pattern as text, so that it can be checked"),
        ("has\n(message.size)", "there is no function 'has' here"),
        (r"""r"\" == sender || has(message.size) || "" == sender""", "there is no function 'has' here"),
        ("sender +", "not readable as CEL: mismatched input '<EOF>'"),
        ("has(message.size)", "there is no function 'has' here"),
        ("dyn(sender) == 1", "there is no function 'dyn' here"),
        ("sender.startWith('a')", "there is no function 'startWith' here (did you mean 'startsWith'?)"),
        ("true // because", "no comment and no text in three quotes"),
        ("sender == '''a'''", "no comment and no text in three quotes"),
        ("(" * 17 + "true" + ")" * 17, "nested deeper than 16"),
        ("x" * 1001, "an expression of more than 1000 characters"),
        (
            "attachments.exists(a, a.members.exists(m, m == 'x'))",
            "at most 4 of all, exists, exists_one, filter, map, and none inside another",
        ),
        (
            "attachments.exists(a, a.members.exists\n(m, m == 'x'))",
            "at most 4 of all, exists, exists_one, filter, map, and none inside another",
        ),
    ],
)
def test_what_can_not_be_meant_is_refused(text: str, what: str) -> None:
    assert problems(text) == [(0, what)]


def test_a_mistake_is_told_with_the_line_that_it_stands_on() -> None:
    text = "|\n        message.size > 3 &&\n        mesage.subject == ''"

    assert problems_of_policy(rules__x=RULE.format(text=text)) == [
        "policies/rules/x.yaml:8: there is no 'mesage.subject' (did you mean 'message.subject'?)"
    ]
    assert problems_of_policy(rules__x=RULE.format(text="'sender'")) == [
        "policies/rules/x.yaml:6: the result is string, and must be true or false"
    ]


@pytest.mark.parametrize(
    "text", ["!" * 990 + "true", "-" * 999, "a." * 499 + "b", "[" * 500, "true&&" * 150 + "true", "'" * 999, "\\" * 1000]
)
def test_hostile_text_costs_no_time(text: str) -> None:
    assert cpu_seconds(lambda _: problems(text), len(text)) < 2


@pytest.mark.parametrize(
    "text",
    [
        "message.size > 1 ? true : " * 30 + "false",
        "message.size" + " + 1" * 28 + " > 1",
        "message.size" + " - (1" * 12 + ")" * 12 + " + 1" * 14 + " > 1",
    ],
)
def test_what_is_nested_without_a_bracket_is_nested_too(text: str) -> None:
    assert problems(text) == [(0, "nested deeper than 24")]


def test_a_long_row_is_no_depth() -> None:
    assert problems(" && ".join(["message.size > 1"] * 45)) == []


def test_depth_is_that_of_the_tree() -> None:
    compiled = cel.NewEnv(variables={"a": cel.Type.INT}).compile("[[1], [a]] == [[a > 1 ? 1 : 2]]")
    assert depth(compiled.serialize()) == 6
    with pytest.raises(ValueError, match="no checked expression"):
        depth(b"")
