"""`sluis policy approve`: the second person's word on a policy."""

from pathlib import Path

import click

from relay.cli.call import call_operation
from relay.cli.common import config_option, json_option, print_json, reason_option, settings_from


@click.command()
@click.argument("version")
@reason_option
@config_option
@json_option
def command(version: str, reason: str, config: Path, as_json: bool) -> None:
    """Put in force what another person proposed: VERSION is at least 16 digits of its digest, with 16 of that
    of its tests behind a plus sign, as propose shows them, or its request. Look at it first:
    sluis policy diff in-force VERSION. To refuse it: sluis request refuse."""
    result = call_operation(settings_from(config), "policy.approve", {"reason": reason, "version": version})
    if as_json:
        print_json(result)
    else:
        click.echo(f"policy {result['policy'][:16]} is in force, on all machines within two seconds")
