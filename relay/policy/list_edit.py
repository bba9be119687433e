"""One entry more or less in the text of a list, with the day and the reason beside it."""

from datetime import date

from relay.model.address import address_key
from relay.policy.lists import MARK, entries, problems


class NoEdit(ValueError):
    """What was asked can't be done to this list; the text says why."""


def canonical(entry: str) -> str:
    """One way to write it, by which two entries are the same."""
    text = entry.strip()
    if text.startswith(MARK):
        return f"{MARK} {text.removeprefix(MARK).strip().casefold()}"
    return address_key(text) if "@" in text else text.lower()


def added(text: str, entry: str, reason: str, today: date) -> str:
    """Raises NoEdit: it is there already, or is no entry."""
    written = canonical(entry) if not entry.strip().startswith(MARK) else f"{MARK} {entry.strip().removeprefix(MARK).strip()}"
    if not written or "#" in written or "\n" in written:
        raise NoEdit("an entry is an address, a domain or a SHA-256 on one line, without '#'")
    if wrong := problems(written, "entry"):
        raise NoEdit(wrong[0].partition(": ")[2])
    if any(canonical(known) == canonical(entry) for _, known in entries(text)):
        raise NoEdit(f"'{written}' stands there already")
    start = text if not text or text.endswith("\n") else f"{text}\n"
    return f"{start}{written}  # {today}: {reason}\n"


def removed(text: str, entry: str, reason: str, today: date) -> str:
    """What remains is a comment. Raises NoEdit: it is not there."""
    lines = text.split("\n")
    found = [(number, known) for number, known in entries(text) if canonical(known) == canonical(entry)]
    if not found:
        raise NoEdit(f"'{entry.strip()}' does not stand there")
    for number, known in found:
        lines[number - 1] = f"# {today}, without {known}: {reason}"
    return "\n".join(lines)
