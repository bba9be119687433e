"""What is forked from a process that has loaded the program is the program, in a process of its own."""

import asyncio
import os
from pathlib import Path
from signal import SIGKILL, SIGTERM

import pytest

from tests.servers import warm

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("utf8", [0, 1], ids=["in a fork", "where the interpreter's own environment is another, by an interpreter"])
def test_it_has_its_own_words_environment_folder_input_and_exit_code(utf8: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {**os.environ, "SLUIS_COURT": "open", **({"PYTHONUTF8": "1", "PYTHONPATH": str(ROOT)} if utf8 else {})}
    monkeypatch.chdir(tmp_path)
    code, out, err = asyncio.run(warm.run(["a", "b c"], b"handed in", environment, "tests.servers.echo"))
    assert (code, err.decode()) == (7, "said\n")
    assert out.decode() == f"open {tmp_path} ['a', 'b c'] ['-m', 'tests.servers.echo'] {utf8} handed in\n"


def test_it_is_the_command_with_its_own_help() -> None:
    code, out, _ = asyncio.run(warm.run(["--help"], b"", os.environ))
    assert (code, out.decode().splitlines()[0]) == (0, "Usage: python -m relay [OPTIONS] COMMAND [ARGS]...")


def test_it_is_killed_as_any_other_and_another_goes_on() -> None:
    async def story() -> None:
        one, other = [await warm.start([], "tests.servers.waiting") for _ in range(2)]
        assert one.stderr is not None
        assert other.stderr is not None
        assert await one.stderr.readline() == await other.stderr.readline() == b"here\n"
        one.kill()
        assert await one.wait() == -SIGKILL
        assert other.returncode is None
        other.terminate()
        assert await other.wait() == -SIGTERM
        with pytest.raises(ProcessLookupError):
            other.kill()

    asyncio.run(story())
