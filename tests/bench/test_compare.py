"""The short bench: every side runs, nothing is lost, and its table stands at the end of the test run. How fast they are decides nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SIDES = ("sluis", "rspamd-text", "milters", "naive")
WORKLOADS = ("w1", "w2", "w2r", "w3")
NOT_HERE = 77
SETTINGS = "### The settings of each side"


def bench(folder: Path) -> tuple[str, dict[str, list[dict[str, Any]]]]:
    """What it prints, and every figure. Fails with what it said where it fails; skips where this machine can't measure."""
    domains = folder / "domains"
    domains.write_text("test\n")
    # rspamd compiles all public suffixes when it starts in an empty folder: twenty seconds, from which so few messages would gain nothing.
    options = f'disable_hyperscan = true; url_tld = "{domains}";'
    command = [sys.executable, "-m", "bench.compare", "--short", "--part", "0.03", "--quiet", "0", "--json", str(folder / "figures.json")]
    command += [word for side in SIDES for word in ("--side", side)]
    process = subprocess.Popen(
        command,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "BENCH_INSTALL": "no", "HSWAIT": "0", "RSPAMD_OPTIONS": options},  # what is missing fails it
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        printed, errors = process.communicate()
    finally:
        process.terminate()  # it stops what it has started
        process.wait()
    if process.returncode == NOT_HERE:
        pytest.skip(errors.strip())
    assert process.returncode == 0, errors + printed
    return printed, json.loads((folder / "figures.json").read_text())


@pytest.mark.timeout(600)
def test_the_short_bench_runs_every_side_and_loses_nothing(tmp_path: Path, record_property: Any) -> None:
    printed, figures = bench(tmp_path)
    table, _, settings = printed.partition(SETTINGS)
    record_property("told", ("Sluis beside what people run today, few messages on a busy machine: a sign that all runs", table.strip()))
    everything = sorted((side, workload) for side in SIDES for workload in WORKLOADS)
    for kind in ("measured", "counted"):
        assert sorted((one["side"], one["workload"]) for one in figures[kind]) == everything
        assert not [one for one in figures[kind] if one["lost"]]
    assert all(one["rate"] > 0 and one["own_ms"] > 0 and one["refused"] == 0 for one in figures["measured"])
    counts = {(one["side"], one["workload"]): one for one in figures["counted"]}
    assert all(counts["sluis", workload]["events"] >= 2 for workload in WORKLOADS), "before the 250, and of the outcome"
    assert all(counts[side, workload]["scans"] >= 1 for side in SIDES for workload in ("w2", "w3")), "what differs is scanned by each"
    assert all(counts[side, workload]["syncs"] is None or counts[side, workload]["syncs"] >= 1 for side, workload in everything)
    for said in ("scan_text_mime = true", "smtpd_milters", "SignatureAlgorithm rsa-sha256", "AlertExceedsMax yes", "ed25519-sha256"):
        assert said in settings
