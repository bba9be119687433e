"""`sluis brake`: stops everything that would leave. One person pulls it, two let it go."""

from pathlib import Path

import click

from relay.cli.call import call_operation
from relay.cli.common import config_option, json_option, print_json, reason_option, settings_from


@click.group()
def command() -> None:
    """Stop everything that would leave, and let go again."""


@command.command()
@reason_option
@config_option
@json_option
def pull(reason: str, config: Path, as_json: bool) -> None:
    """Pull the brake: nothing leaves any more. What is amid its DATA is dropped before the final dot; new mail is accepted and held."""
    result = call_operation(settings_from(config), "brake.on", {"reason": reason})
    if as_json:
        print_json(result)
    else:
        click.echo("the brake is on" if result["changed"] else "the brake was on already")


@command.command()
@reason_option
@config_option
@json_option
def release(reason: str, config: Path, as_json: bool) -> None:
    """Let the brake go: takes a second person. What waits is decided again before it leaves."""
    result = call_operation(settings_from(config), "brake.off", {"reason": reason})
    if as_json:
        print_json(result)
    elif result["request_state"] == "open":
        click.echo(f"asked; a second person must approve: sluis request approve {result['request']} --reason …")
    else:
        click.echo("the brake is off")
