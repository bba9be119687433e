"""Policy on its way into force: propose, approve, go back, and see every version that there was."""

import asyncio
from functools import partial
from typing import Any

from pydantic import Field
from sqlalchemy import Connection

from relay.control import requests
from relay.control.actor import Actor, Role
from relay.control.operation import Operation, Services
from relay.control.params import MAX_PAGE, PAGE, Nothing, Reasoned, Strict, Text, parsed
from relay.control.rollout import prepare, propose
from relay.control.wide import MAX_PATTERNS, wide_patterns
from relay.model.errors import ConfigurationError, OperationRefused
from relay.phases import state
from relay.policy import lists
from relay.policy.content import Content, read_content, tests_digest, tests_of, unpack
from relay.store import policies, rollouts

IN_FORCE = "in-force"
LEAST_DIGITS = 6
"""Of a digest, to look at a version or to go back to it."""
APPROVED_DIGITS = 16
"""Of a digest, to approve it: what was looked at. Of fewer somebody finds two policies that begin so, one to be looked at and one to be
approved; and what happens to wait may have changed since."""


class Proposing(Reasoned):
    """`content` is a packed folder; without it the relay reads its own, which must be what `digest` says. `untested`: it may come without
    a test."""

    content: str | None = None
    digest: Text = Field(max_length=64)
    untested: bool = False


class Naming(Strict):
    """A version: the start of its digest, with that of its tests behind a `+` where several stood beside it; or `in-force`."""

    version: Text = Field(max_length=129)


class Returning(Naming, Reasoned):
    """The version to go back to."""


class Approving(Reasoned):
    """A version that waits, with the start of the digest of its tests behind a `+` where that is to be named too; or its request."""

    version: Text = Field(max_length=129)


class Looking(Strict):
    """Newest first; `after` is what the page before gave as `next`."""

    after: Text | None = Field(default=None, max_length=100)
    limit: int = Field(default=PAGE, ge=1, le=MAX_PAGE)


class Patterns(Strict):
    """The patterns of lists, by list."""

    lists: dict[Text, list[Text]] = Field(max_length=MAX_PATTERNS)


async def _propose(services: Services, actor: Actor, params: dict[str, Any]) -> dict[str, Any]:
    asked = parsed(Proposing, params)
    try:
        content = await asyncio.to_thread(_content, services, asked)
    except ConfigurationError as error:
        raise OperationRefused("\n".join(error.problems)) from None
    return await _asked(services, actor, content, rollouts.PROPOSED, asked.reason, untested=asked.untested)


def _content(services: Services, asked: Proposing) -> Content:
    content = unpack(asked.content) if asked.content is not None else read_content(services.settings.policies)
    if content.digest != asked.digest:
        raise OperationRefused(f"the policy is another than was meant ({content.digest[:16]}): propose it again")
    return content


async def _asked(services: Services, actor: Actor, content: Content, origin: str, reason: str, *, untested: bool = False) -> dict[str, Any]:
    prepared = await prepare(services, content, untested=untested, back=origin == rollouts.ROLLBACK)
    work = partial(propose, services=services, actor=actor, prepared=prepared, origin=origin, reason=reason)
    result = await services.journal.submit(work)
    await services.changed()
    return {
        **result,
        "digest": content.digest,
        "tests": content.tests_digest,
        "why_two": prepared.why_two,
        "tested": prepared.tested.as_json(),
        "warnings": list(prepared.warnings),
        "replay": prepared.replay,
    }


async def _rollback(services: Services, actor: Actor, params: dict[str, Any]) -> dict[str, Any]:
    asked = parsed(Returning, params)
    _, content = await services.reader.read(partial(_version, name=asked.version))
    # What was in force once may be so again at once, with the tests of then or without any.
    return await _asked(services, actor, content, rollouts.ROLLBACK, asked.reason, untested=True)


async def _approve(services: Services, actor: Actor, params: dict[str, Any]) -> dict[str, Any]:
    """Before what another version overtook comes what can still be carried out."""
    asked = parsed(Approving, params)

    def work(connection: Connection) -> dict[str, Any]:
        fence, waits = state.read(connection).policy_fence, rollouts.waiting(connection)
        meant = [row for row in waits if _is_meant(row, asked.version)]
        wanted = [row for row in meant if row.details["fence"] == fence] or meant
        if len(wanted) != 1:
            told = ", ".join(f"{row.digest[:16]}+{_tests(row)[:16]} by {row.author} (request {row.id.hex})" for row in waits) or "none"
            many = "several are meant" if wanted else f"say which: {APPROVED_DIGITS} digits of its digest, or its request"
            raise OperationRefused(f"{many}; policies that wait for a second person: {told}")
        return requests.answer(connection, services, actor, wanted[0].id.hex, asked.reason, approved=True)

    result = await services.journal.submit(work)
    await services.changed()
    return result


