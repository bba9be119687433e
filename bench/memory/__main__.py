"""`python -m bench.memory`: every scene at its full size, as a table; fails where a bar is missed. About three minutes on two cores."""

import asyncio
import tempfile
from pathlib import Path

from bench.memory.pss import MB
from bench.memory.scenes import Measured, clients, relay

BIG = 25_000_000
# what, clients, the bar in MB: issue "Never lost, never slow"; those of slow clients are ours
SCENES: list[tuple[str, tuple[str, int, object], str, int]] = [
    ("5,000 idle connections, plain", ("idle", 5000, "plain"), "inside", 200),
    ("5,000 idle connections, STARTTLS", ("idle", 5000, "starttls"), "inside", 350),
    ("500 idle connections, implicit TLS", ("idle", 500, "tls"), "tls", 200),
    ("40 sessions with 25 MB each at a time", ("big", 40, BIG), "inside", 400),
    ("14 sessions with 25 MB each that hurt a reader", ("big", 14, f"{BIG} hostile"), "inside", 400),
    ("5,000 messages at one octet a second", ("drip", 5000, ""), "inside", 350),
    ("2,000 clients that flood and read nothing", ("deaf", 2000, ""), "inside", 200),
]


async def measure(what: tuple[str, int, object], listener: str) -> Measured:
    """One scene, on a relay of its own."""
    kind, count, more = what
    with tempfile.TemporaryDirectory(prefix="sluis-memory-") as folder:
        words = str(more).split()
        async with relay(Path(folder)) as sluis, clients(sluis, kind, count, *words, listener=listener) as measured:
            return measured


def main() -> None:
    """Prints a line as soon as it is known."""
    print("| scene | idle relay | at most | relay, template, workers | bar |\n|---|---:|---:|---|---:|")
    missed = []
    for name, what, listener, bar in SCENES:
        measured = asyncio.run(measure(what, listener))
        each = " + ".join(f"{value / MB:.0f}" for value in measured.each.values())
        print(f"| {name} | {measured.before / MB:.0f} MB | {measured.peak / MB:.0f} MB | {each} | {bar} MB |", flush=True)
        if measured.peak > bar * MB:
            missed.append(name)
    if missed:
        raise SystemExit("above the bar: " + ", ".join(missed))


if __name__ == "__main__":
    main()
