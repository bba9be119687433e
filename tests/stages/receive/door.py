"""Admission with fakes around it: a clock that a test turns, counters in memory, a next hop that answers what a test says."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import pytest

from relay.admission import Admission
from relay.model.client import Peer, Side
from relay.model.decision import Epoch
from relay.model.envelope import Recipient, Sender
from relay.model.errors import Refusal
from relay.model.reply import Reply
from relay.policy.models import Client, Policy, RecipientCheck, Recipients, Route
from relay.receive.rates import Rates
from relay.receive.transaction import Transaction
from relay.receive.verification import RecipientVerifier
from tests.fakes.custody import NOW_US, PEER, mailbox
from tests.stages.decide.cases import EPOCH, PASS, policy

Result = TypeVar("Result")
INSIDE = Client(name="exchange", side=Side.INSIDE, logins=("desk",), may_send_as=("example.nl",), may_send_to=("*",))
OUTSIDE = Client(name="internet", side=Side.OUTSIDE, require_tls=False, may_send_as=("*",), may_send_to=("*",))
FOUND = Reply(250, 1, 5, "Ok")
CHECK = Recipients(domains=("example.nl",), check=RecipientCheck.PROBE, route="inside")
ROUTE = Route(name="inside", to=("example.nl",), smart_host="mail.example.nl:25")


def run(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Runs one dialogue to its end."""
    return asyncio.run(asyncio.wait_for(coroutine, 60))


@dataclass
class Clock:
    """Time stands still until a test moves it."""

    us: int = NOW_US

    def now_us(self) -> int:
        return self.us


@dataclass
class Counters:
    """As the store counts, without one."""

    counts: dict[tuple[str, str, int], int] = field(default_factory=dict)

    async def take(self, scope: str, key: str, window_us: int, limit: int, amount: int, now_us: int) -> bool:
        window = (scope, key, now_us // window_us)
        if self.counts.get(window, 0) + amount > limit:
            return False
        self.counts[window] = self.counts.get(window, 0) + amount
        return True


@dataclass
class NextHop:
    """Answers RCPT probes with `reply`, or raises it; `asked` are the addresses; a probe waits while `gate` is closed."""

    reply: Reply | Exception = FOUND
    asked: list[str] = field(default_factory=list)
    gate: asyncio.Event | None = None

    async def probe(self, route: Route, recipient: Recipient) -> Reply:
        self.asked.append(f"{recipient} over {route.name}")
        if self.gate is not None:
            await self.gate.wait()
        if isinstance(self.reply, Exception):
            raise self.reply
        return self.reply


@dataclass
class Door:
    """One Admission and what stands around it. `refused` are the events: reply and reason."""

    policy: Policy
    epoch: Epoch = EPOCH
    clock: Clock = field(default_factory=Clock)
    next_hop: NextHop = field(default_factory=NextHop)
    full: bool = False
    passwords: dict[str, str] = field(default_factory=dict)
    refused: list[tuple[str, str, str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        verifier = RecipientVerifier(self.next_hop.probe, self.clock)
        self.admission = Admission(self, Rates(Counters(), self.clock), verifier, self, self._login, lambda: self.full, self.clock)

    def current(self) -> tuple[Policy, Epoch]:
        return self.policy, self.epoch

    async def refusal(self, peer: Peer, sender: Sender | None, recipient: Recipient | None, reply: Reply, reason: str) -> None:
        self.refused.append((str(sender or ""), str(recipient or ""), str(reply), reason))

    async def _login(self, name: str, password: str) -> bool:
        return self.passwords.get(name) == password

    def mail(self, sender: str | None, peer: Peer) -> Transaction:
        """MAIL FROM."""
        return run(self.admission.mail(peer, Sender(mailbox(sender) if sender else None)))

    def rcpt(self, transaction: Transaction, recipient: str) -> list[str]:
        """RCPT TO; gives the recipients so far."""
        run(self.admission.rcpt(transaction, Recipient(mailbox(recipient))))
        return [str(one) for one in transaction.recipients]

    def mail_reply(self, sender: str | None, peer: Peer) -> str:
        """What MAIL FROM hears when it is refused."""
        with pytest.raises(Refusal) as caught:
            self.mail(sender, peer)
        return self._recorded(caught.value)

    def rcpt_reply(self, transaction: Transaction, recipient: str) -> str:
        """What RCPT TO hears when it is refused; the transaction stays as it was."""
        before = list(transaction.recipients)
        with pytest.raises(Refusal) as caught:
            self.rcpt(transaction, recipient)
        assert transaction.recipients == before
        return self._recorded(caught.value)

    def _recorded(self, refusal: Refusal) -> str:
        """A refusal is an event before the client hears it."""
        assert self.refused[-1][2:] == (str(refusal.reply), refusal.reason)
        return str(refusal.reply)


def door(*clients: Client, rules: Any = (PASS,), **changes: Any) -> Door:
    """A door with these clients, or with one on each side."""
    values: dict[str, Any] = {"recipients": (CHECK,), **changes}
    around = {key: values.pop(key) for key in ("next_hop", "full", "passwords") if key in values}
    return Door(
        policy(*rules, clients=clients or (INSIDE, OUTSIDE_ANYWHERE), routes=(ROUTE, Route(name="out", to=("*",))), **values), **around
    )


def anywhere(client: Client) -> Client:
    """The client, from any address."""
    return Client.model_validate({**client.model_dump(), "addresses": ("0.0.0.0/0", "::/0")})


OUTSIDE_ANYWHERE = anywhere(OUTSIDE)
LOGGED_IN = replace(PEER, login="desk")
STRANGER = replace(PEER, side=Side.OUTSIDE, address="198.51.100.1", tls=None)
