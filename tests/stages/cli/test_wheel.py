"""What is installed from a wheel is whole: the policy that ships, the rules, the migrations and the demonstration come out of it."""

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SECONDS = 120


def run(*words: str | Path, folder: Path, code: int = 0) -> str:
    """A command outside the checkout, without its PYTHONPATH; gives what it printed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SLUIS"))}
    done = subprocess.run([str(word) for word in words], cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    words = ("-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check")
    run(sys.executable, *words, "--wheel-dir", folder, ROOT, folder=folder)
    (built,) = folder.glob("sluis-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`bin` of an empty venv with the wheel in it. What it depends on is borrowed from the venv of the tests, behind its own folder."""
    home = tmp_path_factory.mktemp("venv")
    venv.create(home, symlinks=True)
    site = Path(sysconfig.get_path("purelib", "venv", {"base": str(home), "platbase": str(home)}))
    words = ("-m", "pip", "install", "--no-deps", "--no-index", "--no-compile", "--disable-pip-version-check")
    run(sys.executable, *words, "--prefix", home, "--ignore-installed", wheel, folder=home)
    assert (site / "relay").is_dir()
    # A path file in a folder that itself came from a path file is not read: the checkout, installed for editing there, stays out.
    (site / "borrowed.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return home / "bin"


def test_the_wheel_holds_what_the_program_reads(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for folder, below in (
        ("policies", "relay/starter/policies"),
        ("relay/demo/messages", "relay/demo/messages"),
        ("relay/inspect/rules", "relay/inspect/rules"),
        ("relay/store/migrations/versions", "relay/store/migrations/versions"),
    ):
        wanted = {
            path.relative_to(ROOT / folder) for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts
        }
        assert wanted
        assert {f"{below}/{path}" for path in wanted} <= names
    assert not [name for name in names if name.startswith(("tests/", "bench/", "deploy/"))]


def test_init_and_check_work_from_an_installed_wheel(installed: Path, tmp_path: Path) -> None:
    where = run(installed / "python", "-c", "import relay, quarantine; print(relay.__file__, quarantine.__file__)", folder=tmp_path)
    assert str(ROOT) not in where
    sluis, config = installed / "sluis", tmp_path / "etc" / "sluis.toml"
    assert run(sluis, "--version", folder=tmp_path).startswith("sluis, version ")
    run(sluis, "init", "etc", "--state", "state", "--run", "run", "--hostname", "relay.example.org", folder=tmp_path)
    shipped = {path.relative_to(ROOT / "policies"): path.read_bytes() for path in (ROOT / "policies").rglob("*") if path.is_file()}
    written = {path.relative_to(tmp_path / "etc" / "policies") for path in (tmp_path / "etc" / "policies").rglob("*") if path.is_file()}
    assert written == set(shipped)
    assert all((tmp_path / "etc" / "policies" / path).read_bytes() == data for path, data in shipped.items())
    run(sluis, "keys", "spool", "new", "--config", config, folder=tmp_path)
    for selector, algorithm in (("rsa1", "rsa-sha256"), ("ed1", "ed25519-sha256")):
        words = ("dkim", "new", "example.org", "--selector", selector, "--algorithm", algorithm, "--config", config)
        run(sluis, *words, folder=tmp_path)
    assert run(sluis, "check", "--offline", "--config", config, folder=tmp_path) == "all is well\n"
    missing = run(sluis, "check", "--config", config, folder=tmp_path, code=1)
    assert "is not there (run: sluis store upgrade)" in missing


def test_a_relay_runs_from_an_installed_wheel(installed: Path, tmp_path: Path) -> None:
    said = run(installed / "sluis", "demo", "--once", folder=tmp_path)
    assert "11 of 11 messages met the end that was expected" in said
