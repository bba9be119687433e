"""`sluis policy rollback`: a version of before, through the same road as any other."""

from pathlib import Path

import click

from relay.cli.call import call_operation
from relay.cli.common import config_option, json_option, print_json, reason_option, settings_from
from relay.cli.policy_proposing import tell


@click.command()
@click.argument("version")
@reason_option
@config_option
@json_option
def command(version: str, reason: str, config: Path, as_json: bool) -> None:
    """Propose VERSION again (the start of its digest, see: sluis policy history). Its tests run, and another person approves it, unless it
    can only make decisions stricter. The working copy stays as it is: sluis policy export VERSION FOLDER."""
    result = call_operation(settings_from(config), "policy.rollback", {"version": version, "reason": reason})
    print_json(result) if as_json else tell(result)
