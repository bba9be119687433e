"""What is compared: how each side is started and stopped, on which port it listens, and in which groups its own processes are."""

import os
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bench.compare.groups import Group, prefix
from bench.compare.interpreter import interpreter
from bench.sluis.set_up import set_up

PORTS = ("side", "http", "sink", "clamd", "redis")
START_SECONDS = 180.0
REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Side:
    """`folder` is that of its scripts in bench/peers, empty for Sluis; `environment` is what they are told."""

    name: str
    title: str
    folder: str = ""
    groups: tuple[str, ...] = ("gw",)
    environment: dict[str, str] = field(default_factory=dict)


SIDES = (
    Side("sluis", "Sluis"),
    Side("rspamd-text", "Postfix + rspamd, text scanned", "d", ("gw", "redis"), {"AVEXTRA": "scan_text_mime = true;"}),
    Side("rspamd", "Postfix + rspamd, as it comes", "d", ("gw", "redis")),
    Side("milters", "Postfix + OpenDKIM + clamav-milter", "b"),
    Side("naive", "naive aiosmtpd script", "f"),
)


class Stage:
    """The scratch folder, with clamd and the sink that all sides share; the side that is started has port `port`."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        begins = prefix()
        self.groups = {name: Group(begins + name) for name in ("gw", "redis", "clamd", "sink")}
        ports = {f"BENCH_{name.upper()}_PORT": str(port) for name, port in self.ports.items()}
        told = {"BENCH_HOME": str(home), "BENCH_GROUPS": begins, "BENCH_PORT": str(self.port), "PYTHON": sys.executable}
        self.environment = {**os.environ, **ports, **told}
        self.python = Path(sys.executable)

    @property
    def port(self) -> int:
        """Where the side that is started takes mail."""
        return self.ports["side"]

    def set_up(self) -> None:
        """Tools, keys, messages; installs from Debian what is missing."""
        self.home.mkdir(parents=True, exist_ok=True)
        self.python = interpreter(self.home)
        self._script("setup.sh", folder=REPOSITORY / "bench" / "peers")
        self._script("clamav/start.sh")
        wait_for(self.ports["clamd"])
        self._script("sink.sh", "start")
        wait_for(self.ports["sink"])

    def start(self, side: Side) -> None:
        """Returns when it takes mail."""
        if side.folder:
            self._script(f"{side.folder}/start.sh", environment=side.environment)
        else:
            clamd, key, log = self.home / "clamav" / "clamd.sock", self.home / "keys" / "dkim.pem", self.home / "sluis.log"
            config = set_up(self.home / "sluis", self.port, self.ports["sink"], clamd, key, http=self.ports["http"])
            self.groups["gw"].start(str(self.python), "-m", "relay", "serve", "--config", str(config), log=log, folder=REPOSITORY)
        wait_for(self.port)

    def stop(self, side: Side) -> None:
        """Ends it, and what it has left."""
        if side.folder:
            self._script(f"{side.folder}/stop.sh")
        for name in side.groups:
            self.groups[name].stop()

    def tear_down(self) -> None:
        """Ends clamd and the sink."""
        for group in self.groups.values():
            group.stop()
            group.remove()

    def _script(self, *words: str, folder: Path | None = None, environment: dict[str, str] | None = None) -> None:
        """Daemons outlive the script, so that their output goes to a file and not to a pipe that would be waited for."""
        log = self.home / "scripts.log"
        with log.open("ab") as output:
            done = subprocess.run(
                ["bash", str((folder or self.home) / words[0]), *words[1:]],
                cwd=self.home,
                env={**self.environment, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                check=False,
            )
        if done.returncode:
            end = log.read_text(errors="replace").splitlines()[-5:]
            raise SystemExit(f"bench: {' '.join(words)} ended with {done.returncode}:\n" + "\n".join(end))


def wait_for(port: int) -> None:
    """Until something listens there."""
    until = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > until:
                raise SystemExit(f"bench: nothing listens on port {port}") from None
            time.sleep(0.05)
        else:
            return


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on now, no two the same."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
