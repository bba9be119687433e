"""A bar on the terminal for what takes long; nothing where standard error is none."""

import shutil
import sys
import time

SECONDS = 0.1
WIDTH = 30


class Bar:
    """Hears what is done, how much of it, and of how much."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()
        self._last = 0.0
        self._what = ""

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if not self._shown or (what == self._what and done < total and now - self._last < SECONDS):
            return
        self._last, self._what = now, what
        filled = WIDTH * done // total if total else WIDTH
        line = f"{what.ljust(16)} [{'#' * filled}{'.' * (WIDTH - filled)}] {done} of {total}"
        sys.stderr.write("\r" + line[: shutil.get_terminal_size().columns - 1] + "\x1b[K")
        sys.stderr.flush()

    def close(self) -> None:
        """Takes the bar away."""
        if self._shown and self._what:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
