"""The Python that runs the relay in the bench: Debian's, as the image has it (deploy/Containerfile) and as the other sides are Debian's."""

import subprocess
import sys
import sysconfig
from pathlib import Path

DEBIAN = Path("/usr/bin/python3")
REPOSITORY = Path(__file__).parents[2]


def made(home: Path) -> Path:
    """What `interpreter` gave."""
    found = home / "python" / "bin" / "python"
    return found if found.exists() else Path(sys.executable)


def interpreter(home: Path) -> Path:
    """One with the packages of this one, in a folder of `home`. How Python was built makes a sixth of its CPU. This one itself, where
    Debian's is of another version, for which the packages were not built, or there is none."""
    if not DEBIAN.exists() or _version(DEBIAN) != _version(Path(sys.executable)):
        return Path(sys.executable)
    folder = home / "python"
    subprocess.run([DEBIAN, "-m", "venv", "--without-pip", "--clear", folder], check=True)
    [packages] = folder.glob("lib/python*/site-packages")
    (packages / "relay.pth").write_text(f"{sysconfig.get_path('purelib')}\n{REPOSITORY}\n")
    return made(home)


def _version(python: Path) -> str:
    """Such as 3.11."""
    asked = [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
