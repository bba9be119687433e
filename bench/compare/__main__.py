"""`python -m bench.compare`: every side with every workload, three times, one side after the other; medians as a table."""

import argparse
import json
import os
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from bench.compare.run import Figures, measure, median
from bench.compare.settings import effective
from bench.compare.sides import SIDES, Stage
from bench.compare.table import BASE, WORKLOADS, table

COUNTS = {"w1": 1500, "w2": 600, "w2r": 600, "w3": 20}
SHORT = {"w1": 300, "w2": 100, "w2r": 100, "w3": 6}
WARM = {"w1": 60, "w2": 30, "w2r": 30, "w3": 3}


def main() -> None:
    """Ends with 1 where a message that heard 250 did not arrive."""
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description=__doc__)
    parser.add_argument("--side", action="append", choices=[side.name for side in SIDES], help="only this one; may be given again")
    parser.add_argument("--workload", action="append", choices=list(WORKLOADS), help="only this one; may be given again")
    parser.add_argument("--rounds", type=int, default=3, help="how often each (default: %(default)s)")
    parser.add_argument("--short", action="store_true", help="one round of few messages, Sluis and Postfix + rspamd: shows that all runs")
    parser.add_argument("--json", type=Path, help="write every single figure there")
    given = parser.parse_args()
    if os.geteuid():
        raise SystemExit("bench: needs root, for control groups and for daemons that change their user")
    sides = [side for side in SIDES if side.name in (given.side or ([BASE, "sluis"] if given.short else [s.name for s in SIDES]))]
    workloads = given.workload or list(WORKLOADS)
    counts = SHORT if given.short else COUNTS
    home = Path(os.environ.get("BENCH_HOME") or tempfile.mkdtemp(prefix="sluis-bench-"))
    home.chmod(0o755)  # the peers run under users of their own
    stage = Stage(home)
    found: dict[tuple[str, str], list[Figures]] = {}
    try:
        stage.set_up()
        for number in range(1 if given.short else given.rounds):
            for side in sides:
                stage.start(side)
                try:
                    for workload in workloads:
                        measure(stage, side, workload, WARM[workload])
                        figures = measure(stage, side, workload, counts[workload])
                        found.setdefault((side.name, workload), []).append(figures)
                        print(f"round {number + 1}, {side.title}, {workload}: {figures.rate:.1f}/s", file=sys.stderr, flush=True)
                finally:
                    stage.stop(side)
    finally:
        stage.tear_down()
    medians = {key: median(figures) for key, figures in found.items()}
    print("\n".join(table(medians)))
    print("\n".join(effective(home / "sluis")))
    if given.json:
        given.json.write_text(json.dumps([{"side": s, "workload": w, **asdict(f)} for (s, w), fs in found.items() for f in fs], indent=1))
    if any(figures.lost for figures in medians.values()):
        raise SystemExit("bench: messages were lost")


if __name__ == "__main__":
    main()
