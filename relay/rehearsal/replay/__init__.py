"""Recorded traffic decided again under another policy, and the difference told. It reads the record in short pages, and changes nothing."""

from relay.rehearsal.replay.counts import Counts
from relay.rehearsal.replay.run import Asked, replay

__all__ = ["Asked", "Counts", "replay"]
