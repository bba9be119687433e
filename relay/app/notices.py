"""Writes delivery status notifications and takes them in like any other message: inspected, decided, recorded."""

import logging
from collections.abc import Sequence

from relay.admission import PolicyInForce
from relay.app.intake import RoadIntake
from relay.deliver.bounce import Notice, build_dsn, wanted
from relay.deliver.bounce_text import Action
from relay.model.errors import Refusal, SpoolError
from relay.model.ids import new_id
from relay.model.message import Claimed, Outcome
from relay.model.ports import Clock
from relay.store.spool.ports import Spool

log = logging.getLogger("sluis.deliver")
HEADER_OCTETS = 64 * 1024


class Notices:
    """Where a notice goes is the vouched reverse-path, or nowhere (promise 13)."""

    def __init__(self, intake: RoadIntake, policies: PolicyInForce, spool: Spool, clock: Clock, hostname: str) -> None:
        self._intake = intake
        self._policies = policies
        self._spool = spool
        self._clock = clock
        self._hostname = hostname

    async def send(self, action: Action, claimed: Claimed, outcomes: Sequence[Outcome]) -> bool:
        """Tells the sender of those outcomes that it wants to hear of. False: it should have been told, and may not be. Raises Refusal,
        StoreError and OSError where it can't be told now."""
        message = claimed.message
        recipients = {ticket.ordinal: ticket.recipient for ticket in claimed.tickets}
        reported = [
            (recipients[outcome.ordinal], outcome) for outcome in outcomes if wanted(message, recipients[outcome.ordinal], action, outcome)
        ]
        if not reported or message.sender.path is None:
            return True
        identity = new_id()
        notice = Notice(
            action,
            message,
            reported,
            await self._header(message.spool_object),
            identity,
            self._hostname,
            self._clock.now_us(),
            claimed.expires_us,
        )
        replies = await self._intake.take_in(identity, build_dsn(notice), message.sender.path, self._policies.current())
        taken = all(reply.positive for reply in replies)
        later = next((reply for reply in replies if not reply.positive and not reply.permanent), None)
        if later is not None:
            raise Refusal(later, f"a notice was deferred on our own road: {later}")
        if not taken:
            log.error("a notice was refused on our own road", extra={"fields": {"message": message.id.hex, "reply": str(replies[0])}})
        return taken

    async def _header(self, name: str) -> bytes:
        """The header of the original; empty where its body can't be read any more."""
        try:
            reader = (await self._spool.fetch(name))()
        except SpoolError:
            return b""
        found = b""
        try:
            for chunk in reader.chunks():
                found += chunk
                if b"\r\n\r\n" in found or len(found) > HEADER_OCTETS:
                    break
        except SpoolError:
            return b""
        finally:
            reader.close()
        return found[:HEADER_OCTETS].partition(b"\r\n\r\n")[0] + b"\r\n"
