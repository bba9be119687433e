"""What the commands print: tables for people, JSON for programs, and nothing that could steer a terminal."""

import json
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from relay.model.delivery import State
from tests.stages.cli.installed import Installed, installed, sqlite_copy
from tests.stages.control.desk import MACRO, MACROS, MALWARE, VIRUS, Desk

HOSTILE = "\x1b]0;owned\x07 \x9b2J \u202egnp.exe \u2066\r\n\t\x00\ud83d\ude00é😀"
WHY = ("--reason", "a test")


def _one_of_each(at: Desk) -> dict[str, str]:
    return {
        "quarantined": at.put(State.QUARANTINED, findings=[MACRO], rules=[MACROS], subject="Template").hex,
        "malware": at.put(State.QUARANTINED, findings=[VIRUS], rules=[MALWARE], subject="Invoice").hex,
        "held": at.put(State.HELD, State.READY, subject="Hearing").hex,
        "delivered": at.put(State.DELIVERED, sender="", subject="Report").hex,
    }


@pytest.fixture
def house(tmp_path: Path, sqlite_template: Path) -> tuple[Installed, dict[str, str]]:
    """A message of each kind, by its name."""
    return installed(tmp_path, sqlite_copy(sqlite_template, tmp_path), _one_of_each)


def test_lists_are_tables_with_what_is_needed_to_go_on(house: tuple[Installed, dict[str, str]]) -> None:
    sluis, ids = house
    said = sluis.run("quarantine", "list").stdout.splitlines()
    assert said[0].split() == ["message", "received", "sender", "recipient", "rules", "reason"]
    assert [line.split()[0] for line in said[1:]] == [f"{ids['malware']}/0", f"{ids['quarantined']}/0"], "newest first"
    said = sluis.run("queue", "list", "--state", "held").stdout.splitlines()
    assert len(said) == 2
    assert said[1].startswith(f"{ids['held']}/0 ")
    assert "<>" in sluis.run("message", "find", "--state", "delivered", *WHY).stdout


def test_what_is_empty_says_so(tmp_path: Path, sqlite_template: Path) -> None:
    sluis, _ = installed(tmp_path, sqlite_copy(sqlite_template, tmp_path))
    for words, said in (
        (["quarantine", "list"], "the quarantine is empty"),
        (["queue", "list"], "the queue is empty"),
        (["message", "find", *WHY], "nothing found"),
        (["request", "list"], "no request waits"),
    ):
        assert sluis.run(*words).stdout == f"{said}\n"
        assert sluis.json(*words) == []
    assert sluis.run("quarantine", "release", "--all", *WHY).stdout == "nothing fits\n"


def test_a_list_that_is_cut_says_so(house: tuple[Installed, dict[str, str]]) -> None:
    sluis, _ = house
    said = sluis.run("queue", "list", "--limit", "1")
    assert len(said.stdout.splitlines()) == 2
    assert said.stderr == "the first 1; more with --limit\n"


def test_events_are_listed_from_either_end(house: tuple[Installed, dict[str, str]]) -> None:
    sluis, _ = house
    sluis.run("brake", "pull", "--reason", "smoke")
    sluis.run("phase", "set", "open", "--reason", "spring")
    listed = ("audit", "list", "--kind", "brake", "--kind", "phase-asked", *WHY)
    assert [row["kind"] for row in sluis.json(*listed)] == ["brake", "phase-asked"]
    assert [row["kind"] for row in sluis.json(*listed, "--newest")] == ["phase-asked", "brake"]
    assert [row["kind"] for row in sluis.json(*listed, "--limit", "1", "--newest")] == ["phase-asked"]


