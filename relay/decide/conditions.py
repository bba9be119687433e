"""Conditions of the policy made into functions: does this hold for a recipient, does it not, or is it unknown."""

from collections.abc import Callable, Iterator

from relay.decide.attachments import attachment_test
from relay.decide.expression import expression_test
from relay.decide.facts import Facts
from relay.decide.header import header_tests
from relay.decide.logic import NO, UNKNOWN, YES, Truth, opposite, truth
from relay.decide.moment import moment_test
from relay.decide.named import Addresses, Named
from relay.policy.match import PatternSet
from relay.policy.models import Condition

Test = Callable[[Facts], Truth]


def compile_condition(condition: Condition, named: Named) -> Test:
    """Everything that is given must hold. What is quick and most often decides comes first."""
    tests = (
        *_where(condition),
        *_who(condition, named),
        *_measures(condition),
        *_correspondence(condition),
        *_authentication(condition),
        *_content(condition, named),
        *_nested(condition, named),
        *((expression_test(condition.if_, named.mentioned),) if condition.if_ is not None else ()),
    )
    return tests[0] if len(tests) == 1 else _every(tests)


def _every(tests: tuple[Test, ...]) -> Test:
    """And: the first NO ends it; nothing at all is YES."""

    def every(facts: Facts) -> Truth:
        result = YES
        for test in tests:
            found = test(facts)
            if found is NO:
                return NO
            if found is UNKNOWN:
                result = UNKNOWN
        return result

    return every


def _some(tests: tuple[Test, ...]) -> Test:
    """Or: the first YES ends it; nothing at all is NO."""

    def some(facts: Facts) -> Truth:
        result = NO
        for test in tests:
            found = test(facts)
            if found is YES:
                return YES
            if found is UNKNOWN:
                result = UNKNOWN
        return result

    return some


def _where(condition: Condition) -> Iterator[Test]:
    if condition.direction is not None:
        directions = frozenset(condition.direction)
        yield lambda facts: YES if facts.direction in directions else NO
    if condition.phase is not None:
        phases = frozenset(condition.phase)
        yield lambda facts: YES if facts.message.phase in phases else NO
    if condition.tls is not None:
        tls = condition.tls
        yield lambda facts: YES if facts.message.case.tls is tls else NO
    if condition.authorised is not None:
        authorised = condition.authorised
        yield lambda facts: YES if facts.message.case.authorised is authorised else NO
    if condition.time is not None:
        yield moment_test(condition.time)


def _who(condition: Condition, named: Named) -> Iterator[Test]:
    if condition.client is not None:
        clients = frozenset(condition.client)
        yield lambda facts: YES if facts.message.case.client in clients else NO
    if condition.null_sender is not None:
        null = condition.null_sender
        yield lambda facts: YES if (facts.message.case.sender == "") is null else NO
    if condition.recipient is not None:
        recipients = named.addresses(condition.recipient)
        yield lambda facts: YES if recipients.covers(facts.recipient) else NO
    if condition.sender is not None:
        senders = named.addresses(condition.sender)
        yield lambda facts: YES if senders.covers(facts.message.case.sender) else NO
    if condition.partner is not None:
        partners = named.partner(condition.partner)
        yield lambda facts: YES if partners.covers(facts.other_side) else NO
    if condition.group is not None:
        groups = named.groups(condition.group)
        yield lambda facts: YES if any(group.covers(facts.our_side) for group in groups) else NO


def _measures(condition: Condition) -> Iterator[Test]:
    if condition.larger_than is not None:
        floor = condition.larger_than
        yield lambda facts: UNKNOWN if facts.message.size is None else YES if facts.message.size > floor else NO
    if condition.smaller_than is not None:
        ceiling = condition.smaller_than
        yield lambda facts: UNKNOWN if facts.message.size is None else YES if facts.message.size < ceiling else NO
    if condition.recipients_more_than is not None:
        count = condition.recipients_more_than
        yield lambda facts: UNKNOWN if facts.message.recipients_total is None else YES if facts.message.recipients_total > count else NO


def _correspondence(condition: Condition) -> Iterator[Test]:
    if condition.first_time_recipient is not None:
        first = condition.first_time_recipient
        yield lambda facts: truth(None if facts.message.first_times is None else (facts.recipient in facts.message.first_times) is first)
    if condition.first_time_recipients_today is not None:
        most = condition.first_time_recipients_today.more_than
        yield lambda facts: truth(None if facts.message.first_times_today is None else facts.message.first_times_today > most)


def _authentication(condition: Condition) -> Iterator[Test]:
    for name, words in condition.authentication or ():
        if words is not None:
            yield _authenticated(name, frozenset(words))


def _authenticated(name: str, words: frozenset[str]) -> Test:
    def test(facts: Facts) -> Truth:
        authentication = facts.message.authentication
        found = authentication.asked(name) if authentication is not None else None
        return truth(None if found is None else found in words)

    return test


def _content(condition: Condition, named: Named) -> Iterator[Test]:
    if condition.finding is not None:
        kinds = frozenset(condition.finding)
        yield lambda facts: _found(facts, not kinds.isdisjoint(facts.message.kinds))
    if condition.finding_name is not None:
        names = frozenset(condition.finding_name)
        yield lambda facts: _found(facts, not names.isdisjoint(facts.message.names))
    if condition.header_from is not None:
        authors = named.addresses(condition.header_from)
        yield lambda facts: _header_from(facts, authors)
    if condition.subject_contains is not None:
        words = tuple(word.casefold() for word in condition.subject_contains)
        yield lambda facts: _subject_contains(facts, words)
    if condition.attachment is not None:
        yield attachment_test(condition.attachment, named)
    if condition.header is not None:
        yield from header_tests(condition.header, named)


def _found(facts: Facts, found: bool) -> Truth:
    """What was found was found; what was not is NO only where everything could be read."""
    return YES if found else UNKNOWN if facts.message.header is None else NO


def _header_from(facts: Facts, authors: PatternSet | Addresses) -> Truth:
    header = facts.message.header
    return truth(None if header is None else any(authors.covers(address) for address in header.from_addresses))


def _subject_contains(facts: Facts, words: tuple[str, ...]) -> Truth:
    subject = facts.message.subject
    return truth(None if subject is None else any(word in subject for word in words))


def _nested(condition: Condition, named: Named) -> Iterator[Test]:
    if condition.any is not None:
        yield _some(tuple(compile_condition(child, named) for child in condition.any))
    if condition.all is not None:
        yield _every(tuple(compile_condition(child, named) for child in condition.all))
    if condition.not_ is not None:
        inner = compile_condition(condition.not_, named)
        yield lambda facts: opposite(inner(facts))
