"""Who wrote to whom before, looked up in the record before a message is decided: deciding itself reads no database."""

from collections.abc import Sequence
from datetime import UTC, datetime, time
from functools import partial
from zoneinfo import ZoneInfo

from relay.model.errors import StoreError
from relay.model.ports import FirstTimes
from relay.store import corresponded
from relay.store.journal import Journal
from relay.store.reader import Reader


class RecordedCorrespondence:
    """A Correspondence over the record."""

    def __init__(self, journal: Journal, reader: Reader) -> None:
        self._journal = journal
        self._reader = reader

    async def first_times(self, sender: str, recipients: Sequence[str], zone: str, now_us: int) -> FirstTimes:
        """A store that does not answer makes both unknown."""
        try:
            day_us = day_start_us(zone, now_us)
            keys = sorted(set(recipients))
            found, before = await self._reader.read(partial(corresponded.asked, sender=sender, recipients=keys, day_us=day_us))
            if found is None:
                return FirstTimes()
            if not found:
                return FirstTimes((), before)
            work = partial(corresponded.count, sender=sender, day_us=day_us, amount=len(found))
            return FirstTimes(found, await self._journal.submit(work))
        except StoreError:
            return FirstTimes()


def day_start_us(zone: str, now_us: int) -> int:
    """When the day of a place began, in microseconds since 1970 UTC."""
    today = datetime.fromtimestamp(now_us / 1e6, ZoneInfo(zone)).date()
    return int(datetime.combine(today, time(), ZoneInfo(zone)).astimezone(UTC).timestamp()) * 1_000_000
