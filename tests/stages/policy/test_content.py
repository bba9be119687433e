"""What is sent of a policy folder comes back as it was, and nothing else does."""

import base64
import json
import zlib
from pathlib import Path

import pytest

from relay.model.errors import ConfigurationError
from relay.policy import content
from relay.policy.content import MAX_UNPACKED, Content, pack, read_content, unpack, write_content

SHIPPED = Path(__file__).parents[3] / "policies"
SMALL = Content({"rules/a.yaml": "rules: []\n"}, {"tests/a.eml": b"\xff\x00\r\n", "tests/deep/b.txt": b"x"})


def packed(value: object) -> str:
    return base64.b64encode(zlib.compress(json.dumps(value).encode())).decode()


def test_the_folder_that_ships_comes_back_octet_for_octet(tmp_path: Path) -> None:
    found = read_content(SHIPPED)
    assert found.tests
    assert unpack(pack(found)) == found
    write_content(found, tmp_path / "out")
    assert read_content(tmp_path / "out") == found


def test_tests_may_hold_any_octets_and_are_no_part_of_the_digest() -> None:
    assert unpack(pack(SMALL)) == SMALL
    assert SMALL.digest == Content(SMALL.files).digest


@pytest.mark.parametrize(
    "name",
    [
        "../rules/a.yaml",
        "/etc/a.yaml",
        "rules/../../a.yaml",
        "rules//a.yaml",
        "./rules/a.yaml",
        "rules\\a.yaml",
        "rules/a\n.yaml",
        "notes.md",
        ".a.yaml",
    ],
)
def test_a_name_that_no_policy_folder_has_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="a name in it"):
        unpack(packed({"files": {name: ""}, "tests": {}}))


@pytest.mark.parametrize("name", ["../tests/a.yaml", "tests/../a", "/tests/a", "rules/a.yaml"])
def test_a_test_that_would_lie_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="a name in it"):
        unpack(packed({"files": {}, "tests": {name: ""}}))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "é",
        "AAAA",
        packed([]),
        packed({"files": {}}),
        packed({"files": [], "tests": {}}),
        packed({"files": {}, "tests": {"tests/a": 5}}),
        packed({"files": {"lists/a.txt": 5}, "tests": {}}),
        packed({"files": {"lists/a.txt": "\ud800"}, "tests": {}}),
    ],
)
def test_what_is_no_content_is_one_of_our_errors(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"not the content|larger"):
        unpack(text)


def test_what_unpacks_to_more_than_there_may_be_is_refused_before_it_is_read() -> None:
    bomb = base64.b64encode(zlib.compress(b" " * (MAX_UNPACKED + 1), 9)).decode()
    assert len(bomb) < 100_000
    with pytest.raises(ConfigurationError, match="larger than"):
        unpack(bomb)


def test_a_test_that_is_a_link_to_elsewhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "secret.eml").symlink_to("/etc/passwd")
    with pytest.raises(ConfigurationError, match=r"secret\.eml: not a file inside"):
        read_content(tmp_path)


def test_a_folder_without_tests_has_none(tmp_path: Path) -> None:
    (tmp_path / "organisation.yaml").write_text("name: x\n")
    assert read_content(tmp_path) == Content({"organisation.yaml": "name: x\n"})
    assert content.is_inside("tests/a.yaml")
