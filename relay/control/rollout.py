"""A policy on its way into force: read, tested and compared before anybody is asked, and then put in force everywhere at once."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from sqlalchemy import Connection

from relay.control import requests
from relay.control.actor import Actor
from relay.control.operation import Services
from relay.control.person import ORIGIN
from relay.control.replay_summary import replay_summary
from relay.control.wide import wide_patterns
from relay.deliver.usable import check_certificates
from relay.model.errors import ConfigurationError, OperationRefused
from relay.model.ids import new_id
from relay.phases import change, state
from relay.policy.content import Content, tests_of
from relay.policy.expired import expired
from relay.policy.load import build
from relay.policy.models import Policy
from relay.policy.stricter import why_not_only_stricter
from relay.rehearsal.lost import why_two_for_tests
from relay.rehearsal.tested import Ran, run_tests
from relay.store import policies, rollouts

MAX_TOLD = 50
"""Problems or failures that are told of one policy."""
FOLDER_SAYS = (
    "the policy folder says what is in force here (policy.source): change it and reload, or set policy.source to 'approved' and restart"
)
NO_TEST = "it has no test (policies/tests): nothing was proposed. To propose it all the same: --without-tests, which the audit keeps"
NOTHING = "no policy is in force yet: the folder of the relay comes into force at its first start"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A policy that may come into force. It was compared with `before`, in force since `fence`; `why_two` is empty where one person is
    enough."""

    content: Content
    policy: Policy
    before: str
    fence: int
    why_two: str
    tested: Ran
    untested: bool
    warnings: tuple[str, ...]
    replay: dict[str, Any] | None


async def prepare(services: Services, content: Content, *, untested: bool = False, back: bool = False) -> Prepared:
    """`untested`: somebody said that it may come without a test. `back`: to another policy that was in force with these tests, whose tests
    come back with it. Raises OperationRefused with everything that is wrong: it does not load, its tests fail or are not there, nothing
    would change."""
    if services.settings.policy.source != "approved":
        raise OperationRefused(FOLDER_SAYS)
    found = await services.reader.read(state.read)
    before = found.policy
    if before is None:
        raise OperationRefused(NOTHING)
    tests, same = await services.reader.read(partial(rollouts.tests_of, digest=before)), content.digest == before
    if same and tests == content.tests_text:
        raise OperationRefused(f"policy {before[:16]} is in force already, with these tests: nothing would change")
    policy = await asyncio.to_thread(_built, content.files)
    ran = await run_tests(content, policy, services.settings, services.clock.now_us())
    if ran.failures:
        raise OperationRefused(_told("its tests fail: nothing was proposed", ran.failures))
    if not ran.passed and not untested:
        raise OperationRefused(NO_TEST)
    today = datetime.fromtimestamp(services.clock.now_us() / 1e6, UTC).date()
    warnings = (*expired(content.files, today), *await wide_patterns(services, policy.lists))
    why_two = "" if same else await _why_two(services, before, policy)
    if not why_two and not (back and not same and await _stood(services, content)):
        why_two = await asyncio.to_thread(why_two_for_tests, tests_of(tests), content.tests)
    return Prepared(
        content, policy, before, found.policy_fence, why_two, ran, not ran.passed, warnings, await replay_summary(services, policy)
    )


def _built(files: dict[str, str]) -> Policy:
    try:
        policy = build(files)
        check_certificates(policy)
    except ConfigurationError as error:
        raise OperationRefused(_told("it does not load: nothing was proposed", error.problems)) from None
    return policy


def _told(what: str, problems: Any) -> str:
    lines = [what, *problems[:MAX_TOLD]]
    return "\n".join(lines if len(problems) <= MAX_TOLD else [*lines, f"and {len(problems) - MAX_TOLD} more"])


async def _why_two(services: Services, before: str, policy: Policy) -> str:
    files = await services.reader.read(partial(policies.files_of, digest=before))
    try:
        return await asyncio.to_thread(lambda: why_not_only_stricter(build(files or {}), policy))
    except ConfigurationError:
        return "this version of Sluis can't read the policy in force, to compare it"


async def _stood(services: Services, content: Content) -> bool:
    """Whether it was in force with just these tests: somebody said yes to them then, and to go back to what is stricter must not wait."""
    return content.tests_text in await services.reader.read(partial(rollouts.stood, digest=content.digest))


def propose(connection: Connection, services: Services, actor: Actor, prepared: Prepared, origin: str, reason: str) -> dict[str, Any]:
    """The version, the way into force, and the request, which is carried out at once where one person is enough. Raises
    OperationRefused."""
    found, digest = state.read(connection), prepared.policy.digest
    if (found.policy, found.policy_fence) != (prepared.before, prepared.fence):
        raise OperationRefused(f"policy {found.policy} came into force meanwhile: look again, and propose again")
    for waits in rollouts.waiting(connection):
        same = waits.digest == digest and waits.details.get("tests") in (None, prepared.content.tests_digest)
        if same and waits.details["fence"] == found.policy_fence:
            raise OperationRefused(f"{waits.author} has proposed it already: approve or refuse that, request {waits.id.hex}")
    now_us, identity = services.clock.now_us(), new_id()
    policies.keep(connection, digest, prepared.content.files, now_us)
    rollouts.add(
        connection,
        id=identity,
        digest=digest,
        before=prepared.before,
        origin=origin,
        author=actor.name,
        reason=reason,
        asked_us=now_us,
        tests=prepared.content.tests_text,
        tested=prepared.tested.as_json(),
        replay=prepared.replay,
    )
    details = {
        "digest": digest,
        "tests": prepared.content.tests_digest,
        "untested": prepared.untested,
        "before": prepared.before,
        "fence": found.policy_fence,
        "origin": origin,
        "why_two": prepared.why_two,
        "tested": prepared.tested.as_json(),
        "replayed": prepared.replay is not None,
        "warnings": list(prepared.warnings),
    }
    return requests.ask(connection, services, actor, "policy", details, reason, second=bool(prepared.why_two), identity=identity)


def _carry_policy(connection: Connection, services: Services, row: Any) -> dict[str, Any]:
    """In force on all machines from the commit on. Raises OperationRefused where it would undo what came into force since."""
    found = state.read(connection)
    if services.settings.policy.source != "approved":
        raise OperationRefused(FOLDER_SAYS)
    if (found.policy, found.policy_fence) != (row.details["before"], row.details["fence"]):
        raise OperationRefused(f"policy {found.policy} came into force since this was proposed: {requests.AGAIN}")
    now_us = services.clock.now_us()
    if not change.set_policy(connection, row.details["digest"], row.actor, row.reason, now_us, ORIGIN):
        # Its tests alone are others: what was compared with those of before, and what waits, must be looked at again all the same.
        state.set_policy(connection, row.details["digest"], found.policy_fence)
    rollouts.live(connection, row.id, now_us)
    return {"policy": row.details["digest"]}


requests.CARRIERS["policy"] = _carry_policy
