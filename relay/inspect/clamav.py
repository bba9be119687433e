"""clamd's verdicts, and which of them are remembered.

Only a literal OK is clean. clamd's size limits answer OK unless `AlertExceedsMax yes` is set (deploy/clamav), and then
`Heuristics.Limits.Exceeded`.
"""

import re
import time
from collections import OrderedDict
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from relay.inspect.clamd_session import ClamdSocket, Connect
from relay.inspect.connect import connect
from relay.inspect.item import Item, Unavailable
from relay.model.finding import Finding, Kind
from relay.model.text import printable

# The EICAR test file, put together here so that no copy of it lies in the code.
EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
_FOUND = re.compile(r"stream: (\S.*) FOUND")


class ClamdInspector:
    """Verdicts of literal OK are kept for a while, by digest, engine version and database generation; one cache for each worker.

    `reach` is the path of clamd's socket, or what connects to it where the process may open none. `deadline` (seconds) is for all items
    of a message together: a scanner that is slow with each of many is as unavailable as one that hangs. `hits` counts answers from the
    cache.
    """

    name = "clamd"

    def __init__(
        self,
        reach: Path | Connect,
        connect_timeout: float,
        deadline: float,
        cache_entries: int,
        cache_seconds: float,
    ) -> None:
        self._socket = ClamdSocket(partial(connect, reach) if isinstance(reach, Path) else reach, connect_timeout)
        self._seconds = deadline
        self._cache_entries = cache_entries
        self._cache_seconds = cache_seconds
        self._clean: OrderedDict[tuple[str, bytes], float] = OrderedDict()
        self._version = ""
        self._tested = ""
        self.hits = 0
        self.begin()

    def begin(self) -> None:
        """A new message: its deadline runs from now, and the version is asked for again, so that a database that was loaded before the
        message came is the one that judges it."""
        self._socket.deadline = time.monotonic() + self._seconds
        self._version = ""

    def expect(self) -> None:
        """A new message came and is being read: clamd tells its version meanwhile, and nobody waits for it."""
        self._socket.deadline = time.monotonic() + self._seconds
        self._socket.ask(b"VERSION")

    def version(self) -> str:
        """Engine, database version and its date, as clamd says it; the version is that of the loaded database, not of the files."""
        if not self._version:
            text = self._socket.exchange(b"VERSION")
            if not re.fullmatch(r"ClamAV [ -~]{1,200}", text):
                raise Unavailable(f"clamd: {printable(text, 100)!r} is no version")
            self._version = text
        return self._version

    def self_test(self) -> str:
        """A scanner that does not find EICAR finds nothing; asked once for each version, which is given. Raises Unavailable."""
        version = self.version()
        if self._tested != version:
            if not _FOUND.fullmatch(self._socket.exchange(b"INSTREAM", EICAR)):
                raise Unavailable("clamd: it does not find the EICAR test file")
            self._tested = version
        return version

    def inspect(self, item: Item) -> Iterable[Finding]:
        """Raises Unavailable for all that is neither a verdict nor a limit; the self-test is then due again."""
        try:
            return self._inspect(item)
        except Unavailable:
            self._tested = ""
            self._version = ""
            raise

    def _inspect(self, item: Item) -> list[Finding]:
        version = self.self_test()
        key = (version, item.sha256)
        now = time.monotonic()
        if self._clean.get(key, 0.0) > now:
            self.hits += 1
            return []
        finding = self._verdict(self._socket.exchange(b"INSTREAM", item.data), item)
        if finding is None and self._cache_entries:
            self._clean[key] = now + self._cache_seconds
            if len(self._clean) > self._cache_entries:
                self._clean.popitem(last=False)
        return [finding] if finding else []

    def _verdict(self, answer: str, item: Item) -> Finding | None:
        if answer == "stream: OK":
            return None
        found = _FOUND.fullmatch(answer)
        if found:
            name = printable(found[1], 200)
            if name.startswith("Heuristics.Limits.Exceeded"):
                return Finding(Kind.LIMIT, self.name, "limits-exceeded", item.path, name)
            if name.startswith("Heuristics.Encrypted"):
                return Finding(Kind.ENCRYPTED, self.name, "encrypted", item.path, name)
            return Finding(Kind.MALWARE, self.name, name, item.path)
        if "size limit exceeded" in answer:  # StreamMaxLength
            return Finding(Kind.LIMIT, self.name, "limits-exceeded", item.path, "stream size")
        raise Unavailable(f"clamd: {printable(answer, 200)}")
