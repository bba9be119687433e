"""Runs a CEL expression of a policy. The only place that knows common-expression-language; what it may say was checked at load
(`relay.policy.expression`).

A variable that is not known is left out of the context, and CEL's own logic carries that on: `false && unknown` is false, and whatever the
answer depends on makes it an error, which is UNKNOWN here (Kleene; CEL specification, logical operators). Any other error is UNKNOWN too.
"""

import importlib.util
from collections.abc import Callable
from functools import lru_cache
from importlib.machinery import PathFinder
from typing import Any

from relay.decide.facts import Facts, MessageFacts, Shown
from relay.decide.logic import UNKNOWN, Truth, truth
from relay.model.finding import Finding
from relay.policy.vocabulary import VARIABLES

OF_RECIPIENT = frozenset(name for name, variable in VARIABLES.items() if variable.recipient)


def expression_test(text: str) -> Callable[[Facts], Truth]:
    """Run once for the message, as if no recipient were known; again for each recipient only where the answer depends on that."""
    program = _program(text)
    per_recipient = not OF_RECIPIENT.isdisjoint(program.variables())

    def test(facts: Facts) -> Truth:
        memo = facts.message.results
        found = memo.get(text)
        if found is None:
            found = memo[text] = _run(program, _of_message(facts.message))
        return _run(program, _of_recipient(facts)) if per_recipient and found is UNKNOWN else found

    return test


@lru_cache(maxsize=1)
def _cel() -> Any:
    """The interpreter alone: the package around it loads a command line program, and 30 MB with it."""
    package = importlib.util.find_spec("cel")
    found = PathFinder.find_spec("cel.cel", package.submodule_search_locations if package else None)
    if found is None or found.loader is None:
        raise ImportError("common-expression-language is not installed whole")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@lru_cache(maxsize=4096)
def _program(text: str) -> Any:
    return _cel().compile(text)


def _run(program: Any, context: Any) -> Truth:
    try:
        found = program.execute(context)
    except (ValueError, KeyError, TypeError, RuntimeError, OverflowError, ZeroDivisionError):
        return UNKNOWN
    return truth(found) if isinstance(found, bool) else UNKNOWN


def _of_message(message: MessageFacts) -> Any:
    """Made when the first expression asks."""
    if message.context is None:
        message.context = _cel().Context(variables_of(message))
    return message.context


def _of_recipient(facts: Facts) -> Any:
    """A second one, in which two variables change with the recipient."""
    message = facts.message
    if message.recipient_context is None:
        message.recipient_context = _cel().Context(variables_of(message))
    if message.recipient_in_context != facts.recipient:
        message.recipient_context.add_variable("recipient", facts.recipient)
        message.recipient_context.add_variable("direction", facts.direction.value)
        message.recipient_in_context = facts.recipient
    return message.recipient_context


def variables_of(message: MessageFacts) -> dict[str, Any]:
    """What is known, by the names of `relay.policy.vocabulary`; what is not known is left out."""
    case = message.case
    known: dict[str, Any] = {
        "client": case.client,
        "side": str(case.side),
        "sender": case.sender,
        "authorised": case.authorised,
        "tls": case.tls,
        "phase": message.phase,
    }
    about: dict[str, Any] = {}
    if message.size is not None:
        about["size"] = message.size
    if message.recipients_total is not None:
        about["recipients"] = message.recipients_total
    header = message.header
    if header is not None:
        for name in ("from_display", "subject", "message_id", "date", "auto_submitted", "received"):
            about[name] = getattr(header, name)
        about |= {"from_addresses": list(header.from_addresses), "to": list(header.to)}
    if message.attachments is not None and case.inspection is not None:
        known["attachments"] = [_attachment(shown) for shown in message.attachments]
        known["findings"] = [_finding(found) for found in case.inspection.findings]
    return known | {"message": about}


def _attachment(shown: Shown) -> dict[str, Any]:
    attachment = shown.attachment
    value: dict[str, Any] = {name: getattr(attachment, name) for name in attachment.__slots__}
    return value | {"members": list(attachment.members), "extension": attachment.extension, "macro": shown.macro}


def _finding(finding: Finding) -> dict[str, Any]:
    return {"kind": finding.kind.value, "inspector": finding.inspector, "name": finding.name, "part": finding.part}
