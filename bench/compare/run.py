"""One run of one workload through one side: the load generator in front, the sink behind, the clock of the kernel beside."""

import json
import mmap
import statistics
import struct
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.compare.sides import Side, Stage

SETTLE_SECONDS = 120.0
QUIET_SECONDS = 3.0
SAMPLE_SECONDS = 0.5


@dataclass(frozen=True)
class Figures:
    """`rate` is messages a second from the first command to the last arrival at the sink; CPU in milliseconds a message; times of the reply
    to the final dot in milliseconds; `lost` are messages that heard 250 and did not arrive: a message that the side quarantines, too."""

    rate: float
    own_ms: float
    clamd_ms: float
    p50_ms: float
    p99_ms: float
    pss_mb: float
    foreign_cores: float
    lost: int
    refused: int


class Sink:
    """What the sink tells in shared memory: which run it counts, how many messages of it came, and when the last."""

    def __init__(self, home: Path) -> None:
        with (home / "out" / "sink.state").open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 88)

    def expect(self, run: str) -> None:
        self._map[0:8] = run.encode()
        self._map[16:64] = bytes(48)

    def unique(self) -> tuple[int, int]:
        """Messages of the run that are there, and when the last came (nanoseconds of the monotonic clock)."""
        values = struct.unpack("9Q", self._map[16:88])
        return values[1], values[5]


def measure(stage: Stage, side: Side, workload: str, count: int, connections: int = 20, quiet: float = QUIET_SECONDS) -> Figures:
    """Sends `count` messages, and waits until all that heard 250 have arrived. Before it, waits for others to be quiet, at most `quiet`
    seconds."""
    sink, own = Sink(stage.home), [stage.groups[name] for name in side.groups]
    _await_quiet(quiet)
    run = f"{time.time_ns() // 1_000_000 & 0xFFFFFFFF:08x}"
    sink.expect(run)
    everything = [*own, stage.groups["clamd"], stage.groups["sink"]]
    before = {id(group): group.cpu_ms() for group in everything}
    busy, begun = _busy_seconds(), time.monotonic()
    watch = _Memory(own)
    try:
        given = json.loads(_generate(stage, workload, count, connections, run))
        until = time.monotonic() + SETTLE_SECONDS
        while sink.unique()[0] < given["ok"] and time.monotonic() < until:
            time.sleep(0.01)
        arrived, last_ns = sink.unique()
    finally:
        peak = watch.peak()
    took = time.monotonic() - begun
    used = {id(group): group.cpu_ms() - before[id(group)] for group in everything}
    foreign = max(0.0, _busy_seconds() - busy - sum(used.values()) / 1e3 - given["cpu_s"]) / took
    own_ms, clamd_ms = sum(used[id(group)] for group in own), used[id(stage.groups["clamd"])]
    number = max(1, arrived)
    return Figures(
        rate=arrived / max(1e-9, (last_ns - given["t0_ns"]) / 1e9),
        own_ms=own_ms / number,
        clamd_ms=clamd_ms / number,
        p50_ms=given.get("lat_p50") or 0.0,
        p99_ms=given.get("lat_p99") or 0.0,
        pss_mb=peak,
        foreign_cores=foreign,
        lost=given["ok"] - arrived,
        refused=given["permfail"],
    )


def median(figures: Sequence[Figures]) -> Figures:
    """Of each figure by itself; what was lost or refused is the sum."""
    names = [name for name in Figures.__dataclass_fields__ if name not in ("lost", "refused")]
    values = {name: statistics.median(getattr(one, name) for one in figures) for name in names}
    return Figures(**values, lost=sum(one.lost for one in figures), refused=sum(one.refused for one in figures))


def _generate(stage: Stage, workload: str, count: int, connections: int, run: str) -> str:
    """The generator's JSON, with the processor time that it used itself (`cpu_s`)."""
    message = stage.home / "msgs" / f"{workload}.eml"
    words = [str(stage.home / "bin" / "loadgen"), str(stage.port), str(count), str(connections), str(message), run, "120", "0"]
    done = subprocess.run(["bash", "-c", 'TIMEFORMAT="%U %S"; time "$@"', "bash", *words], capture_output=True, text=True, check=True)
    user, system = done.stderr.split()[-2:]
    return json.dumps({**json.loads(done.stdout), "cpu_s": float(user) + float(system)})


class _Memory:
    """The most that the groups hold together, looked at twice a second."""

    def __init__(self, groups: Sequence[object]) -> None:
        self._groups = groups
        self._most = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        while True:
            self._most = max(self._most, sum(group.pss_mb() for group in self._groups))  # type: ignore[attr-defined]
            if self._over.wait(SAMPLE_SECONDS):
                return

    def peak(self) -> float:
        self._over.set()
        self._thread.join()
        return self._most


def _busy_seconds() -> float:
    """Of all cores since the machine started (proc(5), in hundredths of a second): all but idle and waiting for a disk."""
    words = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    return (sum(words[:8]) - words[3] - words[4]) / 100


def _await_quiet(seconds: float) -> None:
    """Until others use less than a seventh of a core, or the time is over."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        before = _busy_seconds()
        time.sleep(0.3)
        if _busy_seconds() - before < 0.05:
            return
