"""Waivers past their end. They take nothing away and are no error: a policy must not stop loading because a day has come."""

from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path

from relay.policy.load import FOLDERS, parse_as


def expired(files: Mapping[str, str], today: date, folder: Path = Path()) -> Iterator[str]:
    """Each as `file:line: what`. Of files that load."""
    model, target = FOLDERS["waivers/"]
    for name in sorted(files):
        if not name.startswith("waivers/"):
            continue
        where = str(folder / name)
        parsed, document = parse_as(files[name], model, where, [])
        for index, waiver in enumerate(getattr(parsed, target, ())):
            if waiver.until < today:
                yield f"{where}:{document.line((target, index, 'until'))}: the waiver '{waiver.name}' ended on {waiver.until}"
