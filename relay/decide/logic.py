"""Three values: what a condition is when something in it is not known yet (Kleene's strong logic)."""

from collections.abc import Iterable
from enum import Enum


class Truth(Enum):
    """UNKNOWN is no third answer but the lack of one: it stays until the answer would not depend on it."""

    NO = 0
    UNKNOWN = 1
    YES = 2


def truth(value: bool | None) -> Truth:
    """None is unknown."""
    return Truth.UNKNOWN if value is None else Truth.YES if value else Truth.NO


def every(values: Iterable[Truth]) -> Truth:
    """And. Nothing at all is YES."""
    return min(values, key=lambda item: item.value, default=Truth.YES)


def some(values: Iterable[Truth]) -> Truth:
    """Or. Nothing at all is NO."""
    return max(values, key=lambda item: item.value, default=Truth.NO)


def opposite(value: Truth) -> Truth:
    """Not."""
    return Truth(2 - value.value)
