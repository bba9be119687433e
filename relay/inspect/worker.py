"""One worker process as the pool sees it: what it is sent, what it answers, and the one thing that it may ask for."""

import asyncio
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relay.inspect import frames
from relay.inspect.connect import connect
from relay.inspect.template import Template
from relay.model.errors import SluisError
from relay.model.features import Inspection
from relay.model.plain_json import json_value
from relay.settings.models import Clamd


@dataclass(frozen=True, slots=True)
class InspectJob:
    """A message: its bytes, or the spool file and the key of this one body. `object` is the spool object's name. `body_hash` (relaxed, see
    `relay.model.message.Body`) is given where its signatures are to be read."""

    object: str
    size: int
    authserv_id: str
    body: bytes | None = None
    path: Path | None = None
    key: bytes | None = None
    body_hash: str = ""


MOST = 2 * frames.MAX_HEAD
"""Octets that a worker may say unasked; one that was taken over may say anything."""


READ = 64 * 1024
"""Octets of an answer that are read at a time. A space of this size is cheap: one of a megabyte is mapped and unmapped for each read."""


class BodyMissing(SluisError):
    """The spool file can't be opened."""


class BadAnswer(SluisError):
    """What came is no answer: a worker that was taken over may say anything."""


class Worker:
    """A process (`pid`) and its socket. `jobs` counts the messages that it inspected."""

    def __init__(self, template: Template, clamd: Clamd) -> None:
        """Forks it. Raises TemplateFailed."""
        self._connection, theirs = socket.socketpair()
        self._connection.setblocking(False)
        self._template = template
        try:
            self.pid = template.fork(theirs)
        except BaseException:
            self._connection.close()
            raise
        finally:
            theirs.close()
        self._clamd = clamd
        self._received = bytearray()
        self._waiting: asyncio.Future[None] | None = None
        self._watched = False
        self._ended = False
        self.jobs = 0

    def kill(self) -> int:
        """Ends it; gives what it died of, as subprocess does."""
        self._ended = True
        self._unwatch()
        self._connection.close()
        return self._template.end(self.pid)

    async def ready(self) -> dict[str, Any]:
        """What it says when it is ready. Raises OSError, EOFError, BadAnswer."""
        return await self._answer()

    async def inspect(self, job: InspectJob) -> Inspection:
        """One message. Large ones go as a descriptor and a key: the plain bytes are in no file and in no second process.

        Raises BodyMissing; OSError and EOFError when the worker is gone; BadAnswer.
        """
        head = {"object": job.object, "size": job.size, "authserv_id": job.authserv_id, "body_hash": job.body_hash}
        if job.body is not None:
            await self._send(frames.pack(head, job.body))
        else:
            assert job.path is not None
            assert job.key is not None
            try:
                descriptor = os.open(job.path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                raise BodyMissing(str(error)) from None
            try:
                await self._send(frames.pack(head | {"key": job.key.hex()}), descriptor)
            finally:
                os.close(descriptor)
        answer = await self._answer()
        try:
            return Inspection.from_json(answer)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadAnswer(repr(error)[:200]) from None

    async def _answer(self) -> dict[str, Any]:
        """Its answer. Until then, it may ask for connections to clamd, and for nothing else: it can open no socket by itself."""
        while True:
            answer = await self._receive()
            if "need" not in answer:
                return answer
            if answer != {"need": "clamd"}:
                raise BadAnswer("it asks for what no worker may have")
            await self._connect()

    async def _connect(self) -> None:
        if self._clamd.socket is None:
            raise BadAnswer("it asks for clamd, and there is none")
        try:
            connection = await asyncio.to_thread(connect, self._clamd.socket, self._clamd.connect_timeout)
        except OSError as error:
            await self._send(frames.pack({"error": str(error)}))
            return
        with connection:
            await self._send(frames.pack({}), connection.fileno())

    async def _send(self, frame: bytes, descriptor: int | None = None) -> None:
        """What the socket takes at once needs no turn of the loop."""
        try:
            sent = self._connection.send(frame) if descriptor is None else socket.send_fds(self._connection, [frame], [descriptor])
        except BlockingIOError:
            sent = 0
            if descriptor is not None:
                raise
        if sent < len(frame):
            await asyncio.get_running_loop().sock_sendall(self._connection, memoryview(frame)[sent:])

    async def _receive(self) -> dict[str, Any]:
        size, _ = frames.LENGTH.unpack(await self._exactly(frames.LENGTH.size))
        if size > frames.MAX_HEAD:
            raise EOFError
        text = await self._exactly(size)
        try:
            answer = json_value(text)
        except (ValueError, RecursionError) as error:
            raise BadAnswer(repr(error)[:200]) from None
        if not isinstance(answer, dict):
            raise BadAnswer("an answer that is no object")
        return answer

    async def _exactly(self, size: int) -> bytes:
        while len(self._received) < size:
            if self._ended:
                raise EOFError
            self._waiting = asyncio.get_running_loop().create_future()
            if not self._watched:
                self._watched = True
                asyncio.get_running_loop().add_reader(self._connection, self._readable)
            await self._waiting
        data = bytes(memoryview(self._received)[:size])
        del self._received[:size]
        return data

    def _readable(self) -> None:
        """The loop watches the socket as long as the worker lives: cheaper than to begin and end that with every read."""
        try:
            piece = self._connection.recv(READ)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        if not piece or len(self._received) > MOST:
            self._ended = True
            self._unwatch()
        self._received += piece
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def _unwatch(self) -> None:
        if self._watched:
            self._watched = False
            asyncio.get_running_loop().remove_reader(self._connection)
