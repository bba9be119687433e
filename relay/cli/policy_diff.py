"""`sluis policy diff`: what differs between two versions, file by file and rule by rule, and whether one person is enough for it."""

from pathlib import Path
from typing import Any

import click

from relay.cli.common import config_option, json_option, print_json, settings_from
from relay.cli.policy_common import policies_option
from relay.cli.policy_versions import WORKING, version
from relay.model.errors import ConfigurationError
from relay.model.text import printable
from relay.policy.content import Content
from relay.policy.difference import file_differences, rule_names, waiver_names
from relay.policy.load import build
from relay.policy.models import Policy
from relay.policy.stricter import why_not_only_stricter
from relay.rehearsal.lost import why_two_for_tests

COLOURS = {"+": "green", "-": "red", "@": "cyan"}


@click.command()
@click.argument("old", default="in-force")
@click.argument("new", default=WORKING)
@policies_option
@config_option
@json_option
def command(old: str, new: str, policies: Path | None, config: Path, as_json: bool) -> None:
    """Show what differs between the versions OLD and NEW: `in-force`, `working` (the working copy) or the start of a digest; without them,
    what the working copy would change."""
    settings = settings_from(config)
    was, now = (version(settings, name, policies or settings.policies) for name in (old, new))
    found = difference(was, now)
    if as_json:
        print_json(found)
    else:
        _print(found)


def difference(was: Content, now: Content) -> dict[str, Any]:
    """Files and tests line by line, rules and waivers by name, and whether one person is enough."""
    files = (*file_differences(was.files, now.files), *file_differences(_read(was.tests), _read(now.tests)))
    found: dict[str, Any] = {
        "old": was.digest,
        "new": now.digest,
        "files": [{"file": name, "diff": lines} for name, lines in files],
        "tests": sorted(name for name in was.tests.keys() | now.tests.keys() if was.tests.get(name) != now.tests.get(name)),
    }
    before, after = _built(was), _built(now)
    if isinstance(before, Policy) and isinstance(after, Policy):
        why_two = why_not_only_stricter(before, after) or why_two_for_tests(was.tests, now.tests)
        names = {"rules": rule_names(before, after).as_json(), "waivers": waiver_names(before, after).as_json()}
        return {**found, **names, "one_person": not why_two, "why_two": why_two}
    problems = [f"{which}: {problem}" for which, one in (("old", before), ("new", after)) if not isinstance(one, Policy) for problem in one]
    return {**found, "rules": None, "waivers": None, "one_person": None, "why_two": None, "problems": problems}


def _read(tests: dict[str, bytes]) -> dict[str, str]:
    """Tests as text: whoever approves them must see them. What is no text is told of by its name."""
    return {name: octets.decode("utf-8", "replace") for name, octets in tests.items() if name.endswith(".yaml")}


def _built(content: Content) -> Policy | list[str]:
    """Or its problems: a version of the past may be none that this program understands, a working copy may be unfinished."""
    try:
        return build(content.files)
    except ConfigurationError as error:
        return error.problems


def _print(found: dict[str, Any]) -> None:
    if found["old"] == found["new"] and not found["tests"]:
        click.echo("nothing differs")
        return
    for one in found["files"]:
        for line in one["diff"]:
            click.secho(printable(line, 2000), fg=COLOURS.get(line[:1]))
    for name in found["tests"]:
        click.echo(f"differs, and decides nothing: {name}")
    for what in ("rules", "waivers"):
        for how, names in (found[what] or {}).items():
            if names:
                click.echo(f"{what} {how}: {', '.join(names)}")
    for problem in found.get("problems", ()):
        click.echo(printable(problem, 1000), err=True)
    if found["one_person"]:
        what = "it can only make decisions stricter" if found["old"] != found["new"] else "no test is lost"
        click.echo(f"one person is enough: {what}")
    elif found["one_person"] is not None:
        click.echo(f"takes two people: {found['why_two']}")
