"""Memory that was freed is there for the next message, and what is large goes back."""

import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
from relay.app.allocator import keep_some_freed_memory
if sys.argv[1] == "kept":
    keep_some_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def message():
    pieces = [b"x" * 700_000 for _ in range(4)]
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
message()
before = faults()
for _ in range(20):
    message()
taken = faults() - before
before = resident()
large = [b"x" * 2_000_000 for _ in range(20)]
del large
print(taken, resident() - before)
"""


def run(how: str) -> tuple[int, int]:
    """Page faults of twenty messages, and octets that are left of 40 MB that were freed."""
    done = subprocess.run([sys.executable, "-c", SCRIPT, how], capture_output=True, text=True, check=True)
    taken, left = done.stdout.split()
    return int(taken), int(left)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mallopt is of glibc")
def test_a_message_after_another_takes_no_new_pages_and_large_pieces_are_given_back() -> None:
    assert run("as it comes")[0] > 1000
    taken, left = run("kept")
    assert taken < 100
    assert left < 4_000_000
