"""The world outside, for the demonstration: a small mail server that keeps what it receives as files."""

import asyncio
import json
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP


class Outside:
    """Listens on a free port of 127.0.0.1. Each message becomes `NNN.eml`, octet by octet, and `NNN.json`, its envelope."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._server: asyncio.Server | None = None
        self._count = 0

    async def start(self) -> int:
        """Gives the port."""
        self._folder.mkdir(parents=True, exist_ok=True)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: SMTP(self, enable_SMTPUTF8=True, hostname="outside.example"), "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        """Keeps one message; the envelope comes last, so that a file without one is not whole."""
        self._count += 1
        stem = self._folder / f"{self._count:03d}"
        stem.with_suffix(".eml").write_bytes(envelope.content)
        stem.with_suffix(".json").write_text(
            json.dumps({"sender": envelope.mail_from, "recipients": envelope.rcpt_tos}, ensure_ascii=False)
        )
        return "250 2.0.0 Ok: kept"

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
