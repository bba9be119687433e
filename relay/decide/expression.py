"""Runs a CEL expression of a policy; what it may say was checked at load (`relay.policy.expression`).

A variable that is not known is left out of the context, and CEL's own logic carries that on: `false && unknown` is false, and whatever the
answer depends on makes it an error, which is UNKNOWN here (Kleene; CEL specification, logical operators). Any other error is UNKNOWN too.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from relay.decide.facts import Facts, MessageFacts, Shown
from relay.decide.literal import looked_for_first
from relay.decide.logic import NO, UNKNOWN, YES, Truth
from relay.model.finding import Finding
from relay.policy.interpreter import FAILED, interpreter
from relay.policy.vocabulary import OF_AUTHENTICATION, VARIABLES

OF_RECIPIENT = frozenset(name for name, variable in VARIABLES.items() if variable.recipient)


def expression_test(text: str, mentioned: frozenset[str] | None = None) -> Callable[[Facts], Truth]:
    """Run once for the message; for each recipient where it speaks of one. `mentioned` are all words of all expressions of the policy: what
    none of them names need not be brought into the form of CEL, which takes longer than most expressions do; None is everything."""
    program = _program(text)
    names = frozenset(program.variables())
    execute, of_recipient = program.execute, not OF_RECIPIENT.isdisjoint(names)
    of_message = names - OF_RECIPIENT

    def test(facts: Facts) -> Truth:
        message = facts.message
        key = (text, facts.recipient) if of_recipient else text
        found = message.results.get(key)
        if found is None:
            if not of_message <= message.in_context:
                _add(message, of_message, mentioned)
            if of_recipient and message.recipient_in_context != facts.recipient:
                _add_recipient(facts)
            try:
                answer = execute(_of(message))
            except FAILED:
                answer = None
            found = message.results[key] = YES if answer is True else NO if answer is False else UNKNOWN
        return found

    return test


@lru_cache(maxsize=4096)
def _program(text: str) -> Any:
    return interpreter().compile(looked_for_first(text))


def _add(message: MessageFacts, names: frozenset[str], mentioned: frozenset[str] | None) -> None:
    """One context for all expressions of a decision: each variable is put in when the first expression asks for it."""
    context = _of(message)
    for name in names - message.in_context:
        message.in_context.add(name)
        known = _value(name, message, mentioned)
        if known is not None:
            context.add_variable(name, known)


def _add_recipient(facts: Facts) -> None:
    """Those that change with the recipient."""
    context = _of(facts.message)
    context.add_variable("recipient", facts.recipient)
    context.add_variable("direction", facts.direction.value)
    if facts.message.first_times is not None:
        context.add_variable("first_time_recipient", facts.recipient in facts.message.first_times)
    facts.message.recipient_in_context = facts.recipient


def _of(message: MessageFacts) -> Any:
    if message.context is None:
        message.context = interpreter().Context({})
    return message.context


def _value(name: str, message: MessageFacts, mentioned: frozenset[str] | None) -> Any:
    """What is known by the first part of a name of `relay.policy.vocabulary`; None where nothing is."""
    case = message.case
    match name:
        case "client" | "sender" | "authorised" | "tls":
            return getattr(case, name)
        case "side":
            return str(case.side)
        case "phase":
            return message.phase
        case "message":
            return _only(_about(message), mentioned)
        case "attachments":
            return None if message.attachments is None else [_attachment(shown, mentioned) for shown in message.attachments]
        case "findings":
            inspection = case.inspection
            return None if message.attachments is None or inspection is None else [_finding(found) for found in inspection.findings]
    return None


def _only(values: dict[str, Any], mentioned: frozenset[str] | None) -> dict[str, Any]:
    return values if mentioned is None else {name: value for name, value in values.items() if name in mentioned}


def _about(message: MessageFacts) -> dict[str, Any]:
    """Of the message as a whole; what is not known is left out."""
    about: dict[str, Any] = {}
    if message.size is not None:
        about["size"] = message.size
    if message.recipients_total is not None:
        about["recipients"] = message.recipients_total
    if message.first_times_today is not None:
        about["first_times_today"] = message.first_times_today
    authentication = message.authentication
    if authentication is not None:
        about |= {name: value for name in OF_AUTHENTICATION if (value := authentication.asked(name)) is not None}
    header = message.header
    if header is not None:
        for name in ("from_display", "subject", "message_id", "date", "auto_submitted", "received"):
            about[name] = getattr(header, name)
        about |= {"from_addresses": list(header.from_addresses), "to": list(header.to)}
    return about


def variables_of(message: MessageFacts) -> dict[str, Any]:
    """What is known of a message, by the first parts of the names of `relay.policy.vocabulary`; what is not known is left out."""
    names = dict.fromkeys(name.partition(".")[0] for name in VARIABLES)
    return {name: value for name in names if (value := _value(name, message, None)) is not None}


def _attachment(shown: Shown, mentioned: frozenset[str] | None = None) -> dict[str, Any]:
    attachment = shown.attachment
    wanted = None if mentioned is None else mentioned | {"part"}  # its path: two that are compared whole are the same only where it is
    value: dict[str, Any] = {name: getattr(attachment, name) for name in attachment.__slots__ if wanted is None or name in wanted}
    if "members" in value:
        value["members"] = list(attachment.members)
    return value | _only({"extension": attachment.extension, "macro": shown.macro}, mentioned)


def _finding(finding: Finding) -> dict[str, Any]:
    return {"kind": finding.kind.value, "inspector": finding.inspector, "name": finding.name, "part": finding.part}
