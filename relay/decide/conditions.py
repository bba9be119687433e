"""Whether a condition of the policy holds for one recipient of a case: yes, no, or unknown where the content is not known yet."""

from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase

from relay.decide.logic import Truth, every, opposite, some, truth
from relay.model.case import Case, Direction
from relay.model.features import Attachment
from relay.policy.match import pattern_matches
from relay.policy.models import AttachmentCondition, Condition, Policy


def holds(condition: Condition, case: Case, recipient: str, direction: Direction, phase: str, policy: Policy) -> Truth:
    """`recipient` is an address key."""

    def recurse(child: Condition) -> Truth:
        return holds(child, case, recipient, direction, phase, policy)

    return every(_terms(condition, case, recipient, direction, phase, policy, recurse))


def _terms(
    condition: Condition,
    case: Case,
    recipient: str,
    direction: Direction,
    phase: str,
    policy: Policy,
    recurse: Callable[[Condition], Truth],
) -> Iterator[Truth]:
    """Each thing that is given, as a truth; lazily, so that the first NO can end it."""
    inspection = case.inspection
    if condition.direction is not None:
        yield truth(direction.value in condition.direction)
    if condition.client is not None:
        yield truth(case.client in condition.client)
    if condition.phase is not None:
        yield truth(phase in condition.phase)
    if condition.sender is not None:
        yield truth(_any_pattern(condition.sender, case.sender))
    if condition.null_sender is not None:
        yield truth((case.sender == "") == condition.null_sender)
    if condition.recipient is not None:
        yield truth(_any_pattern(condition.recipient, recipient))
    if condition.partner is not None:
        yield truth(_is_partner(condition.partner, recipient if direction is not Direction.INBOUND else case.sender, policy))
    if condition.tls is not None:
        yield truth(case.tls == condition.tls)
    if condition.larger_than is not None:
        yield truth(None if inspection is None or case.size is None else case.size > condition.larger_than)
    if condition.smaller_than is not None:
        yield truth(None if inspection is None or case.size is None else case.size < condition.smaller_than)
    if condition.recipients_more_than is not None:
        yield truth(None if inspection is None else case.recipients_total > condition.recipients_more_than)
    if condition.header_from is not None:
        yield truth(None if inspection is None else any(_any_pattern(condition.header_from, a) for a in inspection.header.from_addresses))
    if condition.finding is not None:
        yield truth(None if inspection is None else any(found.kind in condition.finding for found in inspection.findings))
    if condition.finding_name is not None:
        yield truth(None if inspection is None else any(found.name in condition.finding_name for found in inspection.findings))
    if condition.subject_contains is not None:
        yield truth(None if inspection is None else _contains(inspection.header.subject, condition.subject_contains))
    if condition.attachment is not None:
        yield truth(None if inspection is None else any(_fits(condition.attachment, item) for item in inspection.attachments))
    if condition.any is not None:
        yield some(recurse(child) for child in condition.any)
    if condition.all is not None:
        yield every(recurse(child) for child in condition.all)
    if condition.not_ is not None:
        yield opposite(recurse(condition.not_))


def _any_pattern(patterns: Iterable[str], address: str) -> bool:
    return any(pattern_matches(pattern, address) for pattern in patterns)


def _is_partner(names: tuple[str, ...], address: str, policy: Policy) -> bool:
    return any(_any_pattern(partner.domains, address) for partner in policy.organisation.partners if partner.name in names)


def _contains(subject: str, words: tuple[str, ...]) -> bool:
    folded = subject.casefold()
    return any(word.casefold() in folded for word in words)


def _fits(condition: AttachmentCondition, item: Attachment) -> bool:
    """Names inside an archive count as names and extensions of the attachment."""
    names = (item.name, *item.members)
    return all(
        (
            condition.extensions is None or any(_extension(name) in condition.extensions for name in names),
            condition.types is None or any(fnmatchcase(kind, p) for p in condition.types for kind in (item.declared, item.true_type)),
            condition.names is None or any(fnmatchcase(name.lower(), p.lower()) for p in condition.names for name in names),
            condition.sha256 is None or item.sha256 in condition.sha256,
            condition.encrypted is None or item.encrypted == condition.encrypted,
            condition.larger_than is None or item.size > condition.larger_than,
            condition.smaller_than is None or item.size < condition.smaller_than,
        )
    )


def _extension(name: str) -> str:
    return name.rpartition(".")[2].lower() if "." in name else ""


def direction_of(case: Case, recipient: str, policy: Policy) -> Direction:
    """From where to where, for one recipient."""
    if case.side == "outside":
        return Direction.INBOUND
    ours = any(pattern_matches(pattern, recipient) for pattern in policy.organisation.domains)
    return Direction.INTERNAL if ours else Direction.OUTBOUND
