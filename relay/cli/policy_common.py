"""What the commands on policy share: where the working copy is, and the settings to look at mail with."""

import re
from pathlib import Path

import click

from relay.cli.common import problems_told
from relay.policy.load import load_policy
from relay.policy.models import Policy
from relay.settings.load import load_settings
from relay.settings.models import Settings

WORKER = "relay.app.inspect_worker"
NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
"""Of what commands make or change a file for: it can lie in no other folder."""

policies_option = click.option(
    "--policies",
    type=click.Path(path_type=Path, file_okay=False),
    help="the policy folder; without it the one that the settings name",
)


def working_copy(config: Path, policies: Path | None) -> tuple[Settings, Path, Policy]:
    """Settings, folder and policy. A folder that is named needs no settings file: then their defaults count."""
    with problems_told():
        settings = Settings(hostname="policy.invalid") if policies is not None and not config.exists() else load_settings(config)
        folder = policies or settings.policies
        return settings, folder, load_policy(folder)
