"""The pages that tell how to use the commands name commands and options that are there."""

import re
from pathlib import Path

import click
import pytest

from tests.stages.cli.test_help import ALL

DOCUMENTS = Path(__file__).parents[3] / "docs"
CALL = re.compile(r"(?:^    (?:\$ )?|`)sluis ((?:[a-z]+ ?)+)([^`\n]*)", re.MULTILINE)
OPTION = re.compile(r"(?<!\S)--[a-z-]+")


@pytest.mark.parametrize("page", ["running", "review", "control", "observing"])
def test_every_command_that_a_page_names_is_there_with_its_options(page: str) -> None:
    found = list(CALL.finditer((DOCUMENTS / f"{page}.md").read_text()))
    assert found
    for call in found:
        words = call[1].split()
        while words and " ".join(words) not in ALL:
            words.pop()
        assert words, call[0]
        command = ALL[" ".join(words)]
        assert not (isinstance(command, click.Group) and call[1].split()[len(words) :]), f"no such command: {call[0]}"
        known = {option for parameter in command.params for option in parameter.opts}
        assert set(OPTION.findall(call[2])) <= known, call[0]
