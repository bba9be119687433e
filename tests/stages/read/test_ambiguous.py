"""Messages that readers read in different ways: each is refused by the strict reader with the name it should have, the lenient readers
really differ, and the payload that the difference hides is found all the same.
"""

import tomllib
from pathlib import Path

import pytest

from relay.inspect.archive import ArchiveLimits
from relay.inspect.engine import Engine
from relay.inspect.item import Item
from relay.inspect.yara import YaraInspector
from relay.model.finding import Finding, Kind
from relay.read import read
from relay.read.ambiguity import AMBIGUITIES, Ambiguous
from relay.read.lenient import Unreadable, differ, with_fast_parser, with_stdlib
from relay.read.limits import ReadLimits
from relay.read.strict import read_strictly

FOLDER = Path(__file__).parent / "ambiguous"
EXPECTED: dict[str, dict[str, str]] = tomllib.loads((FOLDER / "expected.toml").read_text(encoding="utf-8"))
LIMITS = ReadLimits()
HIDDEN = b"SLUIS-TEST-SIGNATURE-0123456789abcdef-MALWARE"
"""What the embedded yara-x rule `sluis-test` finds."""
every_message = pytest.mark.parametrize("name", sorted(EXPECTED))


def message(name: str) -> bytes:
    return (FOLDER / f"{name}.eml").read_bytes()


def how_the_lenient_readers_end(data: bytes) -> str:
    try:
        readings = with_stdlib(data, LIMITS), with_fast_parser(data, LIMITS)
    except Unreadable:
        return "fails"
    return "differ" if differ(*readings) else "agree"


def test_every_message_has_its_expectation_and_every_expectation_its_message() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.eml")) == sorted(EXPECTED)


def test_there_are_at_least_thirty_on_which_the_two_lenient_readers_really_differ() -> None:
    assert sum(how_the_lenient_readers_end(message(name)) != "agree" for name in EXPECTED) >= 30


@every_message
def test_the_strict_reader_refuses_it_and_says_why(name: str) -> None:
    with pytest.raises(Ambiguous) as refusal:
        read_strictly(message(name), LIMITS)
    assert (refusal.value.name, refusal.value.part) == (EXPECTED[name]["finding"], EXPECTED[name].get("part", ""))
    assert refusal.value.name in AMBIGUITIES


@every_message
def test_the_lenient_readers_end_as_the_page_says(name: str) -> None:
    assert how_the_lenient_readers_end(message(name)) == EXPECTED[name]["readers"]


@every_message
def test_the_ambiguity_is_a_finding_and_so_is_the_difference(name: str) -> None:
    result = read(message(name), LIMITS, "relay.example.nl")
    assert result.raw
    assert result.findings[0] == Finding(Kind.AMBIGUOUS, "reader", EXPECTED[name]["finding"], EXPECTED[name].get("part", ""))
    beside = {"differ": ["readers-differ"], "fails": ["reader-failed"], "agree": []}[EXPECTED[name]["readers"]]
    assert [finding.name for finding in result.findings[1:]] == beside


@every_message
def test_the_hidden_payload_is_in_what_is_inspected(name: str) -> None:
    result = read(message(name), LIMITS, "relay.example.nl")
    assert any(HIDDEN in leaf.data for leaf in result.leaves)


def test_the_inspectors_find_the_hidden_payload_in_every_one_of_them() -> None:
    engine = Engine([YaraInspector()], ArchiveLimits())
    for name in EXPECTED:
        leaves = read(message(name), LIMITS, "relay.example.nl").leaves
        found = engine.inspect(Item(leaf.path, leaf.name, leaf.media_type, leaf.inline, leaf.data) for leaf in leaves).findings
        assert any((finding.kind, finding.name) == (Kind.MALWARE, "sluis-test") for finding in found), name
