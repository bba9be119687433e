"""Which tests of a policy another set of them lacks: a test was there to stop something, and to take it away opens the way for that."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

from relay.model.decision import Disposition
from relay.model.errors import ConfigurationError
from relay.policy.content import TESTS, write_content_of
from relay.rehearsal.cases import Expected, PolicyTest, read_tests

_ROWS = {str(disposition): int(disposition) for disposition in Disposition} | {"refuse": int(Disposition.REJECT) + 1}
"""How strict a word is. `defer` is none of them: what is put off may be delivered later, or not."""
MAX_TOLD = 50


def why_two_for_tests(before: Mapping[str, bytes], now: Mapping[str, bytes]) -> str:
    """Empty where no test is lost; else why it takes two people."""
    lost = lost_tests(before, now)
    more = f" and {len(lost) - MAX_TOLD} more" if len(lost) > MAX_TOLD else ""
    return f"tests that were there changed or are gone: {', '.join(lost[:MAX_TOLD])}{more}" if lost else ""


def lost_tests(before: Mapping[str, bytes], now: Mapping[str, bytes]) -> list[str]:
    """What of `before` (path from the policy folder, `tests/…`, to octets) is changed or gone in `now`: a test by its name, and a file that
    is no test by its path. A test that only expects something stricter than it did is not lost: a rule that closes changes what comes
    out, and one person is enough for it. Sorted; empty where all is there."""
    changed = sorted(name for name, octets in before.items() if now.get(name) != octets)
    others = [name for name in changed if not name.endswith(".yaml")]
    if len(others) == len(changed):
        return others
    try:
        was, present = _tests(before), _tests(now)
    except (ConfigurationError, OSError):
        return changed  # what can't be read can't be compared
    gone = [name for name, test in was.items() if name not in present or not _as_strict(test, present[name])]
    return sorted((*others, *(f"'{name}'" for name in gone)))


def _tests(files: Mapping[str, bytes]) -> dict[str, PolicyTest]:
    with tempfile.TemporaryDirectory(prefix="sluis-policy-") as name:
        folder = Path(name)
        (folder / TESTS).mkdir()
        write_content_of(files, folder)
        return {located.test.name: located.test for located in read_tests(folder)}


def _as_strict(old: PolicyTest, new: PolicyTest) -> bool:
    """The same message in the same case, and of each recipient the same is expected or something stricter."""
    if old.model_copy(update={"expect": new.expect}) != new:
        return False
    if len(old.expect) != len(new.expect):
        return False
    return all(_stricter(was, now) for was, now in zip(old.expect, new.expect, strict=True))


def _stricter(was: Expected, now: Expected) -> bool:
    """Of a stricter one the other keys may be others: another rule carries it, and it takes no route. Evidence stays evidence."""
    if was == now:
        return True
    rows = [_ROWS.get(one.disposition) for one in (was, now)]
    if was.recipient != now.recipient or rows[0] is None or rows[1] is None:
        return False
    return rows[0] < rows[1] and (not was.keep or now.keep is True)
