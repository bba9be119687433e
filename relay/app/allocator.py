"""What the C library does with memory that was freed (mallopt(3)). Python's own pools for small objects are above it."""

import ctypes

KEPT_OCTETS = 4 * 1024 * 1024
"""Freed at the end of a heap and kept for the next message. By itself glibc gives back 128 KB and takes them again, page after page: 400 to
3,700 page faults for a message of 5 MB, and up to 10 ms."""
MAPPED_OCTETS = 1024 * 1024
"""From which size on a piece of memory is mapped by itself, and gone when it is freed: none on the way of a message is as large. If it is
not set, glibc raises it to the largest piece that was ever freed, up to 32 MB, and keeps twice as much."""
HEAPS = 2
"""Threads share so many: each keeps KEPT_OCTETS, and only one runs Python at a time."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # malloc.h


def keep_some_freed_memory() -> None:
    """Before the first thread is started. Nothing where the C library is another."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in ((_TRIM_THRESHOLD, KEPT_OCTETS), (_MMAP_THRESHOLD, MAPPED_OCTETS), (_ARENA_MAX, HEAPS)):
            mallopt(option, value)
