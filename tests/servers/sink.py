"""A next hop for tests: an SMTP or LMTP server that keeps what it receives octet by octet, and misbehaves on request."""

import asyncio
import base64
import re
import ssl
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from tests.servers.ports import free_port

EXTENSIONS = ("PIPELINING", "SIZE 52428800", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "DSN")
END = b"\r\n.\r\n"


@dataclass
class Behaviour:
    """What the sink does; change it at any time. A stage is CONNECT, EHLO, STARTTLS, AUTH, MAIL, RCPT, DATA, CONTENT (amid the message),
    DOT, RSET or QUIT.

    `replies` maps a stage to the reply given there, an address to the reply to its RCPT, and `DOT:address` to its reply after an LMTP
    message. `keep_at_dot` takes a message in before the reply to its final dot, whether that comes or not, unless it is a refusal.
    `drop_at` closes the connection at a stage instead of answering, `hang_at` waits until the sink is closed, `gates` until an
    event is set. `extensions` are offered beside STARTTLS and AUTH. `extra` is written along with the reply of a stage, as an attacker
    might."""

    extensions: tuple[str, ...] = EXTENSIONS
    replies: dict[str, str] = field(default_factory=dict)
    drop_at: set[str] = field(default_factory=set)
    hang_at: set[str] = field(default_factory=set)
    gates: dict[str, asyncio.Event] = field(default_factory=dict)
    extra: dict[str, bytes] = field(default_factory=dict)
    offer_starttls: bool = True
    break_handshake: bool = False
    logins: dict[str, str] = field(default_factory=dict)
    auth: str = "PLAIN LOGIN"
    lmtp: bool = False
    keep_at_dot: bool = False


@dataclass
class Envelope:
    """One transaction as the sink saw it; parameters are as written. `connection` counts from 1."""

    sender: str
    parameters: tuple[str, ...]
    connection: int
    tls: str | None
    login: str | None
    helo: str
    recipients: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)

    @property
    def addresses(self) -> list[str]:
        """The accepted recipients."""
        return [address for address, _ in self.recipients]


class Message(NamedTuple):
    """`raw` is what was sent, with dot-stuffing undone; `wire` is what came over the wire before the final dot."""

    envelope: Envelope
    raw: bytes
    wire: bytes


