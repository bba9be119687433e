"""Who wrote to whom before, looked up in the record before a message is decided: deciding itself reads no database."""

from collections import OrderedDict
from collections.abc import Sequence
from datetime import UTC, datetime, time
from functools import partial
from zoneinfo import ZoneInfo

from relay.model.errors import StoreError
from relay.model.ports import FirstTimes
from relay.store import corresponded
from relay.store.journal import Journal
from relay.store.reader import Reader

MOST = 10_000
"""Pairs that are remembered, some 300 octets each; the oldest goes."""


class RecordedCorrespondence:
    """A Correspondence over the record. Pairs to whom something was delivered are remembered: that can't become untrue, but for what
    retention erases, and to look it up among a thousand messages costs a millisecond."""

    def __init__(self, journal: Journal, reader: Reader) -> None:
        self._journal = journal
        self._reader = reader
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()

    async def first_times(self, sender: str, recipients: Sequence[str], zone: str, now_us: int, count: bool) -> FirstTimes:
        """A store that does not answer makes both unknown. Of known pairs alone nothing is read but for the number of the day."""
        unsure = sorted({recipient for recipient in recipients if (sender, recipient) not in self._known})
        if not unsure and not count:
            return FirstTimes(())
        try:
            day_us = day_start_us(zone, now_us)
            found, before = await self._reader.read(partial(corresponded.asked, sender=sender, unsure=unsure, day_us=day_us))
            if found is None:
                return FirstTimes()
            self._remember(sender, [recipient for recipient in unsure if recipient not in found])
            if not found:
                return FirstTimes((), before)
            work = partial(corresponded.count, sender=sender, day_us=day_us, amount=len(found))
            return FirstTimes(found, await self._journal.submit(work))
        except StoreError:
            return FirstTimes()

    def _remember(self, sender: str, recipients: Sequence[str]) -> None:
        for recipient in recipients:
            self._known[sender, recipient] = None
        while len(self._known) > MOST:
            self._known.popitem(last=False)


def day_start_us(zone: str, now_us: int) -> int:
    """When the day of a place began, in microseconds since 1970 UTC."""
    today = datetime.fromtimestamp(now_us / 1e6, ZoneInfo(zone)).date()
    return int(datetime.combine(today, time(), ZoneInfo(zone)).astimezone(UTC).timestamp()) * 1_000_000
