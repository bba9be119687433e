"""Hostile bytes against live sessions: no traceback, no hang, no reply out of its grammar, no bare line end taken."""

import asyncio
import contextlib
import random
import re
from dataclasses import dataclass

import pytest

from relay.settings.models import TlsFiles
from tests.fakes.intake import FakeIntake
from tests.servers.certificates import issue, make_ca
from tests.stages.listen.clock import MOVED, silence
from tests.stages.listen.listening import HOSTNAME, LOOPS, Door, listener, listening, run

SESSIONS = 30  # at the same time
ROUNDS = 4
SEEDS = range(4)
SECONDS = 20.0
"""For which both sides are patient; the clock is put forward when all has been said."""
GLANCE = 0.02
"""Seconds for an answer that may come or not."""

GOOD = [
    b"EHLO client.example\r\n",
    b"HELO client.example\r\n",
    b"LHLO client.example\r\n",
    b"MAIL FROM:<jan@example.nl> SIZE=100 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=a+2Bb\r\n",
    b"MAIL FROM:<>\r\n",
    b"RCPT TO:<piet@partner.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;piet@partner.example\r\n",
    b"RCPT TO:<postmaster>\r\n",
    b"DATA\r\n",
    b"Subject: x\r\n\r\n..hello\r\n.\r\n",
    b".\r\n",
    b"BDAT 7\r\n.\r\na\r\n",
    b"BDAT 3\r\nab\r",
    b"BDAT 6 LAST\r\n\nQUIT\r",
    b"BDAT 0 LAST\r\n",
    b"RSET\r\n",
    b"NOOP\r\n",
    b"VRFY jan\r\n",
    b"STARTTLS\r\n",
    b"AUTH PLAIN AGphbgBnZWhlaW0=\r\n",
    b"AUTH LOGIN\r\n",
    b"amFu\r\n",
    b"*\r\n",
    b"XCLIENT ADDR=192.0.2.7 PORT=25 HELO=a.example LOGIN=jan\r\n",
    b"XFORWARD NAME=a.example ADDR=192.0.2.7\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 25\r\n",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x01\x9c\x40\0\x19",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"QUIT\r\n",
]
EVIL = [
    b"\r",
    b"\n",
    b"\0",
    b"\r\n",
    b"\n.\n",
    b"\r.\r",
    b"\xff",
    b"\xe2\x80\xae",
    b"<",
    b">",
    b" ",
    b"=",
    b"\x1b[31m",
    b"A" * 3000,
    b"x" * 140_000,
]
END = b"\r\n.\r\n"
PROXY = b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 25\r\n"


def way_to_data(kind: str) -> list[bytes]:
    """Well-formed: so that the rest meets a session in each of its states."""
    hello = b"LHLO client.example\r\n" if kind == "lmtp" else b"EHLO client.example\r\n"
    return [hello, b"MAIL FROM:<jan@example.nl>\r\n", b"RCPT TO:<piet@example.nl>\r\n", b"DATA\r\n"]


def hostile(dice: random.Random) -> list[bytes]:
    """What one client sends, in the pieces in which it sends it."""
    pieces = dice.choices(GOOD, k=dice.randrange(1, 12))
    for index in range(len(pieces)):
        if dice.random() < 0.4:
            pieces[index] = mutated(pieces[index], dice)
    if dice.random() < 0.5:
        return pieces
    whole = b"".join(pieces)
    cuts = sorted(dice.randrange(len(whole) + 1) for _ in range(dice.randrange(6)))
    return [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]


def mutated(piece: bytes, dice: random.Random) -> bytes:
    """Something put in, taken out, doubled or turned over."""
    place = dice.randrange(len(piece) + 1)
    match dice.randrange(5):
        case 0:
            return piece[:place] + dice.choice(EVIL) + piece[place:]
        case 1:
            return piece[:place]
        case 2:
            return piece[:place] + piece
        case 3:
            return piece[:place] + dice.randbytes(dice.randrange(1, 9)) + piece[place + 1 :]
        case _:
            return piece.swapcase()


