"""A next hop that drops the connection, hangs, refuses or answers nonsense, at each stage of a transaction."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.faults.around.play import Fault, outcomes, prove
from tests.faults.client import LARGE, SMALL, Transaction
from tests.faults.stand import CLERKS, LOOK_SECONDS, Stand
from tests.servers.sink import EXTENSIONS
from tests.stories.house import ROUTES, until

AFTER_DOT = "after the final dot"
"""So the record says that the next hop may have the message."""
STAGES = ("CONNECT", "EHLO", "STARTTLS", "MAIL", "RCPT", "DATA", "CONTENT", "DOT")
"""In the order of a session; CONTENT is amid the message."""
QUICK = {"delivery": {"connect_timeout": 3, "command_timeout": 1, "data_timeout": 3}}
"""Settings under which a next hop that hangs is given up soon. On a busy machine one that does not hang is given up, too, and asked again.
"""
OPPORTUNISTIC = {"routes.yaml": ROUTES.replace("tls: none", "tls: opportunistic")}
"""A policy under which STARTTLS is used where it is offered."""


@contextmanager
def _changed(at: Stand, **values: Any) -> Iterator[None]:
    """The next hop behaves otherwise, and as before at the end."""
    behaviour = at.hop.behaviour
    before = {name: getattr(behaviour, name) for name in values}
    for name, value in values.items():
        setattr(behaviour, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(behaviour, name, value)


async def _anew(at: Stand) -> None:
    """Ends idle connections, so that the next transaction goes through every stage."""
    port = at.hop.port
    await at.hop.stop()
    await at.hop.start(port)


async def _sent(at: Stand, recipients: tuple[str, ...] = CLERKS[:1], size: int = LARGE, told: str = "") -> Transaction:
    """Accepted, an attempt was made, and it ended in another one to come, for a reason with `told` in it."""
    transaction = await at.send(recipients, size)
    prove(transaction.heard_250, f"it was not accepted: {transaction.reply}")
    await _until(at, transaction, lambda: any(each["state"] == "ready" and told in each["reply"] for each in outcomes(at, transaction)))
    return transaction


async def _until(at: Stand, transaction: Transaction, shown: Callable[[], bool]) -> None:
    """Waits until the record shows what the next hop has done. Raises NotThere."""
    try:
        await until(shown, lambda: f"what the next hop did: {outcomes(at, transaction)}", every=LOOK_SECONDS)
    except AssertionError as error:
        prove(fact=False, what=str(error))


def ends(how: str, stage: str) -> Fault:
    """`how` is drop_at or hang_at."""

    async def fault(at: Stand) -> list[Transaction]:
        await _anew(at)
        offered = (*EXTENSIONS, "STARTTLS") if stage == "STARTTLS" else EXTENSIONS
        before = len(at.hop.copies)
        with _changed(at, **{how: {stage}, "extensions": offered}):
            transaction = await _sent(at, told=AFTER_DOT if stage == "DOT" else "")
            arrived = [copy for copy in at.hop.copies[before:] if copy.id == transaction.id]
            prove(bool(arrived) == (stage == "DOT"), f"it left {len(arrived)} times")
        return [transaction]

    return fault


def says(stage: str, reply: str, told: str = "") -> Fault:
    """Its answer at a stage, until a first attempt has ended; `told` is what the record says of it, the code where it is not given."""

    async def fault(at: Stand) -> list[Transaction]:
        await _anew(at)
        with _changed(at, replies={stage: reply}):
            return [await _sent(at, size=SMALL, told=told or reply[:3])]

    return fault


async def down(at: Stand) -> list[Transaction]:
    """Nobody listens."""
    port = at.hop.port
    await at.hop.stop()
    try:
        return [await _sent(at)]
    finally:
        await at.hop.start(port)


async def one_recipient_later(at: Stand) -> list[Transaction]:
    """Of three one hears 451, and one of them leaves again alone."""
    with _changed(at, replies={CLERKS[1]: "451 4.2.1 Mailbox busy"}):
        transaction = await _sent(at, CLERKS, SMALL, "451")
        await _until(at, transaction, lambda: [row.state for row in at.rows_of(transaction)] == ["delivered", "ready", "delivered"])
    return [transaction]


async def one_recipient_never(at: Stand) -> list[Transaction]:
    """Of three one hears 550; its sender is told."""
    with _changed(at, replies={CLERKS[1]: "550 5.1.1 No such user"}):
        transaction = await at.send(CLERKS, SMALL)
        await _until(at, transaction, lambda: [row.state for row in at.rows_of(transaction)] == ["delivered", "bounced", "delivered"])
    return [transaction]


async def greylisted(at: Stand) -> list[Transaction]:
    """Each recipient hears 450 until it comes a second time."""
    with _changed(at, replies=dict.fromkeys(CLERKS, "450 4.7.1 Greylisted, come back later")):
        return [await _sent(at, CLERKS, SMALL, "450")]


DROPS: dict[str, Fault] = {f"next hop drops at {stage}": ends("drop_at", stage) for stage in STAGES}
HANGS: dict[str, Fault] = {f"next hop hangs at {stage}": ends("hang_at", stage) for stage in STAGES}
REFUSALS: dict[str, Fault] = {
    "next hop down": down,
    "next hop 451 for one": one_recipient_later,
    "next hop 550 for one": one_recipient_never,
    "next hop greylists": greylisted,
    "next hop 421 at CONNECT": says("CONNECT", "421 4.3.2 Not now"),
    "next hop 451 at MAIL": says("MAIL", "451 4.3.0 Later"),
    "next hop 421 at RCPT": says("RCPT", "421 4.3.2 Going down"),
    "next hop 451 at DATA": says("DATA", "451 4.3.0 Later"),
    "next hop 452 at DOT": says("DOT", "452 4.3.1 Full"),
}
NONSENSE: dict[str, Fault] = {
    "next hop nonsense at EHLO": says("EHLO", "what?", "does not speak SMTP"),
    "next hop nonsense at DATA": says("DATA", "299 no content, thanks", "the reply is no SMTP"),
    "next hop nonsense at DOT": says("DOT", "354 and then?"),
}
NEXT_HOP = {**DROPS, **HANGS, **REFUSALS, **NONSENSE}
PATIENT_FEW = (
    *(f"next hop drops at {stage}" for stage in ("CONNECT", "MAIL", "CONTENT", "DOT")),
    *(f"next hop {what}" for what in ("451 for one", "550 for one", "greylists", "421 at RCPT", "452 at DOT")),
    *(f"next hop nonsense at {stage}" for stage in ("EHLO", "DOT")),
)
QUICK_FEW = tuple(f"next hop hangs at {stage}" for stage in ("STARTTLS", "DATA", "DOT"))
"""For `make test`, those that hang under `QUICK`; what a session makes of each reply at each stage is shown by tests/stages/deliver."""
