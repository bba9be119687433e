"""Joins the relay and the review desk: everything that can be asked over the control socket, and how a command asks it."""

from collections.abc import Mapping
from typing import Any

from quarantine.operations import OPERATIONS as DESK
from relay.cli.common import problems_told
from relay.control.client import call
from relay.control.operation import Operation
from relay.control.operations import OPERATIONS as RELAY
from relay.settings.models import Settings

OPERATIONS: Mapping[str, Operation] = {operation.name: operation for operation in (*RELAY, *DESK)}


def call_operation(settings: Settings, name: str, params: dict[str, Any]) -> dict[str, Any]:
    """The answer; what was refused becomes the command's error."""
    with problems_told():
        return call(settings, OPERATIONS, name, params)
