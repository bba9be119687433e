"""Versions of the policy as commands name them: the working copy, what is in force, the start of a digest."""

from pathlib import Path

from relay.cli.call import call_operation
from relay.cli.policy_proposing import content_of
from relay.policy.content import Content, tests_of
from relay.settings.models import Settings

WORKING = "working"


def version(settings: Settings, name: str, working: Path | None = None) -> Content:
    """Its content; `working` is the folder of the working copy, where one can be meant. None of that name becomes the command's error."""
    if name == WORKING and working is not None:
        return content_of(working)
    found = call_operation(settings, "policy.version", {"version": name})
    return Content(found["files"], tests_of(found["tests"]))
