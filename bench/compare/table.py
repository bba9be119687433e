"""The table of a comparison, and how Sluis stands to its bars."""

from collections.abc import Mapping, Sequence

from bench.compare.counts import Counts
from bench.compare.run import Figures
from bench.compare.sides import SIDES

WORKLOADS = {
    "w1": "W1, 4 KB of text",
    "w2": "W2, a 100 KB attachment that differs each time",
    "w2r": "W2r, the same 100 KB attachment each time",
    "w3": "W3, a 5 MB attachment",
}
OWN_BAR, RATE_BAR, P99_BAR = 0.7, 1.3, 1.0
"""Against Postfix + rspamd that scans text: own processor time a message at most, messages a second at least, p99 of the reply at most."""
BASE = "rspamd-text"

Results = Mapping[tuple[str, str], Figures]
"""By side and workload, medians."""


def table(results: Results, enough: bool = True) -> list[str]:
    """Markdown; Sluis is held against its bars where there were messages `enough`."""
    lines = []
    titles = {side.name: side.title for side in SIDES}
    for workload, title in WORKLOADS.items():
        rows = [(side, results[side, workload]) for side in titles if (side, workload) in results]
        if not rows:
            continue
        lines += [f"### {title}", "", "| side | messages/s | own CPU ms | clamd CPU ms | reply p50 ms | p99 ms | PSS MB | others' cores |"]
        lines.append("|---|---:|---:|---:|---:|---:|---:|---:|")
        lines += [f"| {titles[side]} | {_row(figures)} |" for side, figures in rows]
        lines += ["", *(bars(results, workload) if enough else ())]
    return lines


def _row(f: Figures) -> str:
    note = f" **{f.lost} did not arrive**" if f.lost else ""
    return (
        f"{f.rate:.1f}{note} | {f.own_ms:.2f} | {f.clamd_ms:.2f} | {f.p50_ms:.1f} | {f.p99_ms:.1f} | {f.pss_mb:.0f} | {f.foreign_cores:.2f}"
    )


def bars(results: Results, workload: str) -> Sequence[str]:
    """One line, where both sides ran."""
    if ("sluis", workload) not in results or (BASE, workload) not in results:
        return []
    ours, theirs = results["sluis", workload], results[BASE, workload]
    own, rate, p99 = ours.own_ms / theirs.own_ms, ours.rate / theirs.rate, ours.p99_ms / max(theirs.p99_ms, 1e-9)
    verdicts = [
        f"own CPU {own:.2f} of it (bar: at most {OWN_BAR}){_mark(own <= OWN_BAR)}",
        f"messages/s {rate:.2f} times (bar: at least {RATE_BAR}){_mark(rate >= RATE_BAR)}",
        f"p99 {p99:.2f} of it (bar: at most {P99_BAR:g}){_mark(p99 <= P99_BAR)}",
    ]
    return ["Sluis against Postfix + rspamd, text scanned: " + "; ".join(verdicts) + ".", ""]


def _mark(met: bool) -> str:
    return "" if met else " **falls short**"


def counted(counts: Mapping[tuple[str, str], Counts]) -> list[str]:
    """Markdown: what each side did for a message."""
    titles = {side.name: side.title for side in SIDES}
    lines = ["### What each did for a message", "", "| workload | side | fsync, fdatasync | commits | events | scans by clamd |"]
    lines.append("|---|---|---:|---:|---:|---:|")
    for workload, named in WORKLOADS.items():
        for side, title in titles.items():
            one = counts.get((side, workload))
            if one is not None:
                cells = " | ".join("-" if value is None else f"{value:.2f}" for value in (one.syncs, one.commits, one.events, one.scans))
                lines.append(f"| {named.partition(',')[0]} | {title} | {cells} |")
    return [*lines, "", *NOTE, ""]


NOTE = (
    "Counted in a pass of its own, under strace, whose times nobody takes, and in which fewer messages meet in one commit. Syncs are",
    "those of all processes of the side. A commit of Sluis is a transaction of many messages, one of the script a row of its log; Postfix",
    "syncs a file for each message instead. Events are those of the audit. A verdict that a side remembers is no scan.",
)
