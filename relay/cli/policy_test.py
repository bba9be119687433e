"""`sluis policy test`: the tests beside the policy, and what no test reaches."""

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from relay.cli.common import config_option, json_option, print_json, problems_told
from relay.cli.policy_common import WORKER, policies_option, working_copy
from relay.cli.progress import Bar
from relay.control.client import ask
from relay.model.errors import SluisError
from relay.model.text import printable
from relay.policy.expired import expired
from relay.policy.load import read_files
from relay.policy.models import Policy
from relay.rehearsal.cases import Located, read_tests
from relay.rehearsal.junit import junit
from relay.rehearsal.looking import looking
from relay.rehearsal.run import Coverage, Tried, run
from relay.settings.models import Settings


@click.command()
@click.argument("names", nargs=-1)
@policies_option
@click.option("--junit", "junit_file", type=click.Path(path_type=Path, dir_okay=False), help="write the results there, as JUnit XML")
@click.option("--all-reached", is_flag=True, help="fail too where a rule or waiver is reached by no test")
@config_option
@json_option
def command(names: tuple[str, ...], policies: Path | None, junit_file: Path | None, all_reached: bool, config: Path, as_json: bool) -> None:
    """Run the tests in the folder `tests` of the policy: all, or those with one of NAMES in their name. Nothing is sent or recorded; no
    relay needs to run. Exits 1 where something came otherwise than expected."""
    settings, folder, policy = working_copy(config, policies)
    with problems_told():
        tests = [one for one in read_tests(folder) if not names or any(name in one.test.name for name in names)]
        if not tests:
            raise click.ClickException(f"no test in {folder / 'tests'}" + (f" has {' or '.join(names)} in its name" if names else ""))
        begun = time.monotonic()
        coverage = Coverage()
        results = asyncio.run(_run(settings, policy, tests, coverage))
    rules, waivers = ([], []) if names else coverage.missing(policy)
    failed = [result for result in results if result.differences]
    warnings = [] if names else _warnings(settings, folder, policy)
    if junit_file is not None:
        junit_file.write_bytes(junit(results, time.monotonic() - begun))
    if as_json:
        print_json({**_json(results, rules, waivers), "warnings": warnings})
    else:
        _print(results, rules, waivers)
        for warning in warnings:
            click.echo(f"{printable(warning, 1000)} (warning)", err=True)
    if failed or (all_reached and (rules or waivers)):
        raise SystemExit(1)


async def _run(settings: Settings, policy: Policy, tests: list[Located], coverage: Coverage) -> list[Tried]:
    results: list[Tried] = []
    bar = Bar()
    try:
        async with looking(settings, WORKER) as inspect:
            async for result in run(tests, policy, inspect, time.time_ns() // 1000, coverage):
                results.append(result)
                bar("testing", len(results), len(tests))
    finally:
        bar.close()
    return results


def _warnings(settings: Settings, folder: Path, policy: Policy) -> list[str]:
    """Waivers past their end; and, where a relay runs and its record can be asked, patterns that cover much of the mail of late."""
    ended = list(expired(read_files(folder), datetime.now(UTC).date(), folder))
    patterns = {name: list(entries.patterns) for name, entries in policy.lists.items() if entries.patterns}
    if not patterns:
        return ended
    try:
        asked: dict[str, Any] = ask(settings, "policy.patterns", {"lists": patterns})
    except SluisError:
        return ended
    return [*ended, *asked["warnings"]]


def _json(results: list[Tried], rules: list[str], waivers: list[str]) -> dict[str, Any]:
    return {
        "tests": [
            {
                "name": result.located.test.name,
                "where": result.located.where,
                "passed": not result.differences,
                "differences": list(result.differences),
                "recipients": [
                    {
                        "recipient": outcome.recipient,
                        "disposition": outcome.word,
                        "rules": list(outcome.verdict.rules) if outcome.verdict else [],
                        "because": outcome.verdict.because if outcome.verdict else outcome.reason,
                    }
                    for outcome in (result.rehearsed.outcomes if result.rehearsed else ())
                ],
            }
            for result in results
        ],
        "not_reached": {"rules": rules, "waivers": waivers},
    }


def _print(results: list[Tried], rules: list[str], waivers: list[str]) -> None:
    for result in results:
        mark = click.style("FAILED", fg="red") if result.differences else click.style("ok", fg="green")
        click.echo(f"{mark}  {printable(result.located.test.name)}")
        for difference in result.differences:
            click.echo(f"        {printable(difference, 1000)}")
        if result.differences:
            click.echo(f"        at {result.located.where}")
    failed = sum(bool(result.differences) for result in results)
    for what, names in (("rule", rules), ("waiver", waivers)):
        if names:
            click.echo(f"reached by no test: {what}{'s' if len(names) > 1 else ''} {', '.join(names)}")
    click.echo(f"{len(results) - failed} passed, {failed} failed")
