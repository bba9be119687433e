"""Files that root makes for the relay's user: they belong to whoever owns the folder that they lie in."""

import os
from pathlib import Path


def make_folder(folder: Path) -> os.stat_result:
    """Makes what is missing of the path, mode 0700, owned like the nearest folder above that was there. Gives its status."""
    if not folder.exists():
        above = make_folder(folder.parent)
        folder.mkdir(mode=0o700)
        give(folder, above)
    return folder.stat()


def give(path: Path, like: os.stat_result) -> None:
    """Root gives the file to the owner of `like`; anybody else keeps it."""
    if os.geteuid() == 0:
        os.chown(path, like.st_uid, like.st_gid)
