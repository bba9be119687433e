"""What an inspect worker is told of the settings: the limits that it keeps, and how it asks clamd. The rest, such as where the store is, is
nothing that hostile bytes should find; and a worker that need not check settings need not load what checks them.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """Units and meanings are those of `relay.settings.models`, Inspection and Clamd. `rules` is a folder; `clamd` is whether there is one,
    for its socket is the pool's to connect to."""

    rules: str | None
    memory: int
    cpu_seconds: int
    header_size: int
    parts: int
    depth: int
    archive_members: int
    archive_bytes: int
    archive_depth: int
    archive_ratio: int
    clamd: bool
    connect_timeout: float
    scan_deadline: float
    cache_entries: int
    cache_seconds: float