class Sink:
    """`async with Sink() as sink:` listens on a port of `address` that stays its own while it does not. With `certificate` (chain and key
    files) it offers STARTTLS. With `folder` each message is also written there as `1.eml`, `2.eml`, … `commands` is all that was said to
    it, `answers` what it said at which stage, or to which recipient, `ahead` what of that came along with the command before, without a
    wait for its reply, `waiting` the stages at which sessions wait for a gate."""

    def __init__(
        self,
        behaviour: Behaviour | None = None,
        *,
        certificate: tuple[Path, Path] | None = None,
        tls_maximum: ssl.TLSVersion | None = None,
        folder: Path | None = None,
        address: str = "127.0.0.1",
    ) -> None:
        self.behaviour = behaviour or Behaviour()
        self.messages: list[Message] = []
        self.commands: list[str] = []
        self.answers: list[tuple[str, str]] = []
        self.ahead: list[str] = []
        self.waiting: list[str] = []
        self.connections = 0
        self.open_connections = 0
        self.most_open = 0
        self.port = free_port(self)
        self.server_names: list[str | None] = []
        self._address = address
        self._folder = folder
        self._server: asyncio.Server | None = None
        self._sessions: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Condition()
        self._context = self._make_context(certificate, tls_maximum) if certificate else None

    def _make_context(self, certificate: tuple[Path, Path], maximum: ssl.TLSVersion | None) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        if maximum is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # an old server is what is wanted here
                context.minimum_version = ssl.TLSVersion.TLSv1
                context.maximum_version = maximum
            context.set_ciphers("ALL:@SECLEVEL=0")
        context.sni_callback = lambda _socket, name, _context: self.server_names.append(name)
        return context

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.stop()

    async def start(self, port: int = 0) -> None:
        """Listens; a sink that was stopped may start again on its old port, or on that of another at another address."""
        self.port = port or self.port
        self._server = await asyncio.start_server(self._connected, self._address, self.port, limit=2**16)

    async def stop(self) -> None:
        """Closes the socket and every session."""
        if self._server:
            self._server.close()
        for session in list(self._sessions):
            session.cancel()
        await asyncio.gather(*self._sessions, return_exceptions=True)
        if self._server:
            await self._server.wait_closed()

    async def wait_for_messages(self, count: int, timeout: float = 90) -> list[Message]:
        """Waits until at least `count` messages are here."""
        async with asyncio.timeout(timeout), self._changed:
            await self._changed.wait_for(lambda: len(self.messages) >= count)
        return self.messages

    async def keep(self, message: Message) -> None:
        """Takes a message in."""
        self.messages.append(message)
        if self._folder:
            (self._folder / f"{len(self.messages)}.eml").write_bytes(message.raw)
        async with self._changed:
            self._changed.notify_all()

    @property
    def context(self) -> ssl.SSLContext | None:
        """The TLS context, if there is a certificate."""
        return self._context

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Not a coroutine: one that is cancelled before its first step would leave its connection open."""
        if self._server is None or not self._server.is_serving():
            writer.transport.abort()
            return
        task = asyncio.create_task(self._serve(reader, writer))
        self._sessions.add(task)
        task.add_done_callback(lambda _: writer.transport.abort())
        task.add_done_callback(self._sessions.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open_connections += 1
        self.most_open = max(self.most_open, self.open_connections)
        session = Session(self, reader, writer, self.connections)
        try:
            await session.run()
        except (Dropped, ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        except asyncio.CancelledError:
            if self._server is not None and self._server.is_serving():
                raise
        finally:
            self.open_connections -= 1


class Dropped(Exception):
    """The sink ends the session."""


class Session:
    """One connection."""

    def __init__(self, sink: Sink, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        self.sink = sink
        self.reader = reader
        self.writer = writer
        self.number = number
        self.buffer = b""
        self.helo = ""
        self.tls: str | None = None
        self.login: str | None = None
        self.envelope: Envelope | None = None

    async def run(self) -> None:
        """Greeting, then commands until QUIT or a drop."""
        await self.answer("CONNECT", "220 sink.example ESMTP")
        while True:
            pipelined = b"\r\n" in self.buffer
            line = (await self.until(b"\r\n")).decode("utf-8", "surrogateescape")
            self.sink.commands.append(line)
            if pipelined:
                self.sink.ahead.append(line)
            verb, _, argument = line.partition(" ")
            handler = getattr(self, f"do_{verb.lower()}", None)
            if handler is None:
                await self.answer(verb.upper(), "502 5.5.1 Command not implemented")
            else:
                await handler(argument)

    async def answer(self, stage: str, default: str, *, key: str | None = None) -> bool:
        """Writes the reply of a stage, or drops, or hangs. True if it was positive."""
        behaviour = self.sink.behaviour
        if stage in behaviour.drop_at:
            raise Dropped
        if stage in behaviour.hang_at:
            await asyncio.Event().wait()
        if stage in behaviour.gates:
            self.sink.waiting.append(stage)
            await behaviour.gates[stage].wait()
        reply = behaviour.replies.get(key or stage, default)
        self.sink.answers.append((key or stage, reply))
        self.writer.write(reply.replace("\n", "\r\n").encode("utf-8", "surrogateescape") + b"\r\n" + behaviour.extra.get(stage, b""))
        await self.writer.drain()
        if reply.startswith("421"):
            raise Dropped
        return reply[:1] in "23"

    async def until(self, end: bytes, stage: str = "") -> bytes:
        """The octets before `end`."""
        while end not in self.buffer:
            if stage and self.buffer and stage in self.sink.behaviour.drop_at:
                raise Dropped
            if stage and self.buffer and stage in self.sink.behaviour.hang_at:
                await asyncio.Event().wait()
            data = await self.reader.read(2**16)
            if not data:
                raise Dropped
            self.buffer += data
        found, _, self.buffer = self.buffer.partition(end)
        return found

    async def do_ehlo(self, argument: str) -> None:
        self.helo = argument
        self.envelope = None
        behaviour = self.sink.behaviour
        lines = ["sink.example", *behaviour.extensions]
        if self.sink.context and behaviour.offer_starttls and not self.tls:
            lines.append("STARTTLS")
        if behaviour.logins:
            lines.append(f"AUTH {behaviour.auth}")
        marks = ["-"] * (len(lines) - 1) + [" "]
        await self.answer("EHLO", "\n".join(f"250{mark}{line}" for mark, line in zip(marks, lines, strict=True)))

    async def do_lhlo(self, argument: str) -> None:
        await self.do_ehlo(argument)

    async def do_helo(self, argument: str) -> None:
        self.helo = argument
        await self.answer("HELO", "250 sink.example")

    async def do_starttls(self, _: str) -> None:
        if not await self.answer("STARTTLS", "220 2.0.0 Go ahead"):
            return
        if self.sink.behaviour.break_handshake:
            self.writer.write(b"this is no TLS\r\n" * 10)
            await self.writer.drain()
            raise Dropped
        assert self.sink.context is not None
        await self.writer.start_tls(self.sink.context)
        self.tls = self.writer.get_extra_info("ssl_object").version()
        self.buffer = b""

    async def do_auth(self, argument: str) -> None:
        method, _, initial = argument.partition(" ")
        if method.upper() == "PLAIN":
            user, password = base64.b64decode(initial).decode().split("\0")[1:]
        else:
            user = base64.b64decode(initial).decode()
            await self.answer("AUTH-CHALLENGE", "334 UGFzc3dvcmQ6")
            password = base64.b64decode(await self.until(b"\r\n")).decode()
        right = self.sink.behaviour.logins.get(user) == password
        if right:
            self.login = user
        await self.answer("AUTH", "235 2.7.0 Welcome" if right else "535 5.7.8 Authentication failed")

    async def do_mail(self, argument: str) -> None:
        path, parameters = _path(argument)
        if await self.answer("MAIL", "250 2.1.0 Ok"):
            self.envelope = Envelope(path, parameters, self.number, self.tls, self.login, self.helo)

    async def do_rcpt(self, argument: str) -> None:
        path, parameters = _path(argument)
        if self.envelope is None:
            await self.answer("RCPT", "503 5.5.1 MAIL first")
            return
        replies = self.sink.behaviour.replies
        if await self.answer("RCPT", "250 2.1.5 Ok", key=path if path in replies else None):
            self.envelope.recipients.append((path, parameters))

    async def do_data(self, _: str) -> None:
        if self.envelope is None or not self.envelope.recipients:
            await self.answer("DATA-EARLY", "554 5.5.1 No valid recipients")
            return
        if not await self.answer("DATA", "354 Go ahead"):
            return
        envelope, self.envelope = self.envelope, None
        self.buffer = b"\r\n" + self.buffer
        wire = (await self.until(END, "CONTENT"))[2:] + b"\r\n"
        message = Message(envelope, re.sub(rb"(?m)(\A|(?<=\r\n))\.", b"", wire), wire)
        if self.sink.behaviour.keep_at_dot and not self.sink.behaviour.replies.get("DOT", "250").startswith(("4", "5")):
            await self.sink.keep(message)
            await self.answer("DOT", "250 2.0.0 Ok: queued")
        elif await self._accepted(envelope):
            await self.sink.keep(message)

    async def _accepted(self, envelope: Envelope) -> bool:
        """A sink that drops at DOT has taken the message all the same: that is what makes such an end unknown."""
        if not self.sink.behaviour.lmtp:
            if {"DOT"} & (self.sink.behaviour.drop_at | self.sink.behaviour.hang_at):
                return await self._kept_and_gone(envelope)
            return await self.answer("DOT", "250 2.0.0 Ok: queued")
        answers = [
            await self.answer(
                "DOT", "250 2.0.0 Ok: delivered", key=f"DOT:{address}" if f"DOT:{address}" in self.sink.behaviour.replies else None
            )
            for address in envelope.addresses
        ]
        return any(answers)

    async def _kept_and_gone(self, envelope: Envelope) -> bool:
        await self.sink.keep(Message(envelope, b"", b""))
        return await self.answer("DOT", "")

    async def do_rset(self, _: str) -> None:
        self.envelope = None
        await self.answer("RSET", "250 2.0.0 Ok")

    async def do_noop(self, _: str) -> None:
        await self.answer("NOOP", "250 2.0.0 Ok")

    async def do_quit(self, _: str) -> None:
        await self.answer("QUIT", "221 2.0.0 Bye")
        raise Dropped


def _path(argument: str) -> tuple[str, tuple[str, ...]]:
    match = re.fullmatch(r"(?:FROM|TO):<(.*?)>((?: \S+)*)", argument, re.IGNORECASE | re.DOTALL)
    assert match is not None, f"no path in {argument!r}"
    return match[1], tuple(match[2].split())
