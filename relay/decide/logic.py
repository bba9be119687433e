"""Three values: what a condition is when something in it is not known (Kleene's strong logic)."""

from enum import Enum


class Truth(Enum):
    """UNKNOWN is no third answer but the lack of one: it stays as long as the answer would depend on it."""

    NO = 0
    UNKNOWN = 1
    YES = 2


NO, UNKNOWN, YES = Truth.NO, Truth.UNKNOWN, Truth.YES
_OPPOSITE = {NO: YES, UNKNOWN: UNKNOWN, YES: NO}


def truth(value: bool | None) -> Truth:
    """None is unknown."""
    return UNKNOWN if value is None else YES if value else NO


def opposite(value: Truth) -> Truth:
    """Not."""
    return _OPPOSITE[value]


def both(one: Truth, other: Truth) -> Truth:
    """And."""
    return one if one.value < other.value else other
