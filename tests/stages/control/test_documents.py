"""docs/control.md lists the operations as they are."""

import re
from pathlib import Path

from relay.cli.operations import OPERATIONS

DOCUMENT = Path(__file__).parents[3] / "docs" / "control.md"
ROW = re.compile(r"^\| `([a-z]+\.[a-z]+)` \| (\w+) \| (yes|no) \| `sluis ", re.MULTILINE)


def test_the_documentation_lists_every_operation_with_its_role_and_whether_it_needs_a_reason() -> None:
    told = {found[1]: (found[2], found[3]) for found in ROW.finditer(DOCUMENT.read_text())}
    there = {
        name: (operation.role.value if operation.role else "anybody", "yes" if operation.needs_reason else "no")
        for name, operation in OPERATIONS.items()
    }
    assert told == there