@dataclass
class Client:
    """One that has said what it has to say, and what it has heard until then."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    heard: bytes = b""

    async def say(self, piece: bytes, patience: float) -> None:
        """And hears what is said within so many seconds. Raises OSError."""
        self.writer.write(piece)
        await self.writer.drain()
        with contextlib.suppress(TimeoutError):
            self.heard += await asyncio.wait_for(self.reader.read(65_536), patience)

    async def to_the_end(self) -> bytes:
        """All that it has heard, when the relay has closed."""
        with contextlib.suppress(OSError):
            self.heard += await self.reader.read()
        self.writer.transport.abort()
        return self.heard


async def attack(kind: str, port: int, dice: random.Random) -> Client:
    """Says what is polite, and waits until it is answered; then what is hostile. Now and then it hangs up in the middle."""
    client = Client(*await asyncio.open_connection("127.0.0.1", port))
    polite = way_to_data(kind)[: dice.randrange(5)]
    ending = [END] if len(polite) == 4 and dice.random() < 0.7 else []
    announced = kind != "proxied" or dice.random() < 0.8
    patience = SECONDS if announced else GLANCE  # a proxy that does not say whom it brings is not greeted
    with contextlib.suppress(OSError):
        if kind == "proxied" and announced:
            client.writer.write(PROXY)
        if dice.random() < 0.9:
            await client.say(b"", patience)
        for piece in polite:
            await client.say(piece, patience)
        for piece in [*hostile(dice), *ending]:
            if client.writer.is_closing():
                break
            await client.say(piece, GLANCE if dice.random() < 0.5 else 0)
        if dice.random() < 0.2:
            client.writer.transport.abort()
        elif dice.random() < 0.5 and not client.writer.is_closing():
            client.writer.write_eof()
    return client


async def all_gone(door: Door) -> None:
    """Every session has come to its end."""
    for group in door.listeners.groups.values():
        for session in list(group.sessions):
            await session.task


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("seed", SEEDS)
def test_no_bytes_bring_a_traceback_a_hang_or_a_bare_line_end(seed: int, loop: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    chain, key = issue(make_ca(tmp_path_factory.mktemp("ca")), [HOSTNAME])
    common = {"command_timeout": SECONDS, "data_timeout": SECONDS, "connections_per_address": 500}
    local = ("127.0.0.0/8",)
    kinds = [
        listener(name="plain", **common),
        listener(name="tls", tls=TlsFiles(certificate=chain, key=key), auth=True, xclient_from=local, xforward_from=local, **common),
        listener(name="lmtp", side="outside", protocol="lmtp", message_size=2000, **common),
        listener(name="proxied", side="outside", proxy_from=local, **common),
    ]

    async def dialogue() -> None:
        road = FakeIntake(logins={"jan": "geheim"})
        async with listening(road, *kinds) as door:
            for turn in range(ROUNDS):
                every_dice = [random.Random(f"{seed} {turn} {number}") for number in range(SESSIONS)]
                chosen = [(*dice.choice(door.bound), dice) for dice in every_dice]
                clients = await asyncio.gather(*(attack(name, port, dice) for name, _, port, dice in chosen))
                ends = asyncio.gather(*(client.to_the_end() for client in clients))
                while not ends.done():
                    await silence(SECONDS)
                for heard in await ends:
                    for line in heard.split(b"\r\n")[:-1]:
                        assert (
                            re.fullmatch(rb"[2-5][0-5][0-9][ -][ -~]*", line) or heard.startswith(b"\x15") or b"220 2.0.0 Ready" in heard
                        ), line
                await all_gone(door)
            assert door.listeners.counts.bugs == 0
            assert all(group.limits.open == 0 and not group.sessions for group in door.listeners.groups.values())
        assert len(road.messages) > ROUNDS  # it came as far as that
        for taken in road.messages:
            assert taken.recipients
            assert taken.refused or not re.search(rb"\r(?!\n)|(?<!\r)\n|\0", taken.raw)

    run(dialogue(), loop, timeout=100_000, loops=MOVED)
