"""How a command reaches the process that writes. It imports little, so that a command is quick."""

import json
import socket
from typing import Any

from relay.model.errors import OperationRefused, RelayDown, StoreError
from relay.settings.models import Settings

SECONDS = 600.0  # a bulk release of a long backlog


def ask(settings: Settings, name: str, params: dict[str, Any]) -> dict[str, Any]:
    """The answer of an operation. Raises RelayDown where nobody answers, OperationRefused, StoreError."""
    path = settings.control.socket
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(SECONDS)
        try:
            connection.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            raise RelayDown(str(path)) from None
        except PermissionError:
            hint = "no unix group has a role yet (control.review_group and its like), or its folder is closed to you"
            raise OperationRefused(f"you may not use {path}: {hint}") from None
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror or error} (control.socket)") from None
        return _asked(connection, name, params)


def _asked(connection: socket.socket, name: str, params: dict[str, Any]) -> dict[str, Any]:
    try:
        connection.sendall(json.dumps({"operation": name, "params": params}).encode() + b"\n")
        with connection.makefile("rb") as answers:
            line = answers.readline()
    except OSError as error:
        raise StoreError(f"no answer from the relay ({error}); what was asked may have been done: look before you ask again") from None
    if not line.endswith(b"\n"):
        raise StoreError("the relay closed the connection without an answer; its log says why")
    answer: dict[str, Any] = json.loads(line)
    if "error" in answer:
        raise OperationRefused(answer["error"])
    result: dict[str, Any] = answer["ok"]
    return result
