"""How a command asks: over the control socket; with the relay down it does the same itself."""

import asyncio
from typing import Any

from relay.cli.common import problems_told
from relay.control.client import ask
from relay.model.errors import RelayDown
from relay.settings.models import Settings


def call_operation(settings: Settings, name: str, params: dict[str, Any]) -> dict[str, Any]:
    """The answer; what was refused becomes the command's error."""
    with problems_told():
        return asked(settings, name, params)


def asked(settings: Settings, name: str, params: dict[str, Any]) -> dict[str, Any]:
    """The answer. Raises OperationRefused, StoreError, ConfigurationError."""
    try:
        return ask(settings, name, params)
    except RelayDown:
        # Imported here: with the relay up a command needs neither tables nor keys.
        from relay.cli.operations import OPERATIONS
        from relay.control.here import perform_here

        return asyncio.run(perform_here(settings, OPERATIONS[name], params))