def test_every_command_speaks_json(house: tuple[Installed, dict[str, str]]) -> None:
    sluis, ids = house
    assert {row["id"] for row in sluis.json("quarantine", "list")} == {ids["quarantined"], ids["malware"]}
    assert [row["queue"] is None for row in sluis.json("queue", "list")] == [True, False]
    assert sluis.json("message", "show", ids["held"], *WHY)["message"]["id"] == ids["held"]
    assert sluis.json("queue", "show", ids["held"], *WHY)["deliveries"][1]["next_us"] > 0
    assert sluis.json("quarantine", "show", ids["malware"], *WHY)["review"][0]["second_person"] is True
    assert sluis.json("phase", "show")["phase"] == "closed"
    asked = sluis.json("phase", "set", "open", *WHY)
    assert asked["request_state"] == "open"
    assert sluis.json("request", "refuse", asked["request"], *WHY)["request_state"] == "refused"
    assert [row["state"] for row in sluis.json("request", "list", "--all")] == ["refused"]
    assert sluis.json("brake", "pull", *WHY) == {"brake": True, "changed": True}
    assert sluis.json("brake", "release", *WHY)["request_state"] == "open"
    assert sluis.json("queue", "hold", f"{ids['held']}/1", *WHY)["changed"][0]["to_state"] == "held"
    assert sluis.json("audit", "check")["broken"] == []
    assert {row["kind"] for row in sluis.json("audit", "list", "--kind", "phase-asked", "--kind", "brake", *WHY)} == {
        "phase-asked",
        "brake",
    }
    assert len(sluis.json("keys", "spool", "list")) == 1
    assert sluis.json("keys", "spool", "rotate", *WHY)["failed"] == 0


def test_a_change_says_what_was_done_what_was_not_and_what_waits(house: tuple[Installed, dict[str, str]]) -> None:
    sluis, ids = house
    said = sluis.run("quarantine", "release", ids["quarantined"], ids["malware"], ids["held"], *WHY)
    assert said.exit_code == 1, "one of them could not be"
    assert f"{ids['quarantined']}/0 clerk0@court.example: released\n" in said.stdout
    waits = f"{ids['malware']}/0 clerk0@court.example: not yet released; a second person must approve: sluis request approve "
    assert waits in said.stdout
    assert said.stderr == f"{ids['held']}: not released: it is not quarantined\n"
    mine = sluis.run("request", "approve", said.stdout.partition("request approve ")[2].split()[0], *WHY)
    assert (mine.exit_code, mine.stderr) == (1, "Error: a second person must approve: you asked for it yourself\n")
    again = sluis.run("quarantine", "release", ids["malware"], *WHY)
    assert "has asked for it already" in again.stderr
    dry = sluis.run("queue", "delete", "--sender", "@example.nl", "--dry-run", *WHY)
    assert dry.exit_code == 0
    assert dry.stdout.count("would be deleted") == 3, "what was released is queued now"
    nobody = sluis.run("queue", "delete", *WHY)
    assert (nobody.exit_code, nobody.stderr) == (1, "Error: name messages, give a filter, or say --all\n")


def test_a_journey_tells_what_came_what_was_found_and_what_became_of_it(house: tuple[Installed, dict[str, str]]) -> None:
    sluis, ids = house
    said = sluis.run("quarantine", "show", ids["malware"], *WHY).stdout
    assert "\\u" not in said, "an ordinary message needs no escapes"
    for part in (
        f"message       {ids['malware']}",
        "subject       Invoice",
        "finding: malware Eicar-Test-Signature by clamd in part 1.2\n",
        "\nto clerk0@court.example (0): quarantined, quarantine: a test",
        "  rule malware: quarantine (final): because of malware",
        "to release for clerk0@court.example: two people",
    ):
        assert part in said


def test_in_single_admin_mode_a_release_takes_one_person_and_show_says_why(house: tuple[Installed, dict[str, str]]) -> None:
    sluis, ids = house
    settings = sluis.config.read_text()
    sluis.config.write_text(settings.replace('socket = "control.sock"', 'socket = "control.sock", two_people = false'))
    for name, people in (("malware", "one person (single-admin mode)"), ("quarantined", "one person")):
        said = sluis.run("quarantine", "show", ids[name], *WHY).stdout
        assert f"to release for clerk0@court.example: {people}\n" in said
    entry = sluis.json("quarantine", "show", ids["malware"], *WHY)["review"][0]
    assert (entry["second_person"], entry["single_admin"]) == (False, True)
    assert f"{ids['malware']}/0 clerk0@court.example: released\n" in sluis.run("quarantine", "release", ids["malware"], *WHY).stdout


