"""`python -m bench.compare`: every side with every workload, three times, one side after the other; medians as a table."""

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from bench.compare.counts import Counts, count
from bench.compare.groups import why_not
from bench.compare.run import QUIET_SECONDS, Figures, measure, median
from bench.compare.settings import effective
from bench.compare.sides import SIDES, Side, Stage
from bench.compare.table import BASE, WORKLOADS, counted, table

COUNTS = {"w1": 1500, "w2": 600, "w2r": 600, "w3": 20}
WARM = {"w1": 60, "w2": 30, "w2r": 30, "w3": 3}
SHORT_PART = 0.2
"""Of the messages. With fewer nothing is held against the bars."""
COUNTED_PART, COUNTED_LEAST = 0.1, 5
"""Of the messages of a measured round, in the pass that counts; and as many where the round has them."""
NOT_HERE = 77
"""The exit status of what can't run on this machine, as of a skipped test (GNU Automake, "Scripts-based Testsuites")."""

Key = tuple[str, str]
"""Side and workload."""


def main() -> None:
    """Ends with 1 where a message that heard 250 did not arrive, or a side did not run; with 77 where this machine can't measure."""
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description=__doc__)
    parser.add_argument("--side", action="append", choices=[side.name for side in SIDES], help="only this one; may be given again")
    parser.add_argument("--workload", action="append", choices=list(WORKLOADS), help="only this one; may be given again")
    parser.add_argument("--rounds", type=int, default=3, help="how often each (default: %(default)s)")
    parser.add_argument("--short", action="store_true", help="one round of few messages, Sluis and Postfix + rspamd: shows that all runs")
    parser.add_argument("--part", type=float, help=f"this part of the messages (default: 1; with --short {SHORT_PART})")
    parser.add_argument("--quiet", type=float, default=QUIET_SECONDS, help="wait so many seconds at most for a quiet machine before each")
    parser.add_argument("--json", type=Path, help="write every single figure there")
    given = parser.parse_args()
    missing = why_not()
    if missing is not None:
        print(f"bench: {missing}", file=sys.stderr)
        raise SystemExit(NOT_HERE)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the daemons are stopped
    sides = [side for side in SIDES if side.name in (given.side or ([BASE, "sluis"] if given.short else [s.name for s in SIDES]))]
    workloads = given.workload or list(WORKLOADS)
    part = given.part or (SHORT_PART if given.short else 1.0)
    kept = os.environ.get("BENCH_HOME")
    home = Path(kept or tempfile.mkdtemp(prefix="sluis-bench-"))
    home.chmod(0o755)  # the peers run under users of their own
    stage = Stage(home)
    try:
        stage.set_up()
        found, counts = _measure(stage, sides, workloads, 1 if given.short else given.rounds, part, given.quiet)
        settings = effective(home, sides)
    finally:
        stage.tear_down()
        if kept is None:
            shutil.rmtree(home, ignore_errors=True)
    medians = {key: median(figures) for key, figures in found.items()}
    print("\n".join([*table(medians, enough=part >= SHORT_PART), *counted(counts), *settings]))
    if given.json:
        given.json.write_text(json.dumps(_plain(found, counts), indent=1))
    if any(one.lost for one in (*medians.values(), *counts.values())):
        raise SystemExit("bench: messages heard 250 and did not arrive: lost, or quarantined by the side")


def _measure(
    stage: Stage, sides: Sequence[Side], workloads: Sequence[str], rounds: int, part: float, quiet: float
) -> tuple[dict[Key, list[Figures]], dict[Key, Counts]]:
    """One side after the other, and then all again: what else the machine does meets each. Behind its last round each is counted."""
    found: dict[Key, list[Figures]] = {}
    counts: dict[Key, Counts] = {}
    for number in range(rounds):
        for side in sides:
            stage.start(side)
            try:
                for workload in workloads:
                    messages = _part(COUNTS[workload], part)
                    measure(stage, side, workload, _part(WARM[workload], part), quiet=0)
                    figures = measure(stage, side, workload, messages, quiet=quiet)
                    found.setdefault((side.name, workload), []).append(figures)
                    print(f"round {number + 1}, {side.title}, {workload}: {figures.rate:.1f}/s", file=sys.stderr, flush=True)
                for workload in workloads if number == rounds - 1 else ():
                    messages = _part(COUNTS[workload], part)
                    messages = max(_part(messages, COUNTED_PART), min(messages, COUNTED_LEAST))
                    counts[side.name, workload] = count(stage, side, workload, messages)
            finally:
                stage.stop(side)
    return found, counts


def _part(messages: int, part: float) -> int:
    return max(2, round(messages * part))


def _plain(found: dict[Key, list[Figures]], counts: dict[Key, Counts]) -> dict[str, list[dict[str, object]]]:
    return {
        "measured": [{"side": s, "workload": w, **asdict(one)} for (s, w), figures in found.items() for one in figures],
        "counted": [{"side": s, "workload": w, **asdict(one)} for (s, w), one in counts.items()],
    }


if __name__ == "__main__":
    main()
