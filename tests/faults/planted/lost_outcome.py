"""A relay that loses the first outcome of each message: it takes the delivery for one that was never tried, and makes it again."""

import uuid
from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, update

import relay.app.composition
from relay.cli import main
from relay.model.message import Outcome, Signed
from relay.record import Record
from relay.store.tables import Queue

QUEUE = Queue.__table__  # type: ignore[attr-defined]
_lost: set[uuid.UUID] = set()


class ForgetfulRecord(Record):
    """Takes the mark away, and nothing is told of the attempt."""

    async def outcomes(self, signed: Signed, outcomes: Sequence[Outcome], next_us: Mapping[int, int]) -> None:
        identity = signed.claimed.message.id
        if identity in _lost:
            await super().outcomes(signed, outcomes, next_us)
            return
        _lost.add(identity)

        def work(connection: Connection) -> None:
            forgotten = {"owner": None, "lease_until_us": None, "marked_fence": None}
            connection.execute(update(QUEUE).where(QUEUE.c.message_id == identity).values(**forgotten))

        await self._journal.submit(work)


if __name__ == "__main__":
    vars(relay.app.composition)["Record"] = ForgetfulRecord
    main()
