"""Tests beside a policy: what they can say, that they fail where they should, and what no test reaches."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from relay.cli import main
from relay.model.errors import ConfigurationError
from relay.model.features import Inspection
from relay.model.finding import Finding, Kind
from relay.policy.load import load_policy
from relay.policy.models import Policy
from relay.rehearsal.cases import read_tests
from relay.rehearsal.junit import junit
from relay.rehearsal.run import Coverage, Tried, run
from tests.stages.decide.cases import inspection
from tests.stages.policy.texts import FILES

SHIPPED = Path(__file__).parents[3] / "policies"
INTERNET = (
    "  - name: internet\n    side: outside\n    addresses: [0.0.0.0/0]\n    require_tls: false\n"
    "    may_send_as: ['*']\n    may_send_to: [example.nl]\n"
)
WAIVERS = """\
waivers:
  - name: for-jan
    rules: [macro]
    when: {sender: [jan@example.nl]}
    owner: somebody
    reason: because
    until: 2030-01-31
"""
ENVELOPE = "envelope: {client: exchange, sender: jan@example.nl, recipients: [piet@partner.example]}"


def written(folder: Path, *tests: str) -> Path:
    """A small policy with these tests."""
    files = FILES | {"clients.yaml": FILES["clients.yaml"] + INTERNET, "waivers/w.yaml": WAIVERS}
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "tests").mkdir()
    (folder / "tests" / "t.yaml").write_text("tests:\n" + "".join(f"  - {test}\n" for test in tests))
    return folder


async def looked(octets: bytes, policy: Policy) -> Inspection:
    """Stands for the workers: what they would say of mail without attachments."""
    return inspection(Finding(Kind.RULE, "yara", "loud")) if b"LOUD" in octets else inspection()


def tried(folder: Path) -> tuple[Sequence[Tried], Coverage]:
    """Every test, run."""
    coverage = Coverage()

    async def all_of_them() -> list[Tried]:
        return [result async for result in run(read_tests(folder), load_policy(folder), looked, 1_764_000_000_000_000, coverage)]

    return asyncio.run(all_of_them()), coverage


def differences(folder: Path, *tests: str) -> list[tuple[str, ...]]:
    return [result.differences for result in tried(written(folder, *tests))[0]]


def test_what_comes_as_expected_passes_and_anything_else_is_told(tmp_path: Path) -> None:
    one = f"name: passes\n    {ENVELOPE}\n    expect: [{{disposition: deliver, rules: [pass], route: out, code: 250}}]"
    two = f"name: fails\n    {ENVELOPE}\n    expect: [{{disposition: hold, rules: [macro], route: in, code: 451}}]"

    assert differences(tmp_path, one, two) == [
        (),
        (
            "piet@partner.example: expected hold, was deliver (ordinary mail)",
            "piet@partner.example: expected rules macro, was pass",
            "piet@partner.example: expected route in, was out",
            "piet@partner.example: expected reply 451, was 250",
        ),
    ]


def test_what_rules_do_besides_can_be_expected(tmp_path: Path) -> None:
    expected = "keep: {}, require_tls: {}, headers: {{{}}}, notify: [{}]"
    as_it_is = expected.format("false", "true", "Comments: seen", "desk@example.nl")
    otherwise = expected.format("true", "false", "", "eve@example.nl")
    one = f"name: passes\n    {ENVELOPE}\n    expect: [{{disposition: deliver, {as_it_is}}}]"
    two = f"name: fails\n    {ENVELOPE}\n    expect: [{{disposition: deliver, {otherwise}}}]"
    folder = written(tmp_path, one, two)
    (folder / "rules" / "more.yaml").write_text(
        "rules:\n  - {name: more, then: deliver, because: x, require_tls: true, headers: {Comments: seen}, notify: [desk@example.nl]}\n"
    )

    assert [result.differences for result in tried(folder)[0]] == [
        (),
        (
            "piet@partner.example: expected keep true, was false",
            "piet@partner.example: expected require_tls false, was true",
            "piet@partner.example: expected headers none, was Comments: seen",
            "piet@partner.example: expected notify eve@example.nl, was desk@example.nl",
        ),
    ]


def test_each_recipient_is_expected_for_itself(tmp_path: Path) -> None:
    envelope = "envelope: {client: internet, sender: piet@partner.example, recipients: [jan@example.nl, eve@other.example]}"
    refused = "{recipient: eve@other.example, disposition: refuse, code: 550}"
    expected = f"[{{recipient: jan@example.nl, disposition: reject, rules: [header]}}, {refused}]"

    assert differences(tmp_path, f"name: x\n    {envelope}\n    expect: {expected}") == [()]


def test_findings_and_scanners_that_are_away_are_as_the_test_says(tmp_path: Path) -> None:
    found = (
        f"name: a\n    {ENVELOPE}\n    findings: [{{kind: malware, name: x}}]\n    expect: [{{disposition: reject, rules: [dangerous]}}]"
    )
    away = f"name: b\n    {ENVELOPE}\n    unavailable: [yara]\n    expect: [{{disposition: defer, code: 451}}]"
    brake = f"name: c\n    {ENVELOPE}\n    brake: true\n    expect: [{{disposition: hold, rules: [brake]}}]"

    assert differences(tmp_path, found, away, brake) == [(), (), ()]


def test_what_no_test_reaches_is_named(tmp_path: Path) -> None:
    folder = written(tmp_path, f"name: x\n    {ENVELOPE}\n    expect: [{{disposition: deliver}}]")
    _, coverage = tried(folder)

    assert coverage.missing(load_policy(folder)) == (["macro", "dangerous"], ["for-jan"])


@pytest.mark.parametrize(
    ("test", "problem"),
    [
        ("name: x\n    expct: []", "t.yaml:3: unknown key 'expct' (did you mean 'expect'?)"),
        (f"name: x\n    {ENVELOPE}\n    expect: [{{disposition: bounce}}]", "t.yaml:4: "),
        (
            f"name: x\n    {ENVELOPE}\n    expect: [{{recipient: eve@other.example, disposition: hold}}]",
            "t.yaml:2: 'eve@other.example' is expected, and is no recipient of the envelope",
        ),
        (f"name: x\n    {ENVELOPE}\n    at: 2026-11-27T09:00:00\n    expect: [{{disposition: hold}}]", "t.yaml:4: "),
        (f"name: x\n    {ENVELOPE}\n    message: {{attachments: [{{name: a}}]}}\n    expect: [{{disposition: hold}}]", "t.yaml:4: "),
        (f"name: x\n    {ENVELOPE}\n    message: {{eml: a.eml, subject: b}}\n    expect: [{{disposition: hold}}]", "t.yaml:4: "),
    ],
)
def test_a_test_that_could_not_fail_or_can_not_be_read_is_told_with_its_line(tmp_path: Path, test: str, problem: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_tests(written(tmp_path, test))
    assert any(problem in found for found in caught.value.problems), caught.value.problems


@pytest.mark.parametrize("name", ["more/t.yaml", "t.yml", "T.YAML"])
def test_a_file_of_tests_that_nobody_would_run_is_a_mistake(tmp_path: Path, name: str) -> None:
    policies = written(tmp_path, f"name: x\n    {ENVELOPE}\n    expect: [{{disposition: deliver}}]")
    (policies / "tests" / name).parent.mkdir(exist_ok=True)
    (policies / "tests" / name).write_text("tests: []\n")

    with pytest.raises(ConfigurationError, match="nobody would run these"):
        read_tests(policies)


def test_a_name_stands_once(tmp_path: Path) -> None:
    test = f"name: x\n    {ENVELOPE}\n    expect: [{{disposition: deliver}}]"

    with pytest.raises(ConfigurationError, match="the name 'x' is taken"):
        read_tests(written(tmp_path, test, test))


@pytest.mark.parametrize("name", ["absent.eml", "../organisation.yaml", "/etc/hostname"])
def test_a_message_from_elsewhere_or_nowhere_is_a_failure(tmp_path: Path, name: str) -> None:
    (found,) = differences(tmp_path, f"name: x\n    {ENVELOPE}\n    message: {{eml: {name}}}\n    expect: [{{disposition: deliver}}]")

    assert found
    assert name in found[0]


def test_a_client_or_phase_that_is_not_there_is_a_failure(tmp_path: Path) -> None:
    envelope = ENVELOPE.replace("exchange", "nobody")

    assert differences(
        tmp_path,
        f"name: x\n    {envelope}\n    expect: [{{disposition: deliver}}]",
        f"name: y\n    {ENVELOPE}\n    phase: night\n    expect: [{{disposition: deliver}}]",
    ) == [("no client is named 'nobody'; there are exchange, internet",), ("no phase is named 'night'; there are closed, open",)]


def test_a_message_is_a_file_or_a_few_lines(tmp_path: Path) -> None:
    folder = written(
        tmp_path,
        f"name: x\n    {ENVELOPE}\n    message: {{eml: a.eml}}\n    expect: [{{disposition: deliver}}]",
        f"name: y\n    {ENVELOPE}\n    message: {{text: LOUD}}\n    expect: [{{disposition: deliver, rules: [pass]}}]",
    )
    (folder / "tests" / "a.eml").write_bytes(b"From: jan@example.nl\n\nHello\n")

    assert [result.differences for result in tried(folder)[0]] == [(), ()]


def test_junit_counts_and_names_failures(tmp_path: Path) -> None:
    passes = f"name: passes\n    {ENVELOPE}\n    expect: [{{disposition: deliver}}]"
    fails = f"name: 'fails <&>'\n    {ENVELOPE}\n    expect: [{{disposition: hold}}]"
    results, _ = tried(written(tmp_path, passes, fails))

    suite = ElementTree.fromstring(junit(results, 1.5))[0]
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    assert [(case.get("name"), len(case)) for case in suite] == [("passes", 0), ("fails <&>", 1)]


def test_the_policy_that_ships_passes_its_tests_and_is_reached_whole(tmp_path: Path) -> None:
    said = CliRunner().invoke(
        main, ["policy", "test", "--policies", str(SHIPPED), "--all-reached", "--json", "--config", str(tmp_path / "no")]
    )

    assert said.exit_code == 0, said.output
    told = json.loads(said.stdout)
    assert all(test["passed"] for test in told["tests"])
    assert told["not_reached"] == {"rules": [], "waivers": []}


def test_the_command_fails_where_a_test_does_and_where_there_is_none(tmp_path: Path) -> None:
    folder = written(tmp_path, f"name: fails\n    {ENVELOPE}\n    expect: [{{disposition: hold}}]")
    config = ["--config", str(tmp_path / "no")]

    said = CliRunner().invoke(main, ["policy", "test", "--policies", str(folder), *config])
    assert said.exit_code == 1
    assert "expected hold, was deliver (ordinary mail)" in said.output
    assert "0 passed, 1 failed" in said.output
    none = CliRunner().invoke(main, ["policy", "test", "--policies", str(folder), "absent", *config])
    assert (none.exit_code, "has absent in its name" in none.output) == (1, True)
