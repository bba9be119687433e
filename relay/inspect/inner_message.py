"""Messages inside parts and archives: their parts are inspected like members. How a message is read is not known here."""

from collections.abc import Callable
from dataclasses import dataclass

from relay.inspect.item import Item
from relay.inspect.opening import Budget, LimitMet, Opened
from relay.model.finding import Finding, Kind


@dataclass(frozen=True, slots=True)
class InnerMessage:
    """`parts` with paths inside the message, and what its reader found."""

    parts: tuple[Item, ...]
    findings: tuple[Finding, ...]


Reader = Callable[[Item], InnerMessage | None]
"""Gives None for what is no message. Never raises on what one holds."""


def open_message(opened: Opened, read: Reader, budget: Budget, depth: int) -> None:
    """Adds the parts to `opened`."""
    found = read(opened.item)
    if found is None:
        return
    opened.findings += found.findings
    try:
        budget.nested(depth)
        for part in found.parts:
            budget.member()
            budget.take(len(part.data))
            if part.name:
                opened.name(part.name)
            path = f"{opened.item.path}/{part.path}"
            opened.items.append(Item(path, part.name, part.declared, part.inline, part.data))
    except LimitMet as met:
        opened.find(Kind.LIMIT, str(met.args[0]))
