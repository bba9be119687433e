"""A real clamd (Debian: clamav-daemon) on a unix socket, with a small database that is written here: EICAR and a signature of our own.

The database is an unsigned container of ClamAV (`daily.cud`), because a version number that clamd shows stands in a container only: so a
test can load a new database and see its generation change.
"""

import hashlib
import io
import os
import signal
import socket
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

PROGRAM = "/usr/sbin/clamd"
START_SECONDS = 60.0
STEP_SECONDS = 0.02
# The EICAR test file, in two pieces so that no copy of it lies in the code.
EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
TEST_SIGNATURE = b"SLUIS-TEST-SIGNATURE"
"""What only clamd's database knows; the embedded yara-x rule wants more behind it."""
SIGNATURES = {"Sluis.Eicar": EICAR, "Sluis.Test": TEST_SIGNATURE}
"""Name to the bytes that are found anywhere in a file. clamd appends `.UNOFFICIAL` to the names."""
SUFFIX = ".UNOFFICIAL"


class Clamd:
    """One clamd. `socket` is its path, also while it is down; `settings` are lines of clamd.conf over the default ones here.
    All calls are synchronous, and return when what they promise is so."""

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        self.socket = folder / "clamd.sock"
        self._folder = folder
        self._settings = {
            "LocalSocket": str(self.socket),
            "DatabaseDirectory": str(folder / "db"),
            "TemporaryDirectory": str(folder),
            "LogFile": str(folder / "clamd.log"),
            "Foreground": "yes",
            "AlertExceedsMax": "yes",
            "SelfCheck": "0",
            **settings,
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._generation = 0
        (folder / "db").mkdir()
        self.write_database(SIGNATURES)

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self._process is not None, "clamd is down"
        return self._process.pid

    def start(self) -> None:
        """Starts it, and waits until it answers PING."""
        assert self._process is None, "clamd is running"
        configuration = self._folder / "clamd.conf"
        configuration.write_text("".join(f"{name} {value}\n" for name, value in self._settings.items()), encoding="ascii")
        with (self._folder / "output").open("wb") as output:
            self._process = subprocess.Popen([PROGRAM, "-c", str(configuration)], stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        self._await(self._answers, "is not ready")

    def stop(self) -> None:
        """Ends it, also when it was suspended or killed before."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        process.send_signal(signal.SIGCONT)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self.socket.unlink(missing_ok=True)

    def kill(self) -> None:
        """SIGKILL: it is gone without a word, and its socket file stays."""
        process, self._process = self._process, None
        assert process is not None, "clamd is down"
        process.kill()
        process.wait()

    def suspend(self) -> None:
        """It hangs: the kernel takes connections, and nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Undoes `suspend`."""
        os.kill(self.pid, signal.SIGCONT)
        self._await(self._answers, "did not come back")

    def reload(self, signatures: Mapping[str, bytes]) -> None:
        """A new database with just these signatures and the next version number; returns when it is in use."""
        self.write_database(signatures)
        assert self.ask(b"RELOAD") == "RELOADING"
        self._await(lambda: f"/{self._generation}/" in self.ask(b"VERSION"), "did not load the new database")

    def write_database(self, signatures: Mapping[str, bytes]) -> None:
        """Writes it, and does not tell clamd."""
        self._generation += 1
        path = self._folder / "db" / "daily.cud"
        fresh = path.with_name("new")
        fresh.write_bytes(_container(self._generation, signatures))
        fresh.rename(path)

    def ask(self, command: bytes) -> str:
        """One command without data, such as `VERSION`, and its answer."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(START_SECONDS)
            connection.connect(str(self.socket))
            connection.sendall(b"z" + command + b"\0")
            answer = b""
            while piece := connection.recv(4096):
                answer += piece
        return answer.rstrip(b"\0").decode("utf-8")

    def _answers(self) -> bool:
        try:
            return self.ask(b"PING") == "PONG"
        except OSError:
            return False

    def _await(self, condition: Callable[[], bool], failure: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not condition():
            ended = self._process is None or self._process.poll() is not None
            if ended or time.monotonic() > deadline:
                raise AssertionError(f"clamd {failure}:\n{self._said()}")
            time.sleep(STEP_SECONDS)

    def _said(self) -> str:
        return "\n".join(
            (self._folder / name).read_text(errors="replace") for name in ("output", "clamd.log") if (self._folder / name).exists()
        )


@contextmanager
def running_clamd(**settings: str) -> Iterator[Clamd]:
    """A clamd with the signatures above, stopped by its id at the end. `settings` are clamd.conf's own names, `StreamMaxLength="1M"`."""
    # Not below pytest's folders: the path of a unix socket ends at 107 octets (unix(7)).
    with tempfile.TemporaryDirectory(prefix="sluis-clamd-") as folder:
        clamd = Clamd(Path(folder), settings)
        try:
            clamd.start()
            yield clamd
        finally:
            clamd.stop()


def _container(version: int, signatures: Mapping[str, bytes]) -> bytes:
    """ClamAV's database container: a header of 512 octets, then a compressed tar with the list of its files first."""
    lines = "".join(f"{name}:0:*:{found.hex()}\n" for name, found in signatures.items()).encode("ascii")
    now = int(time.time())

    def header(digest: str) -> bytes:
        date = time.strftime("%d %b %Y %H-%M +0000", time.gmtime(now))
        # name, date, version, signatures, functionality level, MD5, signature, builder, seconds
        return f"ClamAV-VDB:{date}:{version}:{len(signatures)}:90:{digest}:unsigned:sluis:{now}".encode("ascii")

    listing = header("0" * 32) + f"\ndaily.ndb:{len(lines)}:{hashlib.sha256(lines).hexdigest()}\n".encode("ascii")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in (("daily.info", listing), ("daily.ndb", lines)):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    digest = hashlib.md5(packed.getvalue(), usedforsecurity=False).hexdigest()
    return header(digest).ljust(512) + packed.getvalue()
