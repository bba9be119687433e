"""A program that says that it is here, and waits for a signal."""

import signal
import sys

if __name__ == "__main__":
    print("here", file=sys.stderr, flush=True)
    signal.pause()
