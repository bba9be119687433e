"""How much of the mail of late some patterns would cover: counted over recipients in the record, newest first, in short reads."""

import asyncio
import re
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection, select, tuple_

from relay.store.reader import Reader
from relay.store.tables import Delivery

DELIVERY = Delivery.__table__  # type: ignore[attr-defined]
PAGE = 5000
MAX_RECIPIENTS = 100_000
MAX_MATCHES = 2_000_000
"""Recipients times patterns: about a second of work, in pieces, beside the mail."""


@dataclass(frozen=True, slots=True)
class Share:
    """How many of `of` recipients a pattern covers."""

    matched: int
    of: int

    @property
    def percent(self) -> float:
        """Of all that were looked at; none of nothing."""
        return 100 * self.matched / self.of if self.of else 0.0


async def shares(reader: Reader, patterns: Mapping[str, re.Pattern[str]], since_us: int) -> dict[str, Share]:
    """By the key of the pattern. Looks at the newest recipients since then, so many that it stays short. Raises StoreError."""
    if not patterns:
        return {}
    room = min(MAX_RECIPIENTS, MAX_MATCHES // len(patterns))
    first = uuid.UUID(int=max(since_us // 1000, 0) << 80)  # RFC 9562 §5.7
    matched: Counter[str] = Counter()
    seen, after = 0, None
    while seen < room:
        rows = await reader.read(partial(_page, first=first, after=after, limit=min(PAGE, room - seen)))
        if not rows:
            break
        after = rows[-1][:2]
        seen += len(rows)
        matched.update(await asyncio.to_thread(_matched, Counter(row[2] for row in rows), patterns))
    return {key: Share(matched[key], seen) for key in patterns}


def _page(connection: Connection, first: uuid.UUID, after: tuple[uuid.UUID, int] | None, limit: int) -> list[tuple[uuid.UUID, int, str]]:
    key = (DELIVERY.c.message_id, DELIVERY.c.ordinal)
    query = select(*key, DELIVERY.c.recipient).where(DELIVERY.c.message_id >= first)
    if after is not None:
        query = query.where(tuple_(*key) < after, DELIVERY.c.message_id <= after[0])
    rows = connection.execute(query.order_by(key[0].desc(), key[1].desc()).limit(limit))
    return [(row.message_id, row.ordinal, row.recipient) for row in rows]


def _matched(recipients: Counter[str], patterns: Mapping[str, re.Pattern[str]]) -> Counter[str]:
    return Counter({key: sum(count for one, count in recipients.items() if pattern.match(one)) for key, pattern in patterns.items()})
