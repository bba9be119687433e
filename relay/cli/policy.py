"""`sluis policy`: write, test, explain and roll out policy. Each command is a file of its own."""

import importlib

import click

COMMANDS = {
    "test": "run the tests that stand beside the policy",
    "explain": "why a message is decided as it is",
    "replay": "what the working copy would have done with recorded traffic",
    "new": "write the skeleton of a rule, waiver, list or test",
    "for": "which rules speak of mail from one sender",
    "diff": "what differs between two versions, or the working copy and what is in force",
    "propose": "test the working copy, and ask for it to be put in force",
    "approve": "put in force what another person proposed",
    "rollback": "go back to a version of before",
    "history": "every version: who proposed it, who approved it, since when",
    "export": "write a version into a folder",
    "list": "add an entry to a list, or remove one, and propose that",
    "schema": "print the JSON Schema of the policy files",
}


class _Commands(click.Group):
    """Finds `relay.cli.policy_<name>` and its `command` when it is needed."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"relay.cli.policy_{name}").command
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_Commands)
def command() -> None:
    """Write, test, explain and roll out policy."""
