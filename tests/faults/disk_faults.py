"""Every fault of the disk that is played: each sync and write between the first byte of a message and its outcome."""

from tests.faults.disk import BODY, CHECKPOINT, CONCLUDING, DATABASE, FOLDER, LEAVING, RECEIVING, SEALING, SPOOL, WAL, DiskFault

EIO, ENOSPC = "EIO", "ENOSPC"
STOPS = "stopping at once.*(could not be made durable|disk failed)"
FULL = "database or disk is full"
FULL_AT_OUTCOME = DiskFault(CONCLUDING, WAL, "pwrite64", ENOSPC, says=FULL)
SPOOL_FAULTS = (
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
    DiskFault(LEAVING, BODY, "openat", EIO, says="Input/output error"),
    DiskFault(LEAVING, BODY, "read", EIO, says="Input/output error"),
)
STORE_FAULTS = (
    DiskFault(SEALING, WAL, "pwrite64", EIO, dies=True, says=STOPS),
    DiskFault(SEALING, WAL, "pwrite64", EIO, when="11", dies=True, says=STOPS),
    DiskFault(SEALING, WAL, "pwrite64", ENOSPC, says=FULL),
    DiskFault(SEALING, WAL, "pwrite64", ENOSPC, when="11", says=FULL),
    DiskFault(SEALING, WAL, "fdatasync", EIO, dies=True, says=STOPS),
    DiskFault(SEALING, WAL, "fdatasync", ENOSPC, dies=True, says=STOPS),
    DiskFault(LEAVING, WAL, "pwrite64", EIO, dies=True, says=STOPS),
    DiskFault(LEAVING, WAL, "pwrite64", ENOSPC, says=FULL),
    DiskFault(LEAVING, WAL, "fdatasync", EIO, dies=True, says=STOPS),
    DiskFault(CONCLUDING, WAL, "pwrite64", EIO, dies=True, says=STOPS),
    FULL_AT_OUTCOME,
    DiskFault(CONCLUDING, WAL, "fdatasync", EIO, dies=True, says=STOPS),
    # SQLite keeps its log, and moves all of it into the database again at the next checkpoint: nothing is lost, and nobody is asked.
    DiskFault(CHECKPOINT, DATABASE, "pwrite64", EIO),
    DiskFault(CHECKPOINT, DATABASE, "pwrite64", ENOSPC),
    DiskFault(CHECKPOINT, DATABASE, "fdatasync", EIO),
)
QUICK = (*SPOOL_FAULTS[:2], SPOOL_FAULTS[5], SPOOL_FAULTS[6], *SPOOL_FAULTS[-2:], STORE_FAULTS[2], STORE_FAULTS[4], FULL_AT_OUTCOME)
"""For every run of the tests; `make faults` plays them all."""
