"""A mark outside the database that says how far its commits have come, so that a store which went back in time is known by it.

The mark lies beside the bodies: `high-water-<machine>.json`, the newest event of the store as it was seen after a commit, and never one
that is not committed. A store that does not know the event of a mark was restored from a backup, or failed over to a standby that lagged.
It also says on which timeline of PostgreSQL that was, and whether commits there waited for everybody who followed: a promotion that could
have lost any, however few, is known by these.
What was found is kept: `store-behind.json` until a person has let the brake go, then `store-gap-<time>.json` for good: bodies of that time
may be of messages that heard 250 and have no row any more.
"""

import contextlib
import json
import os
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Connection, select

from relay.model.ids import id_time_us
from relay.settings.models import Spool
from relay.store.lineage import Lineage, standing
from relay.store.tables import RARE_EVENTS, Event, EventRecord, Message

EVENT = Event.__table__  # type: ignore[attr-defined]
MESSAGE = Message.__table__  # type: ignore[attr-defined]
RECORD = EventRecord.__table__  # type: ignore[attr-defined]
DAY_US = 86_400_000_000
MARK = "high-water-"
GAP = "store-gap-"
BEHIND = "store-behind.json"
FORGOTTEN_US = 30 * DAY_US
"""A mark that is older, and older than every event too, names an event that retention may have dropped."""
OTHERS_US = 7 * DAY_US
"""After this long the mark of a machine that is gone is taken away, if the store knows its event."""
AHEAD_US = 60_000_000
"""Events further in the future were written while a clock was wrong, and would hide all that comes after them."""
GAP_BEGINS_EARLIER_US = DAY_US
"""The id of a body is made before its event: by a session at most. A day more keeps orphans, and costs nothing else."""


class Marks(Protocol):
    """Small named values beside the bodies. Each is replaced whole and durably, or stays as it was. Methods raise OSError."""

    def read(self) -> dict[str, bytes]:
        """All of them, by name."""
        ...

    def write(self, name: str, data: bytes) -> None: ...

    def remove(self, name: str) -> None:
        """What is gone already is no error."""
        ...


class FolderMarks:
    """Marks as files in the spool's folder, beside the folders of the bodies."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        if self._folder.is_dir():
            for path in self._folder.glob("*.json"):
                with contextlib.suppress(FileNotFoundError):
                    found[path.name] = path.read_bytes()
        return found

    def write(self, name: str, data: bytes) -> None:
        temporary = self._folder / f"{name}.{os.getpid()}.new"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o660)
        try:
            os.write(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.replace(self._folder / name)
        self._sync_folder()

    def remove(self, name: str) -> None:
        (self._folder / name).unlink(missing_ok=True)
        self._sync_folder()

    def _sync_folder(self) -> None:
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def marks_of(settings: Spool) -> Marks:
    """Where the marks of a spool are."""
    if settings.s3 is None:
        return FolderMarks(settings.folder)
    from relay.store.spool.s3_marks import S3Marks  # as in relay/store/spool/open.py

    return S3Marks(settings.s3)


@dataclass(frozen=True, slots=True)
class Mark:
    """`event` was committed; its id tells when. `machine` saw it, on `lineage`, which SQLite does not have; `waits` is its Standing's."""

    machine: str
    event: uuid.UUID
    lineage: Lineage | None = None
    waits: bool = False

    @property
    def name(self) -> str:
        """Of the file."""
        return f"{MARK}{re.sub(r'[^A-Za-z0-9.-]', '_', self.machine)}.json"

    @property
    def time_us(self) -> int:
        """When the event was made: microseconds since 1970 UTC."""
        return id_time_us(self.event)

    def to_json(self) -> dict[str, Any]:
        value = {"machine": self.machine, "event": self.event.hex, "time_us": self.time_us}
        if self.lineage is not None:
            value |= {"system": self.lineage.system, "timeline": self.lineage.timeline, "waits": self.waits}
        return value

    def left_by(self, here: Lineage | None) -> bool:
        """Whether the store, now `here`, is another than the one that made the mark. One of before there were timelines can't tell."""
        return self.lineage is not None and self.lineage != here

    def carried_to(self, here: Lineage | None) -> bool:
        """Whether a standby for which every commit had waited took its place: then it has them all."""
        mine = self.lineage
        return self.waits and mine is not None and here is not None and mine.system == here.system and mine.timeline < here.timeline


@dataclass(frozen=True, slots=True)
class Behind:
    """A store that does not know the events of `marks`, or may lack what came after them; `newest` is the newest that it knows. `brake` is
    the event that pulled the brake for it: in that store, and in no other one that was restored since."""

    marks: tuple[Mark, ...]
    newest: uuid.UUID | None
    found_us: int
    brake: uuid.UUID

    def to_json(self) -> dict[str, Any]:
        newest = self.newest.hex if self.newest else None
        marks = [mark.to_json() for mark in self.marks]
        return {"marks": marks, "newest": newest, "found_us": self.found_us, "brake": self.brake.hex}

    @property
    def gap(self) -> "Gap":
        """The time from which rows may be missing."""
        newest_us = id_time_us(self.newest) if self.newest else 0
        return Gap(max(0, newest_us - GAP_BEGINS_EARLIER_US), self.found_us)


