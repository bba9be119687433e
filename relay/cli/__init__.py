"""The `sluis` command. Each command is a file of its own, imported only when it is called, so that `--help` is quick."""

import gc
import importlib

import click

COMMANDS = {
    "serve": "run the relay",
    "check": "check settings and policy, and say what is wrong",
    "init": "write a commented configuration and starter policies into a folder",
    "demo": "relay the messages that ship with Sluis through a relay of its own",
    "quarantine": "review what waits for a person",
    "queue": "see and steer what waits for delivery",
    "message": "find a message and show its whole journey",
    "request": "see, approve and refuse what waits for a second person",
    "policy": "write, test, explain and roll out policy",
    "phase": "see and set the phase",
    "brake": "stop everything that would leave, and let go again",
    "store": "make, check, back up and restore the store",
    "keys": "make and rotate spool keys, and logins",
    "dkim": "make DKIM keys, print their DNS records, check them",
    "audit": "read the events",
}


class LazyGroup(click.Group):
    """Finds `relay.cli.<name>` and its `command` when it is needed."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        gc.disable()
        try:
            command: click.Command = importlib.import_module(f"relay.cli.{name}").command
        finally:
            # What a program is made of is no garbage: to look for some in it takes a third of a start, and again of an end.
            gc.freeze()
            gc.enable()
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="sluis")
def main() -> None:
    """Sluis: a secure e-mail relay. Nothing passes that was not inspected, decided by written policy, and recorded first."""
