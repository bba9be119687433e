"""Whoever types `--help` is told what each command and each option does."""

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from relay.cli import COMMANDS, main

# These change nothing and read nothing of anybody's, write octets, or go on for as long as they serve.
WITHOUT_JSON = {"serve", "init", "demo", "dkim new", "message content", "keys login", "store upgrade", "policy new", "policy schema"}


def commands(command: click.Command = main, words: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Every command with the words that call it."""
    yield " ".join(words), command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from commands(below, (*words, name))


ALL = dict(commands())


@pytest.mark.parametrize("words", ALL)
def test_help_is_there_for_every_command(words: str) -> None:
    result = CliRunner().invoke(main, [*words.split(), "--help"])
    assert result.exit_code == 0, result.output
    assert result.output.startswith("Usage: ")
    assert ALL[words].help, "it says what it does"


@pytest.mark.parametrize("words", ALL)
def test_every_option_says_what_it_is_for(words: str) -> None:
    for parameter in ALL[words].params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{words}: {parameter.opts}"


@pytest.mark.parametrize("words", [words for words, command in ALL.items() if not isinstance(command, click.Group)])
def test_every_command_that_tells_something_tells_it_as_json_too(words: str) -> None:
    options = {option for parameter in ALL[words].params for option in parameter.opts}
    assert ("--json" in options) is (words not in WITHOUT_JSON)


def test_the_list_of_commands_is_told_without_loading_them_and_says_the_same() -> None:
    shown = CliRunner().invoke(main, ["-h"]).output
    for name in COMMANDS:
        assert f"\n  {name} " in shown
    context = click.Context(main)
    assert main.list_commands(context) == list(COMMANDS)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["queue", "lst"], "Did you mean 'list'?"),
        (["queue", "list", "--sicne", "1h"], "--since"),
        (["queue", "retry", "--all"], "Missing option '--reason'"),
        (["queue", "list", "--limit", "0"], "0 is not in the range"),
        (["queue", "list", "--state", "quarantined"], "is not one of 'ready', 'undecided', 'held', 'undeliverable'"),
        (["audit", "list", "--kind", "relase"], "'relase' is not one of 'accepted', 'adopted'"),
        (["queue", "list", "--since", "yesterday"], "'yesterday' is no time: 30m, 6h, 2d, 1w, 2026-11-24 or 2026-11-24T09:30"),
        (["queue", "list", "--until", "99999999999w"], "is no time"),
        (["queue", "list", "--since", "²d"], "is no time"),
        (["queue", "list", "--since", "2026-13-01"], "is no time"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_word_is_answered_with_what_there_is(words: list[str], said: str) -> None:
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2
    assert said in result.stderr
