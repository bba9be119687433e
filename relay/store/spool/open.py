"""The kind of spool that the settings ask for."""

from collections.abc import Callable

from relay.model.ports import BodyHash
from relay.settings.models import Spool as SpoolSettings
from relay.store.spool.folder import FolderSpool
from relay.store.spool.keys import SpoolKeys
from relay.store.spool.ports import Spool


def open_spool(
    settings: SpoolSettings,
    body_hash: Callable[[], BodyHash],
    keys: SpoolKeys | None = None,
    on_fatal: Callable[[str], None] | None = None,
) -> Spool:
    """`body_hash` makes a fresh hash for each body; `on_fatal` is told when a sync failed: the process must stop. Raises
    ConfigurationError: no keys, no credentials; OSError: no folder."""
    if settings.s3 is not None:
        from relay.store.spool.s3 import S3Spool  # 16 MB of machine code, which a folder does not need

        return S3Spool(settings, body_hash, keys)
    return FolderSpool(settings, body_hash, keys, on_fatal)
