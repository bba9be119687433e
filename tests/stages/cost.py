"""What hostile input costs, in CPU time, and beside a quarter of it: what else the machine does counts for neither."""

import time
from collections.abc import Callable

TRIES = 5
NOTHING = 0.05
"""Seconds that are not worth a comparison: a turn of another process on the same core may cost a part of them."""


def in_proportion(work: Callable[[int], object], size: int, at_most: float) -> bool:
    """Whether the work costs less than 8 times as much for all of `size` as for a quarter of it: 4 times where it grows as the input does,
    16 times where everything is compared with everything; and less than `at_most` seconds. The least of some tries counts."""
    quarter = min(cpu_seconds(work, size // 4) for _ in range(3))
    return any(cpu_seconds(work, size) < min(8 * quarter + NOTHING, at_most) for _ in range(TRIES))


def cpu_seconds(work: Callable[[int], object], size: int) -> float:
    """Of this thread."""
    begun = time.thread_time()
    work(size)
    return time.thread_time() - begun
