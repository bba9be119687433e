"""Runs the tests that came with a policy, wherever it came from: a folder, a person, a version of the past."""

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relay.model.errors import ConfigurationError, SluisError
from relay.policy.content import TESTS, Content, write_content_of
from relay.policy.models import Policy
from relay.settings.models import Settings

if TYPE_CHECKING:
    from relay.rehearsal.run import Tried

WORKER = "relay.app.inspect_worker"


@dataclass(frozen=True, slots=True)
class Ran:
    """`failures` tell what came otherwise than expected; `passed` counts the others."""

    passed: int = 0
    failures: tuple[str, ...] = ()
    not_reached: tuple[str, ...] = ()
    ran: bool = True

    def as_json(self) -> dict[str, Any]:
        """As it is stored."""
        return {"ran": self.ran, "passed": self.passed, "failed": len(self.failures), "not_reached": list(self.not_reached)}


NOT_RUN = Ran(ran=False)
"""Of a policy that was taken at a start from a folder, without looking at its tests."""


async def run_tests(content: Content, policy: Policy, settings: Settings, now_us: int) -> Ran:
    """Runs them all, in a thread: to build their messages must not hold up the mail. What can't be read, or can't be run, has failed."""
    return await asyncio.to_thread(lambda: asyncio.run(_tested(content, policy, settings, now_us)))


async def _tested(content: Content, policy: Policy, settings: Settings, now_us: int) -> Ran:
    if not any(name.lower().endswith((".yaml", ".yml")) for name in content.tests):
        return Ran(not_reached=tuple(rule.name for rule in policy.rules))
    with tempfile.TemporaryDirectory(prefix="sluis-policy-") as name:
        folder = Path(name)
        try:
            _write(content.tests, folder)
            results, not_reached = await _run(folder, policy, settings, now_us)
        except ConfigurationError as error:
            return Ran(failures=tuple(problem.replace(f"{folder}/", "") for problem in error.problems))
        except (SluisError, OSError) as error:
            return Ran(failures=(f"the tests could not be run: {error}",))
        failures = tuple(_told(one).replace(f"{folder}/", "") for one in results if one.differences)
        return Ran(len(results) - len(failures), failures, not_reached)


def _write(tests: dict[str, bytes], folder: Path) -> None:
    (folder / TESTS).mkdir()
    write_content_of(tests, folder)


async def _run(folder: Path, policy: Policy, settings: Settings, now_us: int) -> tuple[list["Tried"], tuple[str, ...]]:
    """The results, and the rules and waivers that none reached."""
    # Imported here: a relay that runs tests nothing most of the time, and has better use for the megabyte.
    from relay.rehearsal.cases import read_tests
    from relay.rehearsal.looking import looking
    from relay.rehearsal.run import Coverage, run

    coverage = Coverage()
    tests = read_tests(folder)
    async with looking(settings, WORKER) as inspect:
        results = [result async for result in run(tests, policy, inspect, now_us, coverage)]
    rules, waivers = coverage.missing(policy)
    return results, (*rules, *waivers)


def _told(result: "Tried") -> str:
    return f"{result.located.where}: the test '{result.located.test.name}' failed: {'; '.join(result.differences)}"
