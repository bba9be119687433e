"""Plays a dialogue file against a real listener on loopback, on a loop whose clock moves where the client is silent."""

import asyncio
import re
import socket
import ssl
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from relay.model.reply import Reply
from relay.settings.models import Listener, TlsFiles
from tests.dialogs.transcript import FACTS, Kind, Step, Transcript
from tests.fakes.intake import CLIENT, FakeIntake
from tests.stages.listen.clock import silence
from tests.stages.listen.listening import Door, listening
from tests.stages.listen.listening import listener as listener_with

PATIENCE = 30.0  # seconds for one line of the server; only a test that fails waits as long


class Mismatch(AssertionError):
    """`file:line: what was expected, what came`."""


@dataclass(frozen=True)
class Certificates:
    """What the listener shows, and the CA by which the client knows it."""

    files: TlsFiles
    authority: Path


async def play(transcript: Transcript, certificates: Certificates) -> None:
    """Raises Mismatch at the first line that is not as written."""
    road = _road(transcript)
    async with listening(road, _listener(transcript, certificates)) as door:
        player = Player(transcript, certificates, door)
        try:
            await player.run()
        finally:
            player.hang_up()


def _listener(transcript: Transcript, certificates: Certificates) -> Listener:
    values = {key: value for key, value in transcript.settings.items() if key in Listener.model_fields}
    if "tls" in values:
        values |= {"tls": certificates.files, "implicit_tls": transcript.settings["tls"] == "implicit"}
    return listener_with(**values)


def _road(transcript: Transcript) -> FakeIntake:
    settings = transcript.settings
    client = CLIENT.model_copy(
        update={
            "side": settings["side"],
            "line_ends": settings.get("line_ends", CLIENT.line_ends),
            "already_accepted": settings.get("already_accepted", False),
        }
    )
    return FakeIntake(
        client,
        logins=settings.get("logins", {}),
        unknown=frozenset(settings.get("unknown", ())),
        answers={recipient: Reply(int(code), 7, 1, "Said by the road") for recipient, code in settings.get("answers", {}).items()},
        disk=settings.get("disk", ""),
        bug_at=settings.get("bug_at", ""),
    )


class Player:
    """The client's side of one dialogue."""

    def __init__(self, transcript: Transcript, certificates: Certificates, door: Door) -> None:
        self._transcript = transcript
        self._certificates = certificates
        self._door = door
        self._messages = 0

    async def run(self) -> None:
        groups = [(kind, list(steps)) for kind, steps in groupby(self._transcript.steps, key=lambda step: step.kind)]
        # What comes before the first line of the server is in the socket before the relay has seen the connection.
        early = b"".join(step.data for step in groups.pop(0)[1]) if groups[0][0] is Kind.SEND else b""
        await self._connect(early)
        for kind, steps in groups:
            if kind is Kind.SEND:
                self._writer.write(b"".join(step.data for step in steps))
                continue
            for step in steps:
                await self._step(step)
        if self._transcript.steps[-1].kind is not Kind.CLOSED:
            await self._quit(self._transcript.steps[-1])
        if self._messages != len(self._door.intake.messages):
            raise self._mismatch(self._transcript.steps[-1], f"{self._messages} messages", f"{len(self._door.intake.messages)}")

    async def _connect(self, early: bytes) -> None:
        connection = socket.create_connection(("127.0.0.1", self._door.port))
        connection.sendall(early)
        connection.setblocking(False)
        self._reader, self._writer = await asyncio.open_connection(sock=connection, limit=1_000_000)
        if self._transcript.settings.get("tls") == "implicit":
            await self._handshake()

    async def _step(self, step: Step) -> None:
        if step.kind is Kind.HEAR:
            await self._hear(step, step.text)
        elif step.kind is Kind.TLS:
            await self._handshake()
        elif step.kind is Kind.SILENCE:
            await silence(step.seconds)
        elif step.kind is Kind.SHUT:
            self._writer.write_eof()
        elif step.kind is Kind.CLOSED:
            await self._closed(step)
        else:
            self._road_took(step)

    async def _hear(self, step: Step, expected: str) -> None:
        try:
            line = await asyncio.wait_for(self._reader.readline(), PATIENCE)
        except ConnectionError as error:
            raise self._mismatch(step, expected, f"{error!r}") from None
        except TimeoutError:
            raise self._mismatch(step, expected, "silence") from None
        pattern = ".*".join(re.escape(part) for part in expected.split("...")) + "\r\n"
        if not re.fullmatch(pattern, line.decode("ascii")):
            raise self._mismatch(step, expected, repr(line))

    async def _closed(self, step: Step) -> None:
        try:
            more = await asyncio.wait_for(self._reader.read(65_536), PATIENCE)
        except ConnectionError:
            return
        except TimeoutError:
            raise self._mismatch(step, "the server closes", "silence") from None
        if more:
            raise self._mismatch(step, "the server closes", repr(more))

    async def _quit(self, step: Step) -> None:
        self._writer.write(b"QUIT\r\n")
        await self._hear(step, "221 2.0.0 Bye")
        await self._closed(step)

    async def _handshake(self) -> None:
        context = ssl.create_default_context(cafile=str(self._certificates.authority))
        await self._writer.start_tls(context, server_hostname="relay.example.nl")

    def _road_took(self, step: Step) -> None:
        messages = self._door.intake.messages
        if step.facts is None:
            if messages:
                raise self._mismatch(step, "no message", repr(messages))
            return
        if self._messages == len(messages):
            raise self._mismatch(step, "a message", "none")
        taken = messages[self._messages]
        self._messages += 1
        for name, expected in step.facts.items():
            if str(FACTS[name](taken)) != expected:
                raise self._mismatch(step, f"{name}={expected}", str(FACTS[name](taken)))

    def _mismatch(self, step: Step, expected: str, found: str) -> Mismatch:
        return Mismatch(f"{self._transcript.path.name}:{step.line}: expected {expected}, found {found}")

    def hang_up(self) -> None:
        self._writer.transport.abort()
