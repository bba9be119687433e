"""The control socket: one JSON object a line, one answer a line; who asks is what the kernel says."""

import asyncio
import json
import logging
import os
import socket
import stat
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from relay.control.actor import actor_of, peer_uid
from relay.control.operation import Operation, Services, perform
from relay.model.errors import ConfigurationError, OperationRefused, SluisError
from relay.settings.models import Control

log = logging.getLogger("sluis.control")
MAX_LINE = 1024 * 1024
SECONDS = 30.0  # to send a request; the answer may take as long as it needs
CALLS_PER_USER = 32  # at a time, so that one user of this machine can't keep the others out


class ControlServer:
    """Listens on the unix socket of the settings. Where groups are named anybody may connect, and hears what their groups allow; else it
    is the relay's own user and root."""

    def __init__(self, settings: Control, operations: Mapping[str, Operation], services: Services) -> None:
        self._settings = settings
        self._operations = operations
        self._services = services
        self._server: asyncio.Server | None = None
        self._calls: Counter[int] = Counter()

    async def start(self) -> None:
        """Raises ConfigurationError. A socket that nobody answers on is left over from a crash, and replaced; anything else is kept."""
        path = self._settings.socket
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
            _remove_stale(path)
            groups = (self._settings.review_group, self._settings.admin_group, self._settings.audit_group)
            mask = os.umask(0o111 if any(groups) else 0o177)
            try:
                self._server = await asyncio.start_unix_server(self._client, path, limit=MAX_LINE)
            finally:
                os.umask(mask)
        except OSError as error:
            raise ConfigurationError([f"{path}: {error.strerror or error} (control.socket)"]) from None

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._settings.socket.unlink(missing_ok=True)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        uid = peer_uid(writer.get_extra_info("socket"))
        self._calls[uid] += 1
        try:
            answer = await self._called(reader, uid)
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        except (OSError, TimeoutError):
            return  # the caller never asked, or did not wait; what was done is in the audit
        finally:
            writer.close()
            self._calls[uid] -= 1
            self._calls += Counter()  # forgets who is gone

    async def _called(self, reader: asyncio.StreamReader, uid: int) -> dict[str, Any]:
        if self._calls[uid] > CALLS_PER_USER:
            return {"error": f"more than {CALLS_PER_USER} calls at a time by one user: try again in a while"}
        try:
            async with asyncio.timeout(SECONDS):
                line = await reader.readline()
        except ValueError:
            return {"error": f"a request is one line of at most {MAX_LINE} octets"}
        return await self._answer(line, uid)

    async def _answer(self, line: bytes, uid: int) -> dict[str, Any]:
        """`{"ok": …}` or `{"error": text}`; the top of a session here."""
        try:
            asked = json.loads(line)
            operation = self._operations.get(asked["operation"])
            params = asked["params"]
            if operation is None or not isinstance(params, dict):
                return {"error": "the relay does not know this operation; is it of another version?"}
        except (ValueError, KeyError, TypeError, RecursionError):
            return {"error": "not a request"}
        actor = actor_of(uid, self._settings)
        try:
            return {"ok": await perform(operation, self._services, actor, params)}
        except OperationRefused as refused:
            return {"error": str(refused)}
        except SluisError as error:
            log.warning("an operation failed", extra={"fields": {"operation": operation.name, "actor": actor.name, "error": str(error)}})
            return {"error": str(error)}
        except Exception:
            log.exception("an operation failed", extra={"fields": {"operation": operation.name, "actor": actor.name}})
            return {"error": "the relay failed on this; its log says why"}


def _remove_stale(path: Path) -> None:
    """Raises ConfigurationError for what is no left-over socket of ours: a file by a wrong setting, or a relay that runs."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise ConfigurationError([f"{path}: this is no socket, and is not replaced by one (control.socket)"])
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(2)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except TimeoutError:
            pass  # somebody listens, and has no time
    raise ConfigurationError([f"{path}: another relay answers on this socket"])
