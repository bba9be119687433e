"""`sluis policy`: what a person types, and what comes back."""

import json
import shutil
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from pydantic import ValidationError

from relay.cli import main
from relay.cli.policy import COMMANDS
from relay.cli.policy_assumed import authentication_of
from relay.cli.policy_replay import _write
from relay.model.authentication import Result as Method
from relay.policy.conditions import AuthenticationCondition
from relay.policy.load import load_policy
from relay.rehearsal.cases import read_tests

SHIPPED = Path(__file__).parents[3] / "policies"
EML = (
    b"From: jan@example.org\nTo: piet@elsewhere.example\nSubject: Hello\nMIME-Version: 1.0\n"
    b"Content-Type: application/octet-stream; name=setup.exe\nContent-Disposition: attachment; filename=setup.exe\n\nhello\n"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the policy that ships."""
    shutil.copytree(SHIPPED, tmp_path / "policies")
    return tmp_path / "policies"


def said(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["policy", *words, "--policies", str(folder), "--config", str(folder / "none.toml")])


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str) -> None:
    shown = CliRunner().invoke(main, ["policy", name, "--help"])

    assert shown.exit_code == 0
    assert "Usage:" in shown.output


@pytest.mark.parametrize(
    ("kind", "path"), [("rule", "rules/a-b.yaml"), ("waiver", "waivers/a-b.yaml"), ("list", "lists/a-b.txt"), ("test", "tests/a-b.yaml")]
)
def test_a_skeleton_can_be_read_as_it_is_and_changes_nothing_yet(folder: Path, kind: str, path: str) -> None:
    assert said(folder, "new", kind, "a-b").exit_code == 0

    assert (folder / path).exists()
    policy = load_policy(folder)
    assert [rule.mode for rule in policy.rules if rule.name == "a-b"] in ([], ["observe"])
    assert read_tests(folder)
    again = said(folder, "new", kind, "a-b")
    assert (again.exit_code, "is there already" in again.output) == (1, True)


def test_a_name_that_is_none_is_refused(folder: Path) -> None:
    assert said(folder, "new", "rule", "../Evil").exit_code == 2
    for how in ("add", "remove"):
        refused = said(folder, "list", how, "../rules/evil", "a@b.nl", "--reason", "x")
        assert (refused.exit_code, "is no list" in refused.output) == (2, True)


def test_a_file_is_explained_under_the_working_copy(folder: Path, tmp_path: Path) -> None:
    eml = tmp_path / "a.eml"
    eml.write_bytes(EML)
    words = ["explain", "--eml", str(eml), "--from", "jan@example.org", "--to", "piet@elsewhere.example", "--phase", "closed"]

    shown = said(folder, *words)
    assert shown.exit_code == 0, shown.output
    assert "piet@elsewhere.example: quarantine" in shown.output
    assert "matched  dangerous-attachment: quarantine" in shown.output
    assert "matched  closed: hold" in shown.output
    told = json.loads(said(folder, *words, "--json").stdout)
    assert told["client"] == "mailservers"
    assert told["recipients"][0]["disposition"] == "quarantine"
    assert told["recipients"][0]["for_the_sender"]["nl"].startswith("Uw bericht")


def test_who_is_refused_before_data_is_explained_too(folder: Path, tmp_path: Path) -> None:
    eml = tmp_path / "a.eml"
    eml.write_bytes(EML)

    shown = said(folder, "explain", "--eml", str(eml), "--from", "jan@ministry.example", "--to", "x@y.example", "--client", "mailservers")
    assert "x@y.example: refused before the message is sent" in shown.output
    assert "client mailservers may not send as jan@ministry.example" in shown.output


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ([], "give either a MESSAGE of the record, or a file (--eml)"),
        (["abc"], "a message of the record is somebody's: say why (--reason)"),
        (["--eml", str(SHIPPED / "README.md")], "--eml needs an envelope: --from and --to"),
    ],
)
def test_half_a_question_is_no_question(folder: Path, words: list[str], what: str) -> None:
    shown = said(folder, "explain", *words)

    assert (shown.exit_code, what in shown.output) == (2, True)


def test_the_rules_for_a_sender_are_those_that_can_come_to_speak(folder: Path) -> None:
    told = json.loads(said(folder, "for", "jan@example.org", "clerk@court.example", "--json").stdout)

    way, forwarded = told["ways"]
    assert (forwarded["client"], forwarded["direction"]) == ("forwarder", "outbound")
    assert (way["client"], way["direction"], way["route"]) == ("mailservers", "outbound", "partners")
    depends = {rule["rule"]: rule["depends_on"] for rule in way["rules"]}
    assert depends["pass-outbound"] == []
    assert depends["closed"] == ["phase"]
    assert depends["large-mail"] == ["larger_than", "phase"]
    assert not {"partners-only", "pass-inbound", "malware-inbound"} & depends.keys()
    anybody = json.loads(said(folder, "for", "jan@example.org", "--json").stdout)
    assert [one["direction"] for one in anybody["ways"]] == ["outbound", "internal"] * 2
    assert "partners-only" in {rule["rule"] for rule in anybody["ways"][0]["rules"]}


def test_a_sender_whom_no_client_may_send_as_is_told_so(folder: Path) -> None:
    assert "it is refused at MAIL FROM" not in said(folder, "for", "piet@elsewhere.example").output  # the world may
    assert said(folder, "for", "not an address").exit_code == 2


def test_a_delegate_is_named_with_the_login_that_it_takes(folder: Path) -> None:
    (folder / "clients.yaml").write_text(
        "clients:\n  - {name: desk, side: inside, addresses: [192.0.2.9/32], logins: [anna, bert], may_send_as: [nobody@example.org]}\n"
    )
    (folder / "senders.yaml").write_text("senders:\n  - {login: anna, may_send_as: [press@example.org]}\n")
    told = json.loads(said(folder, "for", "press@example.org", "clerk@court.example", "--json").stdout)
    assert [(way["client"], way["logins"]) for way in told["ways"]] == [("desk", ["anna"])]
    assert "only as anna" in said(folder, "for", "press@example.org", "clerk@court.example").output
    assert json.loads(said(folder, "for", "nobody@example.org", "--json").stdout)["ways"][0]["logins"] == []


def test_a_skeleton_is_written_into_a_working_copy_that_does_not_load(folder: Path) -> None:
    (folder / "rules" / "broken.yaml").write_text("rules: 5\n")
    made = said(folder, "new", "rule", "a-b")
    assert (made.exit_code, (folder / "rules" / "a-b.yaml").exists()) == (0, True), made.output


def test_a_report_is_written_for_nobody_else_to_read_whatever_stood_there(tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    report.write_text("old")
    report.chmod(0o666)
    with report.open() as before:
        _write(report, "who wrote to whom")
        assert before.read() == "old", "whoever had it open reads on in the old one"
    assert (report.read_text(), report.stat().st_mode & 0o777) == ("who wrote to whom", 0o600)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_what_a_file_can_not_tell_is_said_to_be_assumed_and_can_be_given(folder: Path, tmp_path: Path) -> None:
    eml = tmp_path / "one.eml"
    eml.write_bytes(b"From: piet@elsewhere.example\nTo: jan@example.org\nSubject: Hello\n\nhello\n")
    words = ("explain", "--eml", str(eml), "--from", "piet@elsewhere.example", "--to", "jan@example.org", "--client", "internet")
    plain = json.loads(said(folder, *words, "--json").stdout)
    assert any("--authenticated" in line for line in plain["assumed"])
    failed = json.loads(
        said(folder, *words, "--json", "--authenticated", "dmarc=fail dmarc_policy=reject", "--authenticated", "spf=fail").stdout
    )
    assert not any("--authenticated" in line for line in failed["assumed"])
    assert (plain["recipients"][0]["disposition"], failed["recipients"][0]["disposition"]) == ("deliver", "quarantine")
    assert "  assumed: " in said(folder, *words).output
    for wrong in ("spf=perhaps", "dkin=pass", "dmarc_policy=maybe"):
        assert said(folder, *words, "--authenticated", wrong).exit_code == 2


def test_a_first_time_recipient_is_given_with_a_file(folder: Path, tmp_path: Path) -> None:
    eml = tmp_path / "one.eml"
    eml.write_bytes(b"From: jan@example.org\nTo: piet@elsewhere.example\nSubject: Hello\n\nhello\n")
    words = ("explain", "--eml", str(eml), "--from", "jan@example.org", "--to", "piet@elsewhere.example", "--json")
    first = json.loads(said(folder, *words, "--first-time", "piet@elsewhere.example", "--first-times-today", "1000").stdout)
    plain = json.loads(said(folder, *words).stdout)
    assert (plain["recipients"][0]["disposition"], first["recipients"][0]["disposition"]) == ("deliver", "quarantine")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("spf", "spf comes to one of none, neutral, pass, fail, softfail, temperror, permerror"),
        ("spf=policy", "spf comes to one of"),
        ("dkim=softfail", "dkim comes to one of none, neutral, pass, fail, policy, temperror, permerror"),
        ("dmarc=neutral", "dmarc comes to one of none, pass, fail, temperror, permerror"),
        ("dmarc_policy=fail", "dmarc_policy is one of none, quarantine, reject"),
        ("arc=pass", "'arc' is none of spf, dkim, dmarc, dmarc_policy"),
        ("spf=pass spf=fail", "one of them is given twice"),
    ],
)
def test_what_no_method_comes_to_is_not_assumed(given: str, says: str) -> None:
    with pytest.raises(click.BadParameter) as refused:
        authentication_of([given])
    assert says in refused.value.message


def test_a_method_comes_to_what_a_rule_can_ask_for() -> None:
    for name in ("spf", "dkim", "dmarc"):
        for result in Method:
            asked = {name: [result.value]}
            try:
                AuthenticationCondition.model_validate_json(json.dumps(asked))
            except ValidationError:
                with pytest.raises(click.BadParameter):
                    authentication_of([f"{name}={result}"])
            else:
                assert authentication_of([f"{name}={result}"]) is not None
