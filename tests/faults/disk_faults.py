"""Every fault of the disk that is played: each sync and write between the first byte of a message and its outcome."""

from tests.faults.disk import (
    ANY,
    BODY,
    BOUNCING,
    CHECKPOINT,
    CONCLUDING,
    CREATING,
    DATABASE,
    FILLING,
    FOLDER,
    LEAVING,
    MARK,
    MARK_UNWRITTEN,
    MARKING,
    NAMING,
    PACK,
    PACKING,
    RECEIVING,
    REWRAPPING,
    SEALING,
    SPOOL,
    WAL,
    WIPING,
    DiskFault,
)

EIO, ENOSPC = "EIO", "ENOSPC"
STOPS = "stopping at once.*(could not be made durable|disk failed)"
FULL = "database or disk is full"
NOT_REWRAPPED = "a body key could not be rewrapped"
LEFT = "a body that was refused is left for the sweep"
FULL_AT_OUTCOME = DiskFault(CONCLUDING, WAL, "pwrite64", ENOSPC, says=FULL)
SPOOL_FAULTS = (
    DiskFault(CREATING, ANY, "openat", EIO, when="1+", says="the spool refused a write.*Input/output error"),
    DiskFault(CREATING, ANY, "openat", ENOSPC, when="1+", says="the spool refused a write.*No space left"),
    DiskFault(PACKING, ANY, "openat", ENOSPC, when="1+", says="452 4.3.1 Insufficient storage"),
    DiskFault(PACKING, FOLDER, "openat", EIO, when="1+", dies=True, says=STOPS),
    DiskFault(PACKING, FOLDER, "fsync", EIO, dies=True, says=STOPS),
    DiskFault(FILLING, PACK, "write", EIO, says="the spool refused a write.*Input/output error"),
    DiskFault(FILLING, PACK, "write", ENOSPC, says="the spool refused a write.*No space left"),
    DiskFault(FILLING, PACK, "fsync", EIO, dies=True, says=STOPS),
    DiskFault(FILLING, PACK, "fsync", ENOSPC, dies=True, says=STOPS),
    DiskFault(NAMING, ANY, "rename", ENOSPC, when="1+", says="452 4.3.1 Insufficient storage"),
    DiskFault(NAMING, ANY, "rename", EIO, when="1+", dies=True, says=STOPS),
    DiskFault(RECEIVING, BODY, "write", EIO, says="the spool refused a write.*Input/output error"),
    DiskFault(RECEIVING, BODY, "write", ENOSPC, says="the spool refused a write.*No space left"),
    DiskFault(SEALING, BODY, "openat", EIO, dies=True, says=STOPS),
    DiskFault(SEALING, BODY, "openat", ENOSPC, says="452 4.3.1 Insufficient storage"),
    DiskFault(SEALING, BODY, "write", EIO, dies=True, says=STOPS),
    DiskFault(SEALING, BODY, "write", ENOSPC, says="452 4.3.1 Insufficient storage"),
    DiskFault(SEALING, BODY, "fsync", EIO, dies=True, says=STOPS),
    DiskFault(SEALING, BODY, "fsync", ENOSPC, dies=True, says=STOPS),
    DiskFault(SEALING, FOLDER, "openat", EIO, dies=True, says=STOPS),
    DiskFault(SEALING, FOLDER, "fsync", EIO, dies=True, says=STOPS),
    DiskFault(SEALING, SPOOL, "fsync", EIO, dies=True, says=STOPS),
    DiskFault(WIPING, BODY, "write", EIO, says=LEFT),
    DiskFault(WIPING, BODY, "write", ENOSPC, says=LEFT),
    DiskFault(WIPING, BODY, "fsync", EIO, dies=True, says=STOPS),
    DiskFault(LEAVING, BODY, "openat", EIO, says="Input/output error"),
    DiskFault(LEAVING, BODY, "read", EIO, says="Input/output error"),
    DiskFault(BOUNCING, ANY, "openat", ENOSPC, when="1+", says="a sender can't be told now.*spool is full"),
    # the new slot, then the wiping of the old one
    DiskFault(REWRAPPING, BODY, "write", EIO, says=NOT_REWRAPPED),
    DiskFault(REWRAPPING, BODY, "write", ENOSPC, says=NOT_REWRAPPED),
    DiskFault(REWRAPPING, BODY, "write", EIO, when="2", says=NOT_REWRAPPED),
    DiskFault(REWRAPPING, BODY, "fsync", EIO, dies=True, says=STOPS),
    DiskFault(REWRAPPING, BODY, "fsync", EIO, when="2", dies=True, says=STOPS),
    DiskFault(REWRAPPING, PACK, "pwrite64", EIO, says=NOT_REWRAPPED),
    DiskFault(REWRAPPING, PACK, "pwrite64", ENOSPC, when="2", says=NOT_REWRAPPED),
    DiskFault(REWRAPPING, PACK, "fsync", EIO, dies=True, says=STOPS),
    DiskFault(MARKING, MARK, "openat", ENOSPC, says=MARK_UNWRITTEN),
    DiskFault(MARKING, MARK, "write", EIO, says=MARK_UNWRITTEN),
    DiskFault(MARKING, MARK, "write", ENOSPC, says=MARK_UNWRITTEN),
    DiskFault(MARKING, MARK, "fsync", EIO, says=MARK_UNWRITTEN),
    DiskFault(MARKING, MARK, "rename", EIO, says=MARK_UNWRITTEN),
)
STORE_FAULTS = (
    DiskFault(SEALING, WAL, "pwrite64", EIO, dies=True, says=STOPS),
    DiskFault(SEALING, WAL, "pwrite64", EIO, when="11", dies=True, says=STOPS),
    DiskFault(SEALING, WAL, "pwrite64", ENOSPC, says=FULL),
    *(DiskFault(SEALING, WAL, "pwrite64", EIO, when=str(number), dies=True, says=STOPS) for number in (2, 5, 17)),
    DiskFault(SEALING, WAL, "pwrite64", ENOSPC, when="11", says=FULL),
    *(DiskFault(SEALING, WAL, "pwrite64", ENOSPC, when=str(number), says=FULL) for number in (2, 5, 17)),
    DiskFault(SEALING, WAL, "fdatasync", EIO, dies=True, says=STOPS),
    DiskFault(SEALING, WAL, "fdatasync", ENOSPC, dies=True, says=STOPS),
    DiskFault(LEAVING, WAL, "pwrite64", EIO, dies=True, says=STOPS),
    DiskFault(LEAVING, WAL, "pwrite64", ENOSPC, says=FULL),
    DiskFault(LEAVING, WAL, "pwrite64", EIO, when="2", dies=True, says=STOPS),
    DiskFault(LEAVING, WAL, "pwrite64", ENOSPC, when="2", says=FULL),
    DiskFault(LEAVING, WAL, "fdatasync", EIO, dies=True, says=STOPS),
    DiskFault(LEAVING, WAL, "fdatasync", ENOSPC, dies=True, says=STOPS),
    DiskFault(CONCLUDING, WAL, "pwrite64", EIO, dies=True, says=STOPS),
    FULL_AT_OUTCOME,
    *(DiskFault(CONCLUDING, WAL, "pwrite64", EIO, when=str(number), dies=True, says=STOPS) for number in (3, 8)),
    *(DiskFault(CONCLUDING, WAL, "pwrite64", ENOSPC, when=str(number), says=FULL) for number in (3, 8)),
    DiskFault(CONCLUDING, WAL, "fdatasync", EIO, dies=True, says=STOPS),
    DiskFault(CONCLUDING, WAL, "fdatasync", ENOSPC, dies=True, says=STOPS),
    # SQLite keeps its log, and moves all of it into the database again at the next checkpoint: nothing is lost, and nobody is asked.
    DiskFault(CHECKPOINT, DATABASE, "pwrite64", EIO),
    DiskFault(CHECKPOINT, DATABASE, "pwrite64", ENOSPC),
    DiskFault(CHECKPOINT, DATABASE, "fdatasync", EIO),
    DiskFault(CHECKPOINT, DATABASE, "fdatasync", ENOSPC),
)
QUICK_SPOOL = tuple(
    fault
    for fault in SPOOL_FAULTS
    if (fault.stage, fault.call, fault.error)
    in {
        (CREATING, "openat", ENOSPC),
        (PACKING, "fsync", EIO),
        (FILLING, "write", EIO),
        (NAMING, "rename", ENOSPC),
        (RECEIVING, "write", EIO),
        (SEALING, "fsync", EIO),
    }
)
"""For every run of the tests, on either store."""
QUICK = (
    *QUICK_SPOOL,
    *(
        fault
        for fault in SPOOL_FAULTS
        if (fault.stage, fault.call, fault.error, fault.when)
        in {
            (WIPING, "write", EIO, "1"),
            (LEAVING, "read", EIO, "1"),
            (REWRAPPING, "write", EIO, "2"),
            (MARKING, "write", ENOSPC, "1"),
            (BOUNCING, "openat", ENOSPC, "1+"),
        }
    ),
    DiskFault(SEALING, WAL, "pwrite64", ENOSPC, says=FULL),
    DiskFault(SEALING, WAL, "fdatasync", EIO, dies=True, says=STOPS),
    FULL_AT_OUTCOME,
)
"""For every run of the tests, on SQLite; `make faults` plays them all."""
