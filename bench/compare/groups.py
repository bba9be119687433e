"""Processor time and memory of groups of processes, by control group: what a dead child used is counted, too."""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

V1, V2 = Path("/sys/fs/cgroup/cpuacct"), Path("/sys/fs/cgroup")
STOP_SECONDS = 20.0


def prefix() -> str:
    """What the control groups of this run begin with: cgroup v1 `cpuacct`, or v2. No two runs share one."""
    return f"{V1 if V1.is_dir() else V2}/sluis-bench-{os.getpid()}-"


def why_not() -> str | None:
    """What this machine lacks to measure with control groups; None where it lacks nothing."""
    if os.geteuid():
        return "needs root, for control groups and for daemons that change their user"
    probe = Path(prefix() + "probe")
    try:
        probe.mkdir()
    except OSError as error:
        return f"no control group can be made ({probe}: {error.strerror}), and without one nobody knows what dead children used"
    probe.rmdir()
    return None


class Group:
    """One control group. Needs root."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        self._folder.mkdir(exist_ok=True)
        self._v1 = (self._folder / "cpuacct.usage").exists()

    def start(self, *command: str, log: Path, environment: dict[str, str] | None = None, folder: Path | None = None) -> None:
        """A process that is in the group from its first instruction on."""
        line = f'echo $$ > {self._folder}/cgroup.procs; exec "$@"'
        with log.open("ab") as output:
            subprocess.Popen(
                ["sh", "-c", line, "sh", *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **(environment or {})},
                cwd=folder,
                start_new_session=True,
            )

    @property
    def pids(self) -> list[int]:
        """Those that live."""
        return [int(word) for word in (self._folder / "cgroup.procs").read_text().split()]

    def cpu_ms(self) -> float:
        """Milliseconds since the group was made, user and system."""
        if self._v1:
            return int((self._folder / "cpuacct.usage").read_text()) / 1e6
        stat = dict(line.split() for line in (self._folder / "cpu.stat").read_text().splitlines())
        return int(stat["usage_usec"]) / 1e3

    def pss_mb(self) -> float:
        """Proportional set size, 10^6 octets."""
        total = 0
        for pid in self.pids:
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                    if line.startswith("Pss:"):
                        total += int(line.split()[1]) * 1024
        return total / 1e6

    def stop(self) -> None:
        """SIGTERM, and SIGKILL for what is left."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in self.pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            until = time.monotonic() + STOP_SECONDS
            while self.pids and time.monotonic() < until:
                time.sleep(0.05)

    def remove(self) -> None:
        """Of a group that was stopped; the kernel refuses any other."""
        with contextlib.suppress(OSError):
            self._folder.rmdir()
