"""Tells people of ours that a rule matched, where the rule says so: once for each message and rule, also across a crash."""

import asyncio
import logging
from functools import partial

from sqlalchemy import Connection

from relay.admission import PolicyInForce
from relay.app.intake import RoadIntake
from relay.app.jobs import Jobs
from relay.audit.event import make_event, write
from relay.deliver.rule_notice import RuleNotice, build_rule_notice
from relay.model.address import Mailbox
from relay.model.errors import SluisError
from relay.model.ids import new_id
from relay.model.ports import Clock
from relay.model.text import printable
from relay.store import notifications
from relay.store.counters import Counters
from relay.store.journal import Journal
from relay.store.notifications import Due
from relay.store.reader import Reader

log = logging.getLogger("sluis.app")
LOOK_SECONDS = 2.0
TURN_SECONDS = 10.0
PAGE = 100
HOUR_US = 3_600 * 1_000_000
SCOPE = "rule-notices"
AGAIN_US = 300 * 1_000_000
"""What our own road does not take now, such as while a scanner is away, is written again after this time."""


class RuleNotices:
    """The notices come into the record with the message that they are about (relay/store/notifications.py); here they are written, and
    enter the road from the null reverse-path like any other message of ours. A rule may match mail from outside, which anybody can send:
    of one rule an address gets `each_hour` in an hour, and in the next hour one notice that tells of all that was held back."""

    def __init__(
        self,
        intake: RoadIntake,
        policies: PolicyInForce,
        journal: Journal,
        reader: Reader,
        clock: Clock,
        jobs: Jobs,
        counters: Counters,
        each_hour: int,
        hostname: str,
        owner: str,
    ) -> None:
        self._intake = intake
        self._policies = policies
        self._journal = journal
        self._reader = reader
        self._clock = clock
        self._jobs = jobs
        self._counters = counters
        self._each_hour = each_hour
        self._hostname = hostname
        self._owner = owner

    async def run(self) -> None:
        """Until it is cancelled; a store that is away for a while is asked again."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.turn()
            except SluisError as error:
                log.error("notices of rules can't be written now", extra={"fields": {"error": str(error)}})

    async def turn(self) -> None:
        """All that is due. One process at a time, so that nobody is told twice. Raises SluisError."""
        while found := await self._reader.read(partial(notifications.due, now_us=self._clock.now_us(), limit=PAGE)):
            if not await self._jobs.mine("notices", TURN_SECONDS):
                return
            for told in found:
                await self._write(told)
                if told.held:
                    break  # others on this page may have been told of in it

    async def _write(self, told: Due) -> None:
        if told.written:
            return await self._done(told, "250")
        more = 0
        if told.held:
            more = await self._reader.read(partial(notifications.held_beside, told=told))
        elif not await self._has_room(told):
            return await self._hold_back(told)
        raw = build_rule_notice(
            RuleNotice(
                told.notice_id,
                self._hostname,
                self._clock.now_us(),
                told.address,
                told.message_id,
                told.rule,
                told.because,
                told.sender,
                told.recipients,
                more,
            )
        )
        local, _, domain = told.address.rpartition("@")
        [reply] = await self._intake.take_in(told.notice_id, raw, Mailbox(local, domain), self._policies.current())
        if reply.positive:
            return await self._done(told, "250", more)
        fields = {"message": told.message_id.hex, "rule": told.rule, "reply": str(reply)}
        log.error("a notice of a rule was refused on our own road", extra={"fields": fields})
        if reply.code >= 500:
            return await self._done(told, str(reply))
        due_us = self._clock.now_us() + AGAIN_US
        work = partial(notifications.again, told=told, notice_id=new_id(), due_us=due_us, result=str(reply))
        return await self._journal.submit(work)

    async def _has_room(self, told: Due) -> bool:
        key = f"{told.rule} {told.address}"
        return await self._counters.take(SCOPE, key, HOUR_US, self._each_hour, 1, self._clock.now_us())

    async def _hold_back(self, told: Due) -> None:
        now_us = self._clock.now_us()
        log.warning("a notice of a rule is held back until the next hour", extra={"fields": {"rule": told.rule, "address": told.address}})
        await self._journal.submit(partial(notifications.hold_back, told=told, due_us=now_us - now_us % HOUR_US + HOUR_US))

    async def _done(self, told: Due, result: str, more: int = 0) -> None:
        event = make_event(
            "notified",
            object_=f"message {told.message_id.hex}",
            result=result,
            origin="process",
            actor=self._owner,
            time_us=self._clock.now_us(),
            reason=printable(f"rule {told.rule}"),
            message_id=told.message_id,
            details={"rule": told.rule, "address": told.address, "notice": told.notice_id.hex} | ({"more": more} if more else {}),
        )

        def work(connection: Connection) -> None:
            notifications.done(connection, told, result)
            if told.held:
                notifications.told_with(connection, told)
            write(connection, [event])

        await self._journal.submit(work)
