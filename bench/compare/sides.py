"""What is compared: how each side is started and stopped, on which port it listens, and in which groups its own processes are."""

import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from bench.compare.groups import Group
from bench.sluis.set_up import set_up

SINK_PORT = 2600
START_SECONDS = 60.0
REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Side:
    """`folder` is that of its scripts in bench/peers, empty for Sluis; `environment` is what they are told."""

    name: str
    title: str
    port: int
    folder: str = ""
    groups: tuple[str, ...] = ("gw",)
    environment: dict[str, str] = field(default_factory=dict)


SIDES = (
    Side("sluis", "Sluis", 2507),
    Side("rspamd-text", "Postfix + rspamd, text scanned", 2504, "d", ("gw", "redis"), {"AVEXTRA": "scan_text_mime = true;"}),
    Side("rspamd", "Postfix + rspamd, as it comes", 2504, "d", ("gw", "redis")),
    Side("milters", "Postfix + OpenDKIM + clamav-milter", 2502, "b"),
    Side("naive", "naive aiosmtpd script", 2506, "f"),
)


class Stage:
    """The scratch folder, with clamd and the sink that all sides share."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.groups = {name: Group(name) for name in ("gw", "redis", "clamd", "sink")}
        self.environment = {**os.environ, "BENCH_HOME": str(home), "PYTHON": sys.executable}

    def set_up(self) -> None:
        """Tools, keys, messages; installs from Debian what is missing."""
        self.home.mkdir(parents=True, exist_ok=True)
        self._script("setup.sh", folder=REPOSITORY / "bench" / "peers")
        self._script("clamav/start.sh")
        wait_for(3310)
        self._script("sink.sh", "start")
        wait_for(SINK_PORT)

    def start(self, side: Side) -> None:
        """Returns when it takes mail."""
        if side.folder:
            self._script(f"{side.folder}/start.sh", environment=side.environment)
        else:
            config = set_up(self.home / "sluis", side.port, SINK_PORT, self.home / "clamav" / "clamd.sock", self.home / "keys" / "dkim.pem")
            log = self.home / "sluis" / "log"
            self.groups["gw"].start(sys.executable, "-m", "relay", "serve", "--config", str(config), log=log, folder=REPOSITORY)
        wait_for(side.port)

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
