"""Everything that lies below a folder, or an error. `Path.rglob` leaves out what it may not read, and rules that nobody reads must not look
as if they were in force."""

import os
from pathlib import Path

from relay.model.errors import ConfigurationError


def below(folder: Path, without: str = "") -> list[Path]:
    """Files, links and folders, sorted. Left out is what is hidden, with all in it; and `without`, a folder in the folder itself. A link to
    a folder is named and not followed. Raises ConfigurationError: a folder can't be read, or went at this moment."""

    def refuse(error: OSError) -> None:
        raise error

    found: list[Path] = []
    try:
        for parent, folders, files in os.walk(folder, onerror=refuse):
            here = Path(parent)
            folders[:] = [name for name in folders if not name.startswith(".") and not (name == without and here == folder)]
            found += [here / name for name in (*folders, *files) if not name.startswith(".")]
    except OSError as error:
        raise ConfigurationError([f"{Path(error.filename or folder)}: {error.strerror}"]) from None
    return sorted(found)
