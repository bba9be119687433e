"""Replay at a small size, over a store of many kinds of messages: nothing differs, memory does not grow with the store, reads are short."""

import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import OperationalError

from bench.replay.__main__ import CHANGED
from bench.replay.generate import DAY_US, generate
from relay.model.errors import StoreError
from relay.policy.load import build, load_policy, read_files
from relay.rehearsal.replay import Asked, pages, replay
from relay.settings.models import Store
from relay.store.engine import open_to_read
from relay.store.reader import Reader

ROOT = Path(__file__).parents[2]
POLICIES = ROOT / "policies"
MB = 1_000_000
GROWTH = 12 * MB
"""What nine times the messages may take more: the allocator's own ups and downs. Their rows alone would be forty."""
PROGRAM = """
import re, sys
from pathlib import Path
from relay.policy.load import load_policy
from relay.rehearsal.replay import Asked, replay
from relay.settings.models import Store
counts = replay(Store(url="sqlite:///" + sys.argv[1]), load_policy(Path("policies")), Asked())
highest = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())  # ru_maxrss would be that of whoever started it
print(counts.messages, counts.differ, counts.not_known, int(highest[1]) * 1024)
"""


def store(folder: Path, messages: int) -> Store:
    path = folder / f"{messages}.db"
    generate(path, load_policy(POLICIES), messages, 30, time.time_ns() // 1000, quiet=True)
    return Store(url=f"sqlite:///{path}")


@pytest.mark.timeout(600)
def test_memory_does_not_grow_with_the_store(tmp_path: Path) -> None:
    peaks = []
    for messages in (1_000, 9_000):
        path = store(tmp_path, messages).url.removeprefix("sqlite:///")
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, path], cwd=ROOT, capture_output=True, text=True, timeout=500, check=True
        ).stdout
        found, differ, unknown, peak = map(int, done.split())
        assert (found, differ, unknown) == (messages, 0, 0)
        peaks.append(peak)
    assert peaks[1] - peaks[0] < GROWTH, peaks


def test_several_processes_find_what_one_does(tmp_path: Path) -> None:
    given = store(tmp_path, 5_200)
    changed = build({**read_files(POLICIES), "rules/bench.yaml": CHANGED})
    heard: list[tuple[str, int, int]] = []
    one, two = replay(given, changed, Asked(limit=3)), replay(given, changed, Asked(limit=3), 2, lambda *words: heard.append(words))

    assert one.summary() == two.summary()
    assert one.differ > 100
    assert all(len(change["newest"]) <= 3 for change in one.summary()["changes"])
    assert heard[-1] == ("deciding", 5_200, 5_200)


def test_a_time_is_cut_out_to_the_message(tmp_path: Path) -> None:
    given, policy, now_us = store(tmp_path, 900), load_policy(POLICIES), time.time_ns() // 1000
    border = now_us - 10 * DAY_US
    old, new = replay(given, policy, Asked(until_us=border)), replay(given, policy, Asked(since_us=border))

    assert old.messages + new.messages == 900
    assert 590 < old.messages < 610


def test_each_page_is_a_transaction_of_its_own_and_nothing_can_be_written(tmp_path: Path) -> None:
    engine = open_to_read(store(tmp_path, 700))
    reader, said = Reader(engine, 1), Counter[str]()
    event.listen(engine, "before_cursor_execute", lambda c, cursor, statement, *rest: said.update([statement.split()[0]]))
    parts = pages.slices(reader, None, None, size=300)
    assert [part.number for part in parts] == [300, 300, 100]
    said.clear()
    read = [message.id for part in parts for message, _ in pages.messages(reader, part, size=100)]
    assert read == sorted(set(read))
    assert len(read) == 700
    assert said["BEGIN"] >= 7, said

    with pytest.raises(OperationalError, match="readonly"), engine.connect() as connection:
        connection.execute(text("DELETE FROM delivery"))
    reader.close()
    engine.dispose()


def test_a_store_that_is_not_there_is_said_to_be_so_and_not_made(tmp_path: Path) -> None:
    path = tmp_path / "absent.db"
    with pytest.raises(StoreError, match="sluis store upgrade"):
        replay(Store(url=f"sqlite:///{path}"), load_policy(POLICIES), Asked())
    assert not path.exists()
