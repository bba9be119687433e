"""A client that sends many messages side by side and times each reply to the final dot, and a next hop that takes all of them."""

import asyncio
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from bench.growth.installation import OURS

TEXT = "Dear clerk, the hearing needs a room with a screen and two tables.\r\n" * 55  # about 4 KB, as W1
CONNECTIONS = 20


class Sink:
    """Counts the messages that it has taken. While it is `closed` it greets with 421, so that all mail waits."""

    def __init__(self) -> None:
        self.messages = 0
        self.closed = False
        self._wanted = 0
        self._reached = asyncio.Event()
        self._server: asyncio.Server | None = None

    async def start(self, port: int = 0) -> int:
        """Gives its port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        return int(self._server.sockets[0].getsockname()[1])

    async def until(self, messages: int) -> None:
        """That many have come in."""
        self._wanted = messages
        self._reached.clear()
        if self.messages < messages:
            await self._reached.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"421 4.3.2 closed\r\n" if self.closed else b"220 sink\r\n")
        try:
            while not self.closed and (line := await reader.readline()):
                word = line[:4].upper()
                if word == b"EHLO":
                    writer.write(b"250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n")
                elif word == b"DATA":
                    writer.write(b"354 go on\r\n")
                    while (await reader.readline()) != b".\r\n":
                        pass
                    self.messages += 1
                    if self.messages >= self._wanted:
                        self._reached.set()
                    writer.write(b"250 2.0.0 Ok: kept\r\n")
                elif word == b"QUIT":
                    writer.write(b"221 bye\r\n")
                    break
                else:
                    writer.write(b"250 2.0.0 Ok\r\n")
        except ConnectionError:
            pass
        writer.close()


@dataclass
class Sent:
    """`rate` in messages a second until the last was delivered; `replies` the seconds of each reply to a final dot."""

    count: int
    seconds: float
    replies: list[float]

    @property
    def rate(self) -> float:
        """Messages a second."""
        return self.count / self.seconds

    @property
    def p99_ms(self) -> float:
        """Of the reply to the final dot."""
        return 1000 * sorted(self.replies)[int(0.99 * (len(self.replies) - 1))]


async def send(port: int, sink: Sink, count: int, recipients: int = 1, connections: int = CONNECTIONS) -> Sent:
    """`count` messages, each delivered when it returns."""
    before, begun = sink.messages, time.monotonic()
    sent = await hand_in(port, count, recipients, connections)
    await sink.until(before + count)
    return Sent(count, time.monotonic() - begun, sent.replies)


async def hand_in(port: int, count: int, recipients: int = 1, connections: int = CONNECTIONS) -> Sent:
    """`count` messages, each answered with 250 when it returns, delivered or not."""
    left = iter(range(count))
    replies: list[float] = []
    begun = time.monotonic()
    await asyncio.gather(*(_session(port, left, recipients, replies) for _ in range(min(connections, count))))
    return Sent(count, time.monotonic() - begun, replies)


async def _session(port: int, left: Iterator[int], recipients: int, replies: list[float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def hear(*codes: int) -> None:
        while (line := await reader.readline())[3:4] == b"-":
            pass
        if int(line[:3] or b"0") not in codes:
            raise RuntimeError(f"the relay said {line!r}")

    await hear(220)
    writer.write(b"EHLO mail.load.test\r\n")
    await hear(250)
    for _ in left:
        name = uuid.uuid4().hex
        writer.write(f"MAIL FROM:<s{name[:3]}@{OURS}>\r\n".encode())
        await hear(250)
        for number in range(recipients):
            writer.write(f"RCPT TO:<r{name[3:7]}.{number}@court.test>\r\n".encode())
            await hear(250)
        writer.write(b"DATA\r\n")
        await hear(354)
        header = f"From: <s{name[:3]}@{OURS}>\r\nTo: <clerk@court.test>\r\nSubject: Hearing {name[:8]}\r\nMessage-ID: <{name}@{OURS}>\r\n"
        writer.write(f"{header}Date: Tue, 24 Nov 2026 09:00:00 +0100\r\n\r\n{TEXT}.\r\n".encode())
        begun = time.monotonic()
        await hear(250)
        replies.append(time.monotonic() - begun)
    writer.write(b"QUIT\r\n")
    await hear(221)
    writer.close()
