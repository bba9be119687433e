"""Which PostgreSQL this is, and whether all that follow it have its commits: what a failover can have lost is told by these.

A promotion begins a new timeline, always (PostgreSQL documentation, 26.3.5). So a store on another timeline than that of the last commit
was failed over, or restored; what the old server said was committed is there only if its commits waited for the standby that took over.
"""

import re
from dataclasses import dataclass

from sqlalchemy import Connection, text

_NUMBERED = re.compile(r"\s*(?:(?:FIRST|ANY)\s+)?(\d+)\s*\((.*)\)\s*", re.IGNORECASE | re.DOTALL)
_NAME = re.compile(r'"(?:[^"]|"")*"|[^\s,]+')
# A role without pg_read_all_stats sees who follows by name, and nothing else of him. A base backup and an archiver of the log are no
# standby, and nor is whoever decodes the log.
_FOLLOWERS = """
    SELECT count(*) FROM pg_stat_replication
    WHERE application_name NOT IN ('pg_basebackup', 'pg_receivewal')
    AND pid NOT IN (SELECT active_pid FROM pg_replication_slots WHERE slot_type = 'logical' AND active_pid IS NOT NULL)
"""
LINEAGE = "SELECT (SELECT system_identifier FROM pg_control_system()), pg_walfile_name(pg_current_wal_lsn())"
_STANDING = text(f"{LINEAGE}, current_setting('synchronous_standby_names'), ({_FOLLOWERS})")


@dataclass(frozen=True, slots=True)
class Lineage:
    """A cluster of PostgreSQL, and its timeline."""

    system: str
    timeline: int

    def __str__(self) -> str:
        return f"timeline {self.timeline} of system {self.system}"


@dataclass(frozen=True, slots=True)
class Standing:
    """A server at one moment. `waits`: a commit waits for everybody who follows, so that no promotion of one of them can lose it."""

    lineage: Lineage
    followers: int
    waits: bool


def parse(system: object, wal_file: str) -> Lineage:
    """The first eight digits of the name of a WAL file are the timeline, in hex (PostgreSQL documentation, 30.6)."""
    return Lineage(str(system), int(wal_file[:8], 16))


def standing(connection: Connection) -> Standing | None:
    """None on SQLite, which nothing follows."""
    if connection.dialect.name != "postgresql":
        return None
    system, wal_file, names, followers = connection.execute(_STANDING).one()
    return Standing(parse(system, wal_file), followers, everybody_waits(names, followers))


def everybody_waits(names: str, followers: int) -> bool:
    """Whether `synchronous_standby_names` lets no commit go before each of so many followers, and each that it names, has it."""
    numbered = _NUMBERED.fullmatch(names)
    wanted, listed = (int(numbered[1]), numbered[2]) if numbered else (1, names)
    found = _NAME.findall(listed)
    return bool(found) and wanted >= followers and ("*" in found or wanted >= len(found))
