"""What each side does for a message, in a pass in which no time is taken: syncs as the kernel saw them, commits, events, scans."""

import contextlib
import re
import shutil
import signal
import sqlite3
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.compare.groups import Group
from bench.compare.run import measure
from bench.compare.sides import Side, Stage

SYNCS = "fsync,fdatasync"
ATTACH_SECONDS, SETTLE_SECONDS = 60.0, 60.0
STEP_SECONDS = 0.02
_COMMITS = re.compile(rb"^sluis_journal_commits_total(?:\{[^}]*\})? ([0-9.e+]+)$", re.MULTILINE)
_SCANNED = re.compile(r"^.*(?:: OK| FOUND)$", re.MULTILINE)


@dataclass(frozen=True)
class Counts:
    """For a message. None: there is no such thing on that side, or it could not be counted here. `lost` and `messages` are of the pass."""

    syncs: float | None
    commits: float | None
    events: float | None
    scans: float
    messages: int
    lost: int


def count(stage: Stage, side: Side, workload: str, messages: int) -> Counts:
    """Of the side that is started."""
    groups = [stage.groups[name] for name in side.groups]
    _until_settled(stage, side)
    commits, events, scans = _commits(stage, side), _events(stage, side), _scans(stage)
    with _syncs_of(groups, stage.home / "strace") as syncs:
        figures = measure(stage, side, workload, messages, quiet=0)
        _until_settled(stage, side)
    arrived = max(1, messages - figures.lost - figures.refused)

    def each(before: float | None, after: float | None) -> float | None:
        return None if before is None or after is None else (after - before) / arrived

    return Counts(
        syncs=syncs[0] / arrived if syncs else None,
        commits=each(commits, _commits(stage, side)),
        events=each(events, _events(stage, side)),
        scans=(_scans(stage) - scans) / arrived,
        messages=arrived,
        lost=figures.lost,
    )


@contextmanager
def _syncs_of(groups: Sequence[Group], output: Path) -> Iterator[list[int]]:
    """Holds, behind the block, how many syncs all processes of the groups asked for, new ones too; stays empty where nobody may trace."""
    found: list[int] = []
    pids = [pid for group in groups for pid in group.pids]
    if not shutil.which("strace"):
        yield found
        return
    output.unlink(missing_ok=True)
    command = ["strace", "-f", "-c", "-U", "calls,name", "-e", f"trace={SYNCS}", "-o", str(output)]
    command += [word for pid in pids for word in ("-p", str(pid))]
    strace = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + ATTACH_SECONDS
        while not (traced := all(map(_is_traced, pids))) and strace.poll() is None and time.monotonic() < until:
            time.sleep(STEP_SECONDS)
        yield found
    finally:
        strace.send_signal(signal.SIGINT)  # it lets go of them, and writes its table
        strace.wait()
    if traced and output.exists():  # what was seen of some processes only would be too little
        lines = [line.split() for line in output.read_text().splitlines()]
        found.append(sum(int(words[0]) for words in lines if len(words) == 2 and words[1] in SYNCS.split(",")))


def _is_traced(pid: int) -> bool:
    """In all its threads; one that has ended counts as well."""
    with contextlib.suppress(OSError):
        statuses = [task.read_text() for task in Path(f"/proc/{pid}/task").glob("*/status")]
        return not any("\nTracerPid:\t0\n" in status for status in statuses)
    return True


def _until_settled(stage: Stage, side: Side) -> None:
    """Until what has arrived is written down as well: Sluis writes outcomes behind the next hop's 250. The others owe nothing by then."""
    until = time.monotonic() + SETTLE_SECONDS
    while not side.folder and _rows(stage.home / "sluis" / "state" / "sluis.db", "queue") and time.monotonic() < until:
        time.sleep(STEP_SECONDS)


def _commits(stage: Stage, side: Side) -> float | None:
    """Durable transactions: of the journal as Sluis counts them itself; of the script one for each row of its log. Postfix has a file for
    each message instead."""
    if side.name == "naive":
        return _rows(stage.home / "f" / "log.sqlite3", "mail")
    if side.folder:
        return None
    with urllib.request.urlopen(f"http://127.0.0.1:{stage.ports['http']}/metrics", timeout=30) as answer:
        found = _COMMITS.search(answer.read())
    return float(found[1]) if found else None


def _events(stage: Stage, side: Side) -> float | None:
    """Of the audit, which only Sluis has."""
    return None if side.folder else _rows(stage.home / "sluis" / "state" / "sluis.db", "event")


def _rows(database: Path, table: str) -> int:
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def _scans(stage: Stage) -> int:
    """Lines of clamd's log that tell of a scan (`LogClean`)."""
    return len(_SCANNED.findall((stage.home / "clamav" / "clamd.log").read_text(errors="replace")))
