"""The page on inspection names what the code names."""

import re
from pathlib import Path

from relay.inspect.yara import SHIPPED
from relay.model.finding import UNDECIDABLE, Kind
from relay.read.ambiguity import AMBIGUITIES
from relay.settings.models import Inspection

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "inspection.md").read_text(encoding="utf-8")
NAMED = frozenset(re.findall(r"`([^`]+)`", PAGE))


def test_every_ambiguity_stands_in_the_table_with_its_meaning() -> None:
    table = PAGE.partition("| finding `ambiguous` of `reader`")[2].partition("\n\n")[0]
    assert dict(re.findall(r"^\| `([^`]+)` \| (.+) \|$", table, re.MULTILINE)) == AMBIGUITIES


def test_every_ambiguity_is_raised_somewhere() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "relay" / "read").glob("*.py") if path.name != "ambiguity.py")
    assert [name for name in AMBIGUITIES if f'"{name}"' not in code] == []


def test_every_kind_and_every_embedded_rule_is_named() -> None:
    rules = re.findall(r"^rule (\w+)", "".join(path.read_text(encoding="utf-8") for path in SHIPPED.glob("*.yar")), re.MULTILINE)
    assert {rule.replace("_", "-") for rule in rules} <= NAMED
    assert {kind.value for kind in (*UNDECIDABLE, Kind.MALWARE, Kind.RULE, Kind.TYPE)} <= NAMED


def test_every_name_that_an_inspector_gives_is_named() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "relay" / "inspect").glob("*.py"))
    given = set(re.findall(r'"((?:archive|encrypted)-[a-z0-9-]+)"', code)) | set(
        re.findall(r'Kind\.\w+, (?:self\.name|"type"), "([a-z-]+)"', code)
    )
    assert given
    assert given <= NAMED


def test_every_limit_is_named() -> None:
    assert set(Inspection.model_fields) - {"workers", "queue", "rules", "patience", "bytes_in_flight"} <= NAMED
