"""How a policy is sent to be proposed, and how the answer is told."""

from pathlib import Path
from typing import Any

import click

from relay.cli.call import call_operation
from relay.cli.common import problems_told
from relay.model.text import printable
from relay.policy.content import Content, pack, read_content
from relay.settings.models import Settings

MAX_PACKED = 900 * 1024
"""Octets that fit into one request (1 MiB). What is larger, the relay reads from its own folder."""


def content_of(folder: Path) -> Content:
    """What a working copy holds; what can't be read becomes the command's error."""
    with problems_told():
        return read_content(folder)


def propose(settings: Settings, folder: Path, content: Content, reason: str, *, untested: bool = False) -> dict[str, Any]:
    """The answer of the relay."""
    packed = pack(content)
    params: dict[str, Any] = {"digest": content.digest, "reason": reason, "untested": untested}
    if len(packed) <= MAX_PACKED:
        params["content"] = packed
    elif folder.absolute() != settings.policies.absolute():
        raise click.ClickException(
            f"{folder} is too large to be sent ({len(packed)} octets packed): put it into {settings.policies} of the relay, propose that"
        )
    return call_operation(settings, "policy.propose", params)


def tell(result: dict[str, Any]) -> None:
    """Whether it is in force, and who must do what if not."""
    for warning in result["warnings"]:
        click.echo(f"{printable(warning, 1000)} (warning)", err=True)
    tested = result["tested"]
    click.echo(
        f"version {result['digest'][:16]}: {tested['passed']} tests passed"
        if tested["passed"]
        else f"version {result['digest'][:16]}: no test"
    )
    click.echo(printable(result["replay"].get("told", "replayed"), 1000) if result["replay"] else "not replayed")
    if result["request_state"] != "open":
        one = "it can only make decisions stricter" if not result["why_two"] else "two people are not asked for (control.two_people)"
        click.echo(f"in force, on all machines within two seconds: {one}")
        return
    click.echo(f"waits for a second person, because {result['why_two']}")
    version = result["digest"][:16]
    version = f"{version}+{result['tests'][:16]}"
    click.echo(f"  sluis policy diff in-force {version}\n  sluis policy approve {version} --reason …")
