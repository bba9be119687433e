"""`python -m bench.replay`: a store of a million messages is made in a temporary folder, and decided again under the shipped policy: as it
is, and with rules that change much. Fails where it takes too long or too much memory, or shows what is not there."""

import argparse
import json
import os
import resource
import shutil
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

from bench.memory.pss import MB, Peak
from bench.replay.generate import OCTETS_A_MESSAGE, generate
from relay.policy.load import build, load_policy, read_files
from relay.policy.models import Policy
from relay.rehearsal.replay import Asked, replay
from relay.settings.models import Store

POLICIES = Path(__file__).parents[2] / "policies"
SECONDS = 600.0
"""Issue "Policy as code": a million messages in under ten minutes on two cores."""
MEMORY = 400 * MB
"""Of all processes: three interpreters with the policy, a page of rows each. It must not depend on how many messages there are."""
DAYS = 30
CHANGED = """\
rules:
  - {name: bench-images, when: {attachment: {true_types: [image/*]}}, then: hold, because: images wait}
  - {name: bench-elsewhere, when: {direction: [outbound], recipient: [elsewhere.example]}, then: quarantine, because: looked at}
  - {name: bench-trial, when: {larger_than: 50000}, then: reject, because: on trial, mode: observe}
"""


@dataclass(frozen=True)
class Measured:
    """Of one replay; `cpu` is of all its processes, in seconds, `memory` their PSS at the highest, in octets."""

    messages: int
    recipients: int
    differ: int
    not_known: int
    seconds: float
    cpu: float
    memory: int


def measure(store: Store, policy: Policy, processes: int) -> Measured:
    """Replays all there is."""
    begun, cpu = time.monotonic(), _cpu()
    with Peak(os.getpid(), 1.0) as peak:
        counts = replay(store, policy, Asked(), processes)
    seconds = time.monotonic() - begun
    return Measured(counts.messages, counts.recipients, counts.differ, counts.not_known, seconds, _cpu() - cpu, peak.total)


def _cpu() -> float:
    """Of this process and of those that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m bench.replay", description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where the store lies while this runs")
    parser.add_argument("--limit-gb", type=float, default=10.0, help="no more of the disk")
    parser.add_argument("--unchanged-only", action="store_true", help="leave out the second policy")
    parser.add_argument("--json", type=Path, help="write the figures there")
    asked = parser.parse_args()
    wanted, free = asked.messages * OCTETS_A_MESSAGE, shutil.disk_usage(asked.folder).free
    if wanted > asked.limit_gb * 1e9 or wanted > 0.8 * free:
        raise SystemExit(f"the store takes about {wanted / 1e9:.1f} GB: {free / 1e9:.0f} GB are free, the limit is {asked.limit_gb:.0f} GB")
    with tempfile.TemporaryDirectory(prefix="sluis-replay-", dir=asked.folder) as folder:
        raise SystemExit(_run(Path(folder) / "sluis.db", asked))


def _run(path: Path, asked: argparse.Namespace) -> int:
    files = read_files(POLICIES)
    shipped, changed = load_policy(POLICIES), build({**files, "rules/bench.yaml": CHANGED})
    begun = time.monotonic()
    with ProcessPoolExecutor(1, get_context("spawn")) as other:  # what it leaves in memory is not to be measured here
        written = other.submit(generate, path, shipped, asked.messages, DAYS, time.time_ns() // 1000).result()
    size = path.stat().st_size
    print(
        f"{written.messages:,} messages, {written.recipients:,} recipients, {size / 1e9:.1f} GB: {time.monotonic() - begun:.0f} s to make"
    )
    print("| policy | differ | seconds | CPU seconds | us CPU a message | memory |\n|---|---:|---:|---:|---:|---:|")
    found, missed = {}, []
    for name, policy in (("the same", shipped), ("three rules more", changed))[: 1 if asked.unchanged_only else 2]:
        one = found[name] = measure(Store(url=f"sqlite:///{path}"), policy, asked.processes)
        each = one.cpu / one.messages * 1e6
        print(f"| {name} | {one.differ:,} | {one.seconds:.0f} | {one.cpu:.0f} | {each:.0f} | {one.memory / MB:.0f} MB |", flush=True)
        missed += [f"{name}: {one.seconds:.0f} s"] * (one.seconds > SECONDS * max(1.0, asked.messages / 1_000_000))
        missed += [f"{name}: {one.memory / MB:.0f} MB"] * (one.memory > MEMORY)
        missed += [f"{name}: {one.messages} messages"] * (one.messages != written.messages)
        missed += [f"{name}: {one.not_known} not known"] * (one.not_known > 0)
        missed += [f"{name}: {one.differ} differ"] * ((one.differ > 0) is (policy is shipped))
    if asked.json is not None:
        asked.json.write_text(json.dumps({name: asdict(one) for name, one in found.items()}, indent=1))
    print("falls short: " + "; ".join(missed) if missed else "within all bounds")
    return int(bool(missed))


if __name__ == "__main__":
    main()
