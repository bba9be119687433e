"""Copies spool objects as they are, encrypted: no key is needed, and what arrives is proved octet by octet.

What is hashed begins behind the header. The header holds the key slots, which a rotation of keys writes anew (each slot has a check of its
own); all that follows is written once.
"""

import contextlib
import hashlib
import itertools
import os
import struct
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

from relay.model.errors import SpoolError
from relay.store.spool.format import BODY_START, MAGIC, SLOT_SIZE, SLOTS, read_size
from relay.store.spool.keys import parse_slot

PIECE = 1024 * 1024
THREADS = 8  # as the spool's own sealers: more gains nothing on one disk
BATCH = 256
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Sealed:
    """What an object is: octets of the file, octets of the body in it, and SHA-256 (hex) of all behind the header."""

    size: int
    body_size: int
    digest: str


def object_path(folder: Path, name: str) -> Path:
    """Where an object lies in a folder of objects, as in the spool."""
    return folder / name[:6] / name


def look(path: Path) -> Sealed:
    """Reads the whole file. Raises SpoolError: no sealed object; OSError."""
    with path.open("rb") as file:
        return look_at(file, path.name)


def look_at(file: BinaryIO, name: str) -> Sealed:
    """The same of an object that is open; `name` is for what is wrong with it."""
    _check_header(file.read(BODY_START), name)
    body_size = read_size(file, name)
    file.seek(BODY_START)
    digest = hashlib.sha256()
    size = BODY_START
    while piece := file.read(PIECE):
        digest.update(piece)
        size += len(piece)
    return Sealed(size, body_size, digest.hexdigest())


def same_but_for_keys(file: BinaryIO, copy: Path) -> bool:
    """Whether both have the same length, and the same header: what is behind it is written once, so that it needs no second look."""
    with copy.open("rb") as other:
        same_size = file.seek(0, os.SEEK_END) == other.seek(0, os.SEEK_END)
        file.seek(0)
        other.seek(0)
        return same_size and file.read(BODY_START) == other.read(BODY_START)


def copy_object(source: Path, target: Path, mode: int = 0o600) -> Sealed:
    """A durable copy that is whole or not there. Gives what was copied. Raises SpoolError: the source is no sealed object; OSError."""
    with source.open("rb") as file:
        return copy_from(file, source.name, target, mode)


def copy_from(file: BinaryIO, name: str, target: Path, mode: int = 0o600) -> Sealed:
    """The same of an object that is open; `name` is for what is wrong with it."""
    target.parent.mkdir(mode=0o700 if mode == 0o600 else 0o770, parents=True, exist_ok=True)
    temporary = target.with_name(f"{target.name}.{os.getpid()}.new")
    digest = hashlib.sha256()
    size = BODY_START
    try:
        header = file.read(BODY_START)
        _check_header(header, name)
        body_size = read_size(file, name)
        file.seek(BODY_START)
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode), "wb") as copy:
            copy.write(header)
            while piece := file.read(PIECE):
                digest.update(piece)
                size += len(piece)
                copy.write(piece)
            copy.flush()
            os.fsync(copy.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return Sealed(size, body_size, digest.hexdigest())


def sync_folder(folder: Path) -> None:
    """What was renamed into it stays there."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def side_by_side(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[tuple[Item, Result]]:
    """The results in the order of the items: waiting for one disk sync after the other would take many times as long."""
    waiting = iter(items)
    with ThreadPoolExecutor(THREADS, thread_name_prefix="copy") as threads:
        while batch := list(itertools.islice(waiting, BATCH)):
            yield from zip(batch, threads.map(work, batch), strict=True)


def key_of(path: Path) -> bytes:
    """The id of the key that the newest sound slot is wrapped to. Raises SpoolError, OSError."""
    with path.open("rb") as file:
        return _check_header(file.read(BODY_START), path.name)


def _check_header(header: bytes, name: str) -> bytes:
    if len(header) != BODY_START or header[: len(MAGIC)] != MAGIC:
        raise SpoolError(f"spool object {name}: not a spool object, or of a format that is not known")
    found: list[tuple[int, bytes]] = []
    for start in SLOTS:
        with contextlib.suppress(SpoolError, struct.error):
            generation, identity, _, _ = parse_slot(header[start : start + SLOT_SIZE])
            found.append((generation, identity))
    if not found:
        raise SpoolError(f"spool object {name}: both key slots are damaged or wiped")
    return max(found)[1]
