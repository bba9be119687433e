"""The condition on attachments: whether any one of them fits all that is given."""

import re
from collections.abc import Callable, Iterator
from fnmatch import translate

from relay.decide.facts import Facts, Shown
from relay.decide.logic import Truth, truth
from relay.policy.models import AttachmentCondition

Fits = Callable[[Shown], bool]


def attachment_test(condition: AttachmentCondition) -> Callable[[Facts], Truth]:
    """Looked at once for the message: no recipient changes it."""
    fits = tuple(_fits(condition))
    key = object()

    def test(facts: Facts) -> Truth:
        message = facts.message
        if message.attachments is None:
            return truth(None)
        if key not in message.memo:
            message.memo[key] = any(all(fit(shown) for fit in fits) for shown in message.attachments)
        return truth(message.memo[key])

    return test


def _fits(condition: AttachmentCondition) -> Iterator[Fits]:
    if condition.extensions is not None:
        extensions = frozenset(extension.casefold() for extension in condition.extensions)
        yield lambda shown: not extensions.isdisjoint(shown.extensions)
    if condition.encrypted is not None:
        encrypted = condition.encrypted
        yield lambda shown: shown.attachment.encrypted is encrypted
    if condition.larger_than is not None:
        floor = condition.larger_than
        yield lambda shown: shown.attachment.size > floor
    if condition.smaller_than is not None:
        ceiling = condition.smaller_than
        yield lambda shown: shown.attachment.size < ceiling
    if condition.sha256 is not None:
        digests = frozenset(condition.sha256)
        yield lambda shown: shown.attachment.sha256 in digests
    if condition.types is not None:
        types = _any_of(condition.types)
        yield lambda shown: any(types.match(kind) is not None for kind in (shown.attachment.declared, shown.attachment.true_type))
    if condition.names is not None:
        names = _any_of(tuple(pattern.casefold() for pattern in condition.names))
        yield lambda shown: any(names.match(name) is not None for name in shown.names)


def _any_of(patterns: tuple[str, ...]) -> re.Pattern[str]:
    """One expression for all patterns of `*` and `?`; `[` is a character like any other. An empty list fits nothing."""
    return re.compile("|".join(translate(pattern.replace("[", "[[]")) for pattern in patterns) or r"(?!)")
