"""What is forked from a process that has loaded the program is the program, in a process of its own."""

import asyncio
import os
from pathlib import Path
from signal import SIGKILL, SIGTERM

import pytest

from tests.servers import warm


def test_it_has_its_own_words_environment_folder_input_and_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = asyncio.run(warm.run(["a", "b c"], b"handed in", {"COURT": "open"}, "tests.servers.echo"))
    assert (code, out.decode(), err.decode()) == (7, f"open {tmp_path} ['a', 'b c'] __main__ handed in\n", "said\n")


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
