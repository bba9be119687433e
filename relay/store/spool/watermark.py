"""Says when the local disk is nearly full, and what a client hears then."""

import os
import time

from relay.settings.models import Spool as SpoolSettings

WATERMARK_SECONDS = 1.0


class Watermark:
    """The disk that the spool's folder is on."""

    def __init__(self, settings: SpoolSettings) -> None:
        self._settings = settings
        self._full = (0.0, False)

    def full(self) -> bool:
        """Above the watermark, or less than the reserve left. Looked up once a second."""
        now = time.monotonic()
        if now - self._full[0] > WATERMARK_SECONDS:
            state = os.statvfs(self._settings.folder)
            used = 100 * (1 - state.f_bavail / max(state.f_blocks, 1))
            self._full = (now, used > self._settings.full_percent or state.f_bavail * state.f_frsize < self._settings.reserve)
        return self._full[1]

    def free_bytes(self) -> int:
        """What is left."""
        state = os.statvfs(self._settings.folder)
        return state.f_bavail * state.f_frsize
