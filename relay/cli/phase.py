"""`sluis phase`: which phase holds, and setting another."""

from pathlib import Path

import click

from relay.cli.call import call_operation
from relay.cli.common import config_option, json_option, print_fields, print_json, reason_option, settings_from


@click.group()
def command() -> None:
    """See and set the phase."""


@command.command()
@config_option
@json_option
def show(config: Path, as_json: bool) -> None:
    """Show phase, brake and policy in force."""
    state = call_operation(settings_from(config), "phase.show", {})
    if as_json:
        print_json(state)
        return
    brake = f"on: {state['brake_reason']}" if state["brake"] else "off"
    print_fields([("phase", f"{state['phase']} (of {', '.join(state['phases'])})"), ("brake", brake), ("policy", state["policy"])])


@command.command(name="set")
@click.argument("phase")
@reason_option
@config_option
@json_option
def set_(phase: str, reason: str, config: Path, as_json: bool) -> None:
    """Set PHASE. What is held is inspected and decided again. A more open phase takes a second person."""
    result = call_operation(settings_from(config), "phase.set", {"phase": phase, "reason": reason})
    if as_json:
        print_json(result)
    elif result["request_state"] == "open":
        click.echo(f"asked; a second person must approve: sluis request approve {result['request']} --reason …")
    else:
        click.echo(f"the phase is {phase}")
