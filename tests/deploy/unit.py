"""What a unit file says."""

import re
import subprocess
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "deploy" / "systemd"
UNITS = sorted(path.name for path in FOLDER.glob("*.service"))


def lines(unit: str) -> list[tuple[str, str]]:
    """The assignments of a unit in order, as (name, value)."""
    text = (FOLDER / unit).read_text()
    return [(name, value) for name, value in re.findall(r"(?m)^(\w+)=(.*)$", text)]


def value(unit: str, name: str, default: str = "") -> str:
    """The last value of an option that stands once."""
    return dict(lines(unit)).get(name, default)


def system_calls(unit: str) -> frozenset[str]:
    """The names that SystemCallFilter lets through: an allow list first, then what `~` takes away from it (systemd.exec(5))."""
    allowed: frozenset[str] = _expand("@default")
    for name, given in lines(unit):
        if name == "SystemCallFilter":
            names = frozenset(call for word in given.lstrip("~").split() for call in _expand(word))
            allowed = allowed - names if given.startswith("~") else allowed | names
    return allowed


@cache
def _expand(word: str) -> frozenset[str]:
    if not word.startswith("@"):
        return frozenset({word})
    done = subprocess.run(["systemd-analyze", "syscall-filter", "--no-pager", word], capture_output=True, text=True, check=True)
    inner = [line.strip() for line in done.stdout.splitlines()[1:] if line.strip() and not line.strip().startswith("#")]
    return frozenset(call for name in inner for call in _expand(name))