def _is_meant(row: Any, version: str) -> bool:
    digest, _, tests = version.partition("+")
    named = len(digest) >= APPROVED_DIGITS and row.digest.startswith(digest)
    return bool(row.id.hex == version or (named and (not tests or (len(tests) >= APPROVED_DIGITS and _tests(row).startswith(tests)))))


def _tests(row: Any) -> str:
    """The digest of its tests; proposals of an older program did not name it."""
    return str(row.details.get("tests", ""))


async def _history(services: Services, _: Actor, params: dict[str, Any]) -> dict[str, Any]:
    asked = parsed(Looking, params)
    after = requests.identity_of(asked.after) if asked.after else None

    def work(connection: Connection) -> dict[str, Any]:
        found = state.read(connection)
        rows = rollouts.page(connection, after, asked.limit)
        newest = rollouts.current(connection, found.policy)
        told = [_row(row, found, newest) for row in rows]
        return {"rows": told, "next": rows[-1].id.hex if len(rows) == asked.limit else None}

    return await services.reader.read(work)


def _row(row: Any, found: state.PhaseState, newest: Any) -> dict[str, Any]:
    return {
        "id": row.id.hex,
        "digest": row.digest,
        "before": row.before,
        "state": _state(row, found, newest),
        "origin": row.origin,
        "author": row.author,
        "approver": row.approver if row.approved else None,
        "refused_by": row.approver if row.approved is False else None,
        "reason": row.reason,
        "asked_us": row.asked_us,
        "live_us": row.live_us,
        "tested": row.tested,
        "replay": row.replay,
    }


def _state(row: Any, found: state.PhaseState, newest: Any) -> str:
    if row.live_us is not None:
        return "in force" if row.id == newest else "was in force"
    if row.request_state == requests.OPEN:
        return "waits" if row.details["fence"] == found.policy_fence else "outdated"
    return str(row.request_state)


async def _show(services: Services, _: Actor, params: dict[str, Any]) -> dict[str, Any]:
    asked = parsed(Naming, params)
    digest, content = await services.reader.read(partial(_version, name=asked.version))
    return {"digest": digest, "files": content.files, "tests": content.tests_text, "tests_digest": content.tests_digest}


def _version(connection: Connection, name: str) -> tuple[str, Content]:
    """Raises OperationRefused: none, or several."""
    name, _, wanted = name.partition("+")
    if name == IN_FORCE:
        found = [digest] if (digest := state.read(connection).policy) else []
    elif len(name) < LEAST_DIGITS or set(name) - set("0123456789abcdef"):
        raise OperationRefused(
            f"'{name}' is no version: at least {LEAST_DIGITS} digits of its digest, or '{IN_FORCE}' (sluis policy history)"
        )
    else:
        found = policies.digests_from(connection, name)
    if len(found) != 1:
        raise OperationRefused(f"{'no version' if not found else 'more than one version'} of the policy is '{name}' (sluis policy history)")
    files = policies.files_of(connection, found[0])
    if files is None:
        raise OperationRefused(f"the store does not keep policy {found[0]}")
    tests = next((one for one in rollouts.beside(connection, found[0]) if tests_digest(one).startswith(wanted)), None)
    if tests is None and wanted:
        raise OperationRefused(f"no tests whose digest begins with {wanted} stood beside policy {found[0][:16]} (sluis policy history)")
    return found[0], Content(files, tests_of(tests or {}))


async def _patterns(services: Services, _: Actor, params: dict[str, Any]) -> dict[str, Any]:
    asked = parsed(Patterns, params)
    named = {name: lists.EntryList(frozenset(), tuple(patterns[:MAX_PATTERNS])) for name, patterns in asked.lists.items()}
    return {"warnings": list(await wide_patterns(services, named))}


async def _standing(services: Services, _: Actor, params: dict[str, Any]) -> dict[str, Any]:
    """What is in force and what waits, by digest; and who says what comes into force."""
    parsed(Nothing, params)

    def work(connection: Connection) -> dict[str, Any]:
        found = state.read(connection)
        waits = [row.digest for row in rollouts.waiting(connection) if row.details["fence"] == found.policy_fence]
        return {"in_force": found.policy, "waiting": waits}

    return {**await services.reader.read(work), "source": services.settings.policy.source}


OPERATIONS = (
    Operation("policy.propose", Role.ADMIN, _propose),
    Operation("policy.rollback", Role.ADMIN, _rollback),
    Operation("policy.approve", Role.ADMIN, _approve),
    Operation("policy.history", None, _history, needs_reason=False),
    Operation("policy.version", None, _show, needs_reason=False),
    Operation("policy.standing", None, _standing, needs_reason=False),
    Operation("policy.patterns", Role.ADMIN, _patterns, needs_reason=False),
)
"""What may be asked."""
