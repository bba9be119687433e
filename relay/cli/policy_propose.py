"""`sluis policy propose`: the working copy, checked and tested by the relay, on its way into force."""

from pathlib import Path

import click

from relay.cli.common import config_option, json_option, print_json, reason_option, settings_from
from relay.cli.policy_common import policies_option
from relay.cli.policy_proposing import content_of, propose, tell


@click.command()
@reason_option
@click.option("--without-tests", "untested", is_flag=True, help="propose it although it has no test; the audit keeps that you said so")
@policies_option
@config_option
@json_option
def command(reason: str, untested: bool, policies: Path | None, config: Path, as_json: bool) -> None:
    """Ask for the working copy to be put in force. The relay reads all of it, runs its tests and stores it as a version; what does not load
    or fails its tests is refused. Another person approves it. One person is enough for a change that can only make decisions stricter:
    rules are added that hold, quarantine or reject, waivers go, lists change where that can only close. Its tests belong to a version:
    they are compared, kept and approved with it, and can be proposed alone; without any test it is refused."""
    settings = settings_from(config)
    folder = policies or settings.policies
    result = propose(settings, folder, content_of(folder), reason, untested=untested)
    print_json(result) if as_json else tell(result)
