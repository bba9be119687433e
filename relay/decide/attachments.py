"""The condition on attachments: whether any one of them fits all that is given."""

from collections.abc import Callable, Iterator

from relay.decide.facts import Facts, Shown
from relay.decide.logic import NO, UNKNOWN, YES, Truth
from relay.decide.named import Named
from relay.policy.lists import globs
from relay.policy.models import AttachmentCondition

Fits = Callable[[Shown], bool]


def attachment_test(condition: AttachmentCondition, named: Named) -> Callable[[Facts], Truth]:
    """Looked at once for the message: no recipient changes it."""
    fits = tuple(_fits(condition, named))
    key = object()

    def test(facts: Facts) -> Truth:
        message = facts.message
        if message.attachments is None:
            return UNKNOWN
        found = message.memo.get(key)
        if found is None:
            found = message.memo[key] = _any_fits(message.attachments, fits)
        return YES if found else NO

    return test


def _any_fits(attachments: tuple[Shown, ...], fits: tuple[Fits, ...]) -> bool:
    for shown in attachments:
        for fit in fits:
            if not fit(shown):
                break
        else:
            return True
    return False


def _fits(condition: AttachmentCondition, named: Named) -> Iterator[Fits]:
    if condition.extensions is not None:
        extensions = frozenset(extension.casefold() for extension in condition.extensions)
        yield lambda shown: not extensions.isdisjoint(shown.extensions)
    if condition.encrypted is not None:
        encrypted = condition.encrypted
        yield lambda shown: shown.attachment.encrypted is encrypted
    if condition.macro is not None:
        macro = condition.macro
        yield lambda shown: shown.macro is macro
    if condition.larger_than is not None:
        floor = condition.larger_than
        yield lambda shown: shown.attachment.size > floor
    if condition.smaller_than is not None:
        ceiling = condition.smaller_than
        yield lambda shown: shown.attachment.size < ceiling
    if condition.sha256 is not None:
        digests = named.digests(condition.sha256)
        yield lambda shown: shown.attachment.sha256 in digests
    if condition.types is not None:
        types = globs(condition.types)
        yield lambda shown: any(types.match(kind) is not None for kind in (shown.attachment.declared, shown.attachment.true_type))
    if condition.true_types is not None:
        true_types = globs(condition.true_types)
        yield lambda shown: true_types.match(shown.attachment.true_type) is not None
    if condition.names is not None:
        names = globs(condition.names)
        yield lambda shown: any(names.match(name) is not None for name in shown.names)
