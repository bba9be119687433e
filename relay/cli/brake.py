"""`sluis brake`: stops everything that would leave. One person pulls it, two let it go."""

from pathlib import Path

import click

from relay.cli.call import call_operation
from relay.cli.common import config_option, json_option, print_json, reason_option, settings_from
from relay.model.text import printable


@click.group()
def command() -> None:
    """Stop everything that would leave, see why it stands, and let go again."""


@command.command()
@config_option
@json_option
def show(config: Path, as_json: bool) -> None:
    """Show whether the brake is on, and why."""
    state = call_operation(settings_from(config), "phase.show", {})
    if as_json:
        print_json({"brake": state["brake"], "reason": state["brake_reason"] if state["brake"] else ""})
    else:
        click.echo(f"the brake is on: {printable(state['brake_reason'], 2000)}" if state["brake"] else "the brake is off")


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
