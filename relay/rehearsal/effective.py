"""Which rules can come to speak of mail from one sender to one recipient, whatever is in it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date

from relay.decide.compiled import compiled
from relay.decide.explain import Asked, asked_of
from relay.decide.facts import Facts, MessageFacts
from relay.decide.logic import NO, UNKNOWN, YES, Truth, both, opposite
from relay.decide.named import Named
from relay.model.address import Mailbox, address_key
from relay.model.case import Case, Direction
from relay.model.client import Side
from relay.model.envelope import Recipient
from relay.policy.models import Client, Policy, Rule
from relay.receive.senders import may_send_as

OF_THE_MOMENT = frozenset({"phase", "tls", "time"})
"""They differ from one message to the next."""


@dataclass(frozen=True, slots=True)
class Effective:
    """A rule that speaks always (`depends_on` is empty), or depending on these keys."""

    rule: Rule
    depends_on: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Way:
    """By one client in one direction; `route` is empty where it depends on the recipient or there is none."""

    client: str
    direction: str
    route: str
    rules: tuple[Effective, ...]
    logins: tuple[str, ...] = ()


def effective(policy: Policy, sender: str, recipient: str | None, today: date) -> list[Way]:
    """One for each client that may send as `sender` (empty for the null reverse-path), and each direction that is possible. Where a client
    may by a login only, as a delegate, the way names the logins."""
    ways = []
    for client in policy.clients:
        logins: tuple[str, ...] = ()
        if not (may_send_as(client, None, address_key(sender), policy) if sender else client.may_send_null):
            logins = _delegates(policy, client, sender)
            if not logins:
                continue
        ways += [replace(way, logins=logins) for way in _ways(policy, client, sender, recipient, today)]
    return ways


def _delegates(policy: Policy, client: Client, sender: str) -> tuple[str, ...]:
    """Logins at this client that may send as somebody as whom it may not itself."""
    known = {rule.login for rule in policy.senders} & set(client.logins) if sender else set()
    return tuple(sorted(login for login in known if may_send_as(client, login, address_key(sender), policy)))


def _ways(policy: Policy, client: Client, sender: str, recipient: str | None, today: date) -> Iterator[Way]:
    ready = compiled(policy)
    key = address_key(recipient) if recipient else ""
    case = Case(
        client=client.name,
        side=client.side,
        sender=address_key(sender) if sender else "",
        recipients=(Recipient(Mailbox(*_parts(recipient or "nobody@invalid"))),),
        size=None,
        tls=True,
        authorised=client.side is Side.INSIDE and not client.forwards,
    )
    if recipient:
        directions = [ready.direction(case, key)]
    else:
        directions = [Direction.INBOUND] if client.side is Side.OUTSIDE else [Direction.OUTBOUND, Direction.INTERNAL]
    for direction in directions:
        facts = Facts(MessageFacts(case, ""), key, direction)
        free = OF_THE_MOMENT if recipient else OF_THE_MOMENT | _unknown_without_recipient(direction)
        rules = [found for rule in policy.rules if (found := _effective(rule, facts, ready.named, free, today)) is not None]
        yield Way(client.name, direction.value, (ready.first_route(key) or "") if recipient else "", tuple(rules))


def _unknown_without_recipient(direction: Direction) -> frozenset[str]:
    return frozenset({"recipient", "group"}) if direction is Direction.INBOUND else frozenset({"recipient", "partner"})


def _parts(address: str) -> tuple[str, str]:
    local, _, domain = address.rpartition("@")
    return local, domain


def _effective(rule: Rule, facts: Facts, named: Named, free: frozenset[str], today: date) -> Effective | None:
    """None where it surely does not speak."""
    if rule.mode != "enforce" or (rule.until is not None and rule.until < today):
        return None
    depends: set[str] = {"since"} if rule.since is not None and today < rule.since else set()
    truth = depending(asked_of(rule.when, facts, named), free, depends)
    if truth is not NO and rule.unless is not None:
        truth = both(truth, opposite(depending(asked_of(rule.unless, facts, named), free, depends)))
    return None if truth is NO else Effective(rule, tuple(sorted(depends)) if truth is UNKNOWN or "since" in depends else ())


def depending(parts: Sequence[Asked], free: frozenset[str], depends: set[str]) -> Truth:
    """Whether all of them hold, where it is not known what the keys in `free` would find; `depends` gains those on which it depends."""
    truth = YES
    for part in parts:
        truth = both(truth, _one(part, free, depends))
    return truth


def _one(asked: Asked, free: frozenset[str], depends: set[str]) -> Truth:
    """As it was found; what differs from message to message is not known, and neither is what is built on it."""
    if asked.key == "not":
        return opposite(depending(asked.children, free, depends))
    if asked.key == "any":
        return opposite(_every_not(asked.children, free, depends))
    if asked.children:
        return depending(asked.children, free, depends)
    if asked.key in free or asked.truth is UNKNOWN:
        depends.add(asked.key)
        return UNKNOWN
    return asked.truth


def _every_not(parts: Sequence[Asked], free: frozenset[str], depends: set[str]) -> Truth:
    truth = YES
    for part in parts:
        truth = both(truth, opposite(_one(part, free, depends)))
    return truth
