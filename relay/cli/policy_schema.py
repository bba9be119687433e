"""`sluis policy schema`: the JSON Schema that editors use."""

import json

import click

from relay.rehearsal.schema import schema


@click.command()
def command() -> None:
    """Print the JSON Schema of all policy files. A line on top of a file, `# yaml-language-server: $schema=schema.json`, lets an editor
    complete and check it; the policy that ships has both."""
    click.echo(json.dumps(schema(), indent=1, ensure_ascii=False))
