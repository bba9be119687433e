"""What a worker can't do any more once hostile bytes could have taken it over. The attempts are made from inside, on the real filter."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stages.inspect.workers import asked

REFUSED = (
    "read a file",
    "read the file that is there",
    "write a file",
    "append to a file",
    "empty a file",
    "remove a file",
    "rename a file",
    "link a file",
    "symlink a file",
    "change a mode",
    "change the mode of an open file",
    "change the owner of an open file",
    "cut an open file",
    "change times",
    "make a folder",
    "make a fifo",
    "list a folder",
    "open an IPv4 socket",
    "open an IPv6 socket",
    "open a unix socket",
    "open a netlink socket",
    "start a program",
    "become a program",
    "fork",
    "signal the relay",
    "trace the relay",
    "read the relay's memory",
    "write the relay's memory",
    "hold the relay",
    "signal the relay by a descriptor",
    "slow the relay down",
    "move the relay to one processor",
    "limit the relay",
    "take a descriptor of the relay",
    "set up io_uring",
    "leave its namespaces",
    "read a file on an older thread",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "there").write_bytes(b"a key")
    return tmp_path


@pytest.mark.parametrize("action", REFUSED)
def test_a_worker_that_was_taken_over_may_not(action: str, folder: Path) -> None:
    assert asked(action, folder).header.subject == "EPERM"
    assert [(path.name, path.read_bytes()) for path in folder.iterdir()] == [("there", b"a key")]


def test_a_worker_loads_nothing_that_was_not_loaded_before(folder: Path) -> None:
    assert asked("load a module", folder).header.subject in ("EPERM", "ModuleNotFoundError")


@pytest.mark.parametrize("action", ["start a thread", "limit itself"])
def test_a_worker_may_still(action: str, folder: Path) -> None:
    assert asked(action, folder).header.subject == "done"


def test_the_memory_of_a_worker_is_hidden_from_other_processes_of_its_user(folder: Path) -> None:
    assert asked("tell whether it can be dumped", folder).header.subject == "0"


def test_the_memory_of_the_relay_is_hidden_from_the_moment_it_starts(folder: Path) -> None:
    """Before the first key is read: with settings that are not there, it gets no further."""
    code = (
        "import ctypes, sys\n"
        "from relay.cli.serve import command\n"
        "try: command(['--config', sys.argv[1]])\n"
        "except SystemExit: print('dumpable', ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))\n"
    )
    said = subprocess.run([sys.executable, "-c", code, str(folder / "missing.toml")], capture_output=True, text=True, check=True)
    assert said.stdout.endswith("dumpable 0\n")


def test_memory_beyond_its_limit_is_refused(folder: Path) -> None:
    assert asked("take memory", folder, memory=512 * 1024 * 1024).header.subject == "MemoryError"


def test_nothing_of_our_environment_reaches_a_worker(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "secret")
    assert json.loads(asked("tell the environment", folder).header.subject) == [
        "LC_ALL",
        "MALLOC_ARENA_MAX",
        "MALLOC_MMAP_THRESHOLD_",
        "MALLOC_TRIM_THRESHOLD_",
        "PATH",
        "PYTHONPATH",
    ]


def test_a_worker_has_no_descriptors_but_the_standard_ones_and_its_socket(folder: Path) -> None:
    with (folder / "there").open("rb"):
        assert len(json.loads(asked("tell the descriptors", folder).header.subject)) == 4
