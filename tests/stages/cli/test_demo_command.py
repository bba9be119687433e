"""`sluis demo` says what is wrong with its folder before it plays."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from relay.cli import main


@pytest.mark.parametrize(
    ("folder", "said"),
    [("/proc/sluis-demo", "No such file or directory"), ("/proc/sys", "not empty"), ("/dev/null/demo", "Not a directory")],
)
def test_a_folder_that_can_not_be_used_is_told_without_a_traceback(folder: str, said: str) -> None:
    result = CliRunner().invoke(main, ["demo", "--once", "--folder", folder])
    assert isinstance(result.exception, SystemExit)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {folder}")
    assert said in result.stderr


def test_a_folder_that_holds_something_is_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    result = CliRunner().invoke(main, ["demo", "--once", "--folder", str(tmp_path)])
    assert (result.exit_code, result.stderr) == (1, f"Error: {tmp_path} is not empty\n")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
