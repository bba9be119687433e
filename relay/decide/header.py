"""Conditions on facts of the header."""

import re
from collections.abc import Callable, Iterator

from relay.decide.facts import Facts
from relay.decide.logic import Truth, truth
from relay.decide.named import Named
from relay.decide.skeleton import skeleton
from relay.model.address import address_key
from relay.model.features import Header
from relay.policy.lists import globs
from relay.policy.models import HeaderCondition

ADDRESS = re.compile(r"[^\s<>@\"'()]+@[^\s<>@\"'()]+")


def header_tests(condition: HeaderCondition, named: Named) -> Iterator[Callable[[Facts], Truth]]:
    """One for each key that is given; unknown where the header could not be read."""
    if condition.display_name is not None:
        names = globs(condition.display_name)
        yield _test(lambda header: names.match(header.from_display.casefold()) is not None)
    if condition.imitates_us is not None:
        expected = condition.imitates_us
        yield _test(lambda header: imitates(header, named) is expected)
    if condition.recipients is not None:
        addresses = named.addresses(condition.recipients)
        yield _test(lambda header: any(addresses.covers(address) for address in header.to))
    if condition.automatic is not None:
        automatic = condition.automatic
        yield _test(lambda header: (header.auto_submitted.partition(";")[0].strip().casefold() not in ("", "no")) is automatic)
    if condition.list_mail is not None:
        of_list = condition.list_mail
        yield _test(lambda header: None if header.list_mail is None else header.list_mail is of_list)
    if condition.delivered_before is not None:
        yield _delivered_before(condition.delivered_before)
    if condition.received_more_than is not None:
        count = condition.received_more_than
        yield _test(lambda header: header.received > count)
    if condition.message_id is not None:
        present = condition.message_id
        yield _test(lambda header: bool(header.message_id) is present)


def _delivered_before(expected: bool) -> Callable[[Facts], Truth]:
    def test(facts: Facts) -> Truth:
        header = facts.message.header
        known = None if header is None else header.delivered_to
        return truth(None if known is None else (facts.recipient in known) is expected)

    return test


def _test(holds: Callable[[Header], bool | None]) -> Callable[[Facts], Truth]:
    def test(facts: Facts) -> Truth:
        header = facts.message.header
        return truth(None if header is None else holds(header))

    return test


def imitates(header: Header, named: Named) -> bool:
    """Whether a reader who sees the display name only would take it for ours: it has our name in it, whatever alphabet its letters are of,
    or an address of ours; and the address behind it is not ours."""
    if not header.from_display or any(named.ours.covers(address) for address in header.from_addresses):
        return False
    if any(named.ours.covers(address_key(found)) for found in ADDRESS.findall(header.from_display)):
        return True
    return bool(named.our_skeleton) and named.our_skeleton in skeleton(header.from_display)