def test_phase_and_brake_are_told(house: tuple[Installed, dict[str, str]]) -> None:
    sluis, _ = house
    assert sluis.run("brake", "pull", "--reason", "smoke").stdout == "the brake is on\n"
    assert sluis.run("brake", "pull", "--reason", "fire").stdout == "the brake was on already\n"
    shown = sluis.run("phase", "show").stdout.splitlines()
    assert shown[:2] == ["phase   closed (of closed, open)", "brake   on: smoke"]
    assert sluis.run("brake", "release", "--reason", "x").stdout.startswith("asked; a second person must approve: sluis request approve ")
    listed = sluis.run("request", "list").stdout
    assert " brake " in listed
    assert "let go" in listed
    wrong = sluis.run("phase", "set", "ajar", *WHY)
    assert (wrong.exit_code, wrong.stderr) == (1, "Error: no phase is named 'ajar'; there are closed, open\n")


def test_filters_take_times_as_people_write_them(house: tuple[Installed, dict[str, str]]) -> None:
    sluis, _ = house
    now = datetime.now(UTC)
    tomorrow, hour_ago = now + timedelta(days=1), now - timedelta(hours=1)
    for words, count in (
        (["--since", "30m"], 2),
        (["--since", "1w", "--until", "1h"], 0),
        (["--since", f"{hour_ago:%Y-%m-%dT%H:%M}"], 2),
        (["--since", f"{hour_ago:%Y-%m-%dT%H:%M:%S}+00:00", "--until", f"{tomorrow:%Y-%m-%d}"], 2),
        (["--since", f"{tomorrow:%Y-%m-%d}"], 0),
        (["--until", "1969-07-20"], 0),
        (["--since", "0001-01-01", "--until", "9999-12-31"], 2),
    ):
        assert len(sluis.json("queue", "list", *words)) == count, words
        assert len(sluis.json("message", "find", "--state", "held", "--state", "ready", *words, *WHY)) == count, words


def test_control_characters_of_a_message_never_reach_the_terminal(tmp_path: Path, sqlite_template: Path) -> None:
    def hostile(at: Desk) -> str:
        message = at.put(State.QUARANTINED, State.HELD, rules=[MACROS], subject=HOSTILE.encode("utf-16", "surrogatepass").decode("utf-16"))
        return str(message.hex)

    sluis, message = installed(tmp_path, sqlite_copy(sqlite_template, tmp_path), hostile)
    for words in (
        ["quarantine", "list"],
        ["quarantine", "show", message, *WHY],
        ["queue", "list"],
        ["message", "find", *WHY],
        ["message", "show", message, *WHY],
        ["queue", "delete", "--dry-run", "--all", *WHY],
    ):
        for option in ([], ["--json"]):
            said = sluis.run(*words, *option)
            wrong = {char for char in said.stdout + said.stderr if not char.isprintable() and char != "\n"}
            assert wrong == set(), (words, option)
    assert "subject" not in sluis.json("queue", "list")[0], "a work list tells no subjects"
    subject: Any = sluis.json("message", "find", "--state", "held", *WHY)[0]["subject"]
    assert subject.startswith("\x1b]0;owned"), "JSON gives a program what it was"
    assert "😀" in json.dumps(subject, ensure_ascii=False)


def test_a_wrong_id_is_told_without_raw_characters(house: tuple[Installed, dict[str, str]]) -> None:
    sluis, _ = house
    for words in (
        ["message", "show", "\x1b[2J"],
        ["queue", "retry", "\x1b[2J"],
        ["request", "approve", "\x1b[2J"],
        ["phase", "set", "\x1b[2J"],
    ):
        said = sluis.run(*words, *WHY)
        assert said.exit_code == 1
        assert "\x1b" not in said.stderr + said.stdout
    unknown = uuid.uuid4().hex
    assert sluis.run("message", "show", unknown, *WHY).stderr == f"Error: no message {unknown}\n"
    assert sluis.run("queue", "retry", unknown, *WHY).stderr == "Error: none of these is ready or undecided or undeliverable\n"


@pytest.mark.parametrize("reason", ["", "   ", "two\nlines", "x" * 1001])
def test_a_reason_must_say_something(house: tuple[Installed, dict[str, str]], reason: str) -> None:
    sluis, ids = house
    said = sluis.run("queue", "hold", ids["held"], "--reason", reason)
    assert said.exit_code == 1
    assert "reason" in said.stderr
