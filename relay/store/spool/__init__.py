"""The spool: one encrypted object for each body. Intake can write and not read; no byte is used before its tag is checked."""

from relay.store.spool.folder import FolderSpool, SpoolFatal, SpoolReader
from relay.store.spool.open import open_spool
from relay.store.spool.ports import LocalObject, Spool, identity_of

__all__ = ["FolderSpool", "LocalObject", "Spool", "SpoolFatal", "SpoolReader", "identity_of", "open_spool"]
