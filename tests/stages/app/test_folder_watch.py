"""Watching the policy folder goes on whatever happens in it."""

import contextlib
import os
from pathlib import Path

from relay.app.folder_watch import stamp


def test_a_change_is_seen_and_a_folder_that_can_not_be_looked_into_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    with contextlib.chdir(tmp_path):
        for _ in range(17):  # deeper than a path may be long, so that looking into it fails, as into one that went at this moment
            Path("x" * 250).mkdir()
            os.chdir("x" * 250)
    before = stamp(tmp_path)

    assert stamp(tmp_path) == before
    (tmp_path / "rules" / "a.yaml").write_text("rules: []\n")
    assert stamp(tmp_path) != before
