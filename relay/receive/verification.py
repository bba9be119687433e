"""Whether an inbound recipient exists: a list file, or a cached RCPT probe of the next hop. Unknown by fault is 451, never a guess."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from enum import Enum

from relay.model.envelope import Recipient
from relay.model.errors import SluisError
from relay.model.ports import Clock
from relay.model.reply import Reply
from relay.policy.lists import FOLDER
from relay.policy.match import pattern_matches
from relay.policy.models import Policy, RecipientCheck, Recipients, Route

log = logging.getLogger("sluis.receive")

FOUND_SECONDS = 4 * 3600  # a new mailbox is rare, a deleted one rarer: Postfix keeps positive answers for 31 days, refreshed weekly
NOT_FOUND_SECONDS = 300  # short: an address that was just made must not stay refused
ENTRIES = 50_000  # about 10 MB


class Found(Enum):
    """The three answers."""

    FOUND = "found"
    NOT_FOUND = "not found"
    UNKNOWN = "unknown"


class RecipientVerifier:
    """`probe(route, recipient)` asks the next hop, and gives its reply to RCPT TO. At most one probe at a time for an address."""

    def __init__(self, probe: Callable[[Route, Recipient], Awaitable[Reply]], clock: Clock) -> None:
        self._probe = probe
        self._clock = clock
        self._cache: OrderedDict[tuple[str, str, str], tuple[Found, int]] = OrderedDict()
        self._running: dict[tuple[str, str, str], asyncio.Task[Found]] = {}

    async def verify(self, recipient: Recipient, policy: Policy) -> Found:
        """Looks the recipient up. A domain of ours without an entry in `recipients.yaml` is unknown: nobody said how to check it."""
        address = recipient.mailbox.key
        entry = next((entry for entry in policy.recipients if any(pattern_matches(p, address) for p in entry.domains)), None)
        if entry is None:
            return Found.UNKNOWN
        if entry.check is RecipientCheck.LIST:
            known = policy.lists.get((entry.file or "").removeprefix(FOLDER).removesuffix(".txt"))
            return Found.FOUND if known is not None and address in known.literal else Found.NOT_FOUND
        return await self._probed(entry, recipient, policy)

    async def _probed(self, entry: Recipients, recipient: Recipient, policy: Policy) -> Found:
        route = next((route for route in policy.routes if route.name == entry.route), None)
        if route is None:
            return Found.UNKNOWN
        key = (policy.digest, route.name, recipient.mailbox.key)
        cached = self._cache.get(key)
        if cached and cached[1] > self._clock.now_us():
            self._cache.move_to_end(key)
            return cached[0]
        task = self._running.get(key)
        if task is None:
            task = asyncio.create_task(self._ask(key, route, recipient))
            self._running[key] = task
            task.add_done_callback(lambda _: self._running.pop(key, None))
        return await asyncio.shield(task)

    async def _ask(self, key: tuple[str, str, str], route: Route, recipient: Recipient) -> Found:
        try:
            reply = await self._probe(route, recipient)
        except SluisError as error:
            log.warning("a recipient can't be verified", extra={"fields": {"route": route.name, "error": str(error)}})
            return Found.UNKNOWN
        if reply.positive:
            found, seconds = Found.FOUND, FOUND_SECONDS
        elif reply.permanent and reply.subject in (None, 1):
            # RFC 3463 §3.2: X.1.x speaks of the address. Another 5xx (policy of the next hop, TLS) says nothing about the mailbox.
            found, seconds = Found.NOT_FOUND, NOT_FOUND_SECONDS
        else:
            return Found.UNKNOWN
        self._cache[key] = (found, self._clock.now_us() + seconds * 1_000_000)
        if len(self._cache) > ENTRIES:
            self._cache.popitem(last=False)
        return found