@dataclass(frozen=True, slots=True)
class Gap:
    """Bodies made in this time may be of messages whose rows are lost: they are no orphans. Microseconds since 1970 UTC."""

    from_us: int
    until_us: int

    def covers(self, identity: uuid.UUID) -> bool:
        """Whether the body of this id was made in the gap."""
        return self.from_us <= id_time_us(identity) <= self.until_us


def encoded(value: dict[str, Any]) -> bytes:
    """As it stands in a file."""
    return json.dumps(value, indent=1).encode() + b"\n"


def read_marks(files: dict[str, bytes]) -> list[Mark]:
    """The marks of all machines. One that can't be read counts as missing: it is replaced whole, so that no crash of ours leaves one."""
    found = []
    for name, data in sorted(files.items()):
        if name.startswith(MARK):
            with contextlib.suppress(ValueError, KeyError, TypeError):
                found.append(_mark(json.loads(data)))
    return found


def read_behind(files: dict[str, bytes]) -> Behind | None:
    """What was found at an earlier start, and no person has let go of the brake since. What can't be read is found again."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        value = json.loads(files[BEHIND])
        newest = uuid.UUID(value["newest"]) if value["newest"] else None
        return Behind(tuple(_mark(mark) for mark in value["marks"]), newest, int(value["found_us"]), uuid.UUID(value["brake"]))
    return None


def read_gaps(files: dict[str, bytes], now_us: int) -> list[Gap]:
    """Of stores that went back, the present one too."""
    found = []
    for name, data in files.items():
        if name.startswith(GAP):
            with contextlib.suppress(ValueError, KeyError, TypeError):
                value = json.loads(data)
                found.append(Gap(int(value["from_us"]), int(value["until_us"])))
    behind = read_behind(files)
    if behind is not None:
        found.append(Gap(behind.gap.from_us, now_us))
    return found


def _mark(value: dict[str, Any]) -> Mark:
    lineage = Lineage(str(value["system"]), int(value["timeline"])) if "timeline" in value else None
    return Mark(str(value["machine"]), uuid.UUID(value["event"]), lineage, waits=value.get("waits") is True)


def newest_event(connection: Connection, now_us: int) -> uuid.UUID | None:
    """The newest committed event that is not of the future; one descent of the primary key. None: there is none."""
    last = uuid.UUID(int=((now_us + AHEAD_US) // 1000 << 80) | (1 << 80) - 1)
    query = select(EVENT.c.id).where(EVENT.c.id <= last).order_by(EVENT.c.id.desc()).limit(1)
    return connection.execute(query).scalar()


def unknown_marks(connection: Connection, marks: Sequence[Mark], now_us: int) -> list[Mark]:
    """Those whose event the store does not have and should have."""
    if not marks:
        return []
    wanted = {mark.event for mark in marks}
    known = set(connection.execute(select(EVENT.c.id).where(EVENT.c.id.in_(wanted))).scalars())
    missing = [mark for mark in marks if mark.event not in known]
    if not missing:
        return []
    oldest = connection.execute(select(EVENT.c.id).order_by(EVENT.c.id).limit(1)).scalar()
    return [mark for mark in missing if oldest is None or mark.event >= oldest or mark.time_us > now_us - FORGOTTEN_US]


def is_known(connection: Connection, identity: uuid.UUID) -> bool:
    """Whether the store has this event."""
    return connection.execute(select(EVENT.c.id).where(EVENT.c.id == identity)).first() is not None


def was_said(connection: Connection, result: str, since: uuid.UUID) -> bool:
    """Whether an event of the mark with this result is newer than the event `since`."""
    query = (
        select(RECORD.c.canonical)
        .join(EVENT, EVENT.c.id == RECORD.c.event_id)
        .where(RARE_EVENTS, EVENT.c.kind == "high-water", EVENT.c.id > since)
    )
    return any(json.loads(canonical)["result"] == result for canonical in connection.execute(query).scalars() if canonical)


def has_messages(connection: Connection) -> bool:
    """Whether any mail was ever taken."""
    return connection.execute(select(MESSAGE.c.id).limit(1)).first() is not None


def mark_first(marks: Marks, connection: Connection, machine: str, now_us: int) -> None:
    """For a store that was filled by a command, and compared: that it came this far, where a spool has no mark yet. Others stay, for they
    may know more; but their store is this one from here on. Raises OSError."""
    newest, here = newest_event(connection, now_us), standing(connection)
    lineage = here.lineage if here is not None else None
    found = read_marks(marks.read())
    if newest is not None and not found:
        found = [Mark(machine, newest)]
    for mark in found:
        marks.write(mark.name, encoded(replace(mark, lineage=lineage, waits=False).to_json()))
