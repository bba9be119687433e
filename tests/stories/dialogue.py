"""A client that speaks line by line, so that a story can say anything, in any packet, with or without TLS.

async with talking(sluis.port()) as client:
    assert await client.say("MAIL FROM:<a@b.example>") == "250 2.1.0 Sender ok"
"""

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from tests.stories.house import CLERK, OURS, SECONDS, SENDER, Reply

HELLO = f"EHLO mail.{OURS}"
NAME = f"relay.{OURS}"


class Dialogue:
    """One connection. Replies are given as they came, lines joined by LF, without the last CRLF. A reply that does not come within a while
    raises TimeoutError, a closed connection EOFError."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.offered: list[str] = []

    async def hear(self) -> str:
        """The next reply."""
        lines: list[str] = []
        async with asyncio.timeout(SECONDS):
            while not lines or lines[-1][3:4] == "-":
                line = await self._reader.readuntil(b"\r\n")
                lines.append(line[:-2].decode())
        return "\n".join(lines)

    async def write(self, data: bytes) -> None:
        """In one packet, if it is small."""
        self._writer.write(data)
        await self._writer.drain()

    async def say(self, line: str) -> str:
        """One command, one reply."""
        await self.write(line.encode() + b"\r\n")
        return await self.hear()

    async def hello(self, line: str = HELLO) -> str:
        """EHLO or LHLO; `offered` has the extensions then."""
        reply = await self.say(line)
        self.offered = [part[4:] for part in reply.split("\n")[1:]]
        return reply

    async def secure(self, context: ssl.SSLContext, name: str = NAME) -> ssl.SSLObject:
        """STARTTLS, and EHLO again. Raises SSLError, or a ConnectionError where the relay ends it."""
        assert (await self.say("STARTTLS")).startswith("220 ")
        await self._writer.start_tls(context, server_hostname=name)
        await self.hello()
        return self.tls

    @property
    def port(self) -> int:
        """Our own, by which a connection is found among those of a process."""
        return int(self._writer.get_extra_info("sockname")[1])

    @property
    def tls(self) -> ssl.SSLObject:
        """What was agreed on."""
        found = self._writer.get_extra_info("ssl_object")
        assert isinstance(found, ssl.SSLObject)
        return found

    async def envelope(self, to: Sequence[str] = (CLERK,), sender: str = SENDER, options: str = "") -> list[str]:
        """MAIL and RCPT, one after another; recipients may carry parameters after a space. Gives every reply."""
        replies = [await self.say(f"MAIL FROM:<{sender}> {options}".rstrip())]
        for recipient in to:
            address, _, parameters = recipient.partition(" ")
            replies.append(await self.say(f"RCPT TO:<{address}> {parameters}".rstrip()))
        return replies

    async def content(self, raw: bytes, replies: int = 1) -> list[Reply]:
        """DATA and the message; under LMTP as many replies as there are recipients."""
        assert (await self.say("DATA")).startswith("354 ")
        await self.write(stuffed(raw) + b".\r\n")
        return [receipt(await self.hear()) for _ in range(replies)]

    async def send(self, raw: bytes, to: Sequence[str] = (CLERK,), sender: str = SENDER, options: str = "") -> Reply:
        """One transaction; the first refusal ends it."""
        refused = [reply for reply in await self.envelope(to, sender, options) if not reply.startswith("250 ")]
        return receipt(refused[0]) if refused else (await self.content(raw))[0]

    def shut_down(self) -> None:
        """It sends nothing more, and still listens."""
        self._writer.write_eof()

    def hang_up(self) -> None:
        """Without QUIT."""
        self._writer.transport.abort()


@asynccontextmanager
async def talking(
    port: int,
    *,
    hello: str | None = HELLO,
    host: str = "127.0.0.1",
    source: str | None = None,
    first: bytes = b"",
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Dialogue]:
    """Connects, hears the greeting and says `hello`. `first` is sent before all, as a proxy does; with `tls` it is TLS from the start."""
    reader, writer = await asyncio.open_connection(
        host, port, limit=2**20, local_addr=(source, 0) if source else None, ssl=tls, server_hostname=NAME if tls else None
    )
    client = Dialogue(reader, writer)
    try:
        if first:
            await client.write(first)
        if hello is not None:
            greeting = await client.hear()
            assert greeting.startswith("220 "), greeting
            await client.hello(hello)
        yield client
    finally:
        client.hang_up()


def stuffed(raw: bytes) -> bytes:
    """RFC 5321 §4.5.2, for a message that ends in CRLF."""
    return (b"\r\n" + raw).replace(b"\r\n.", b"\r\n..")[2:]


def receipt(text: str) -> Reply:
    """A reply as the house has them."""
    return Reply(int(text[:3]), text[4:])


def encoded(text: str) -> str:
    """Base64, as AUTH wants it."""
    return base64.b64encode(text.encode()).decode()
