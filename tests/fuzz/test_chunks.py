"""Hostile chunks against live sessions: sizes that lie, cuts anywhere, commands in between. No traceback, no hang, no bare line end taken,
and nothing left in the spool that is not a message.
"""

import asyncio
import random
import re

import pytest

from tests.fakes.intake import FakeIntake
from tests.fuzz.test_listen import all_gone
from tests.stages.listen.listening import LOOPS, listener, listening, run

SESSIONS = 30  # at the same time
ROUNDS = 3
SEEDS = range(3)
CONTENT = [
    b"Subject: x\r\n",
    b"a\r\n",
    b"b\r\n",
    b"\r\n",
    b"",
    b"\r",
    b"\n",
    b"\0",
    b".\r\n",
    b"QUIT\r\n",
    b"BDAT 9 LAST\r\n",
    b"a" * 700,
    b"\xff",
]
BETWEEN = [
    b"RSET\r\n",
    b"NOOP\r\n",
    b"DATA\r\n",
    b"QUIT\r\n",
    b"EHLO a.example\r\n",
    b"MAIL FROM:<jan@example.nl>\r\n",
    b"\r\n",
    b"\xff\r\n",
]
ENVELOPE = b"MAIL FROM:<jan@example.nl>\r\nRCPT TO:<piet@example.nl>\r\nRCPT TO:<els@example.nl>\r\n"
SIZES = [b"", b"LAST", b"-1", b"99999999999999999999", b"999999999999999999999", b"0x4", b"4 LAST LAST", b"4\tLAST"]


def hostile(dice: random.Random) -> bytes:
    """Some transactions in chunks, most of them nearly right."""
    said = b""
    for _ in range(dice.randrange(1, 4)):
        said += ENVELOPE if dice.random() < 0.9 else b""
        for _ in range(dice.randrange(1, 6)):
            said += chunk(dice)
            if dice.random() < 0.1:
                said += dice.choice(BETWEEN)
        said += b"BDAT 0 LAST\r\n" if dice.random() < 0.5 else b""
    return said


def chunk(dice: random.Random) -> bytes:
    """One BDAT; now and then its size is another than that of what follows, or is none."""
    content = b"".join(dice.choices(CONTENT, k=dice.randrange(4)))
    size = len(content)
    if dice.random() < 0.05:
        size = max(0, size + dice.randrange(-3, 4))
    argument = dice.choice(SIZES) if dice.random() < 0.02 else str(size).encode() + dice.choice([b"", b"", b" LAST"])
    return b"BDAT " + argument + b"\r\n" + content


async def attack(kind: str, port: int, dice: random.Random) -> bytes:
    """One client. Gives what it heard; it closes its side, or hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    heard = b""
    try:
        heard += await reader.readuntil(b"\r\n")
        writer.write(b"LHLO a.example\r\n" if kind == "lmtp" else b"EHLO a.example\r\n")
        while not re.search(rb"^250 ", heard, re.MULTILINE):  # EHLO is the last of its group
            heard += await reader.readuntil(b"\r\n")
        said = hostile(dice)
        edges = sorted(dice.randrange(len(said) + 1) for _ in range(dice.randrange(6)))
        for start, end in zip([0, *edges], [*edges, len(said)], strict=True):
            writer.write(said[start:end])
            await writer.drain()
            await asyncio.sleep(0)
        if dice.random() < 0.2:
            return heard
        writer.write_eof()
        heard += await reader.read()
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.transport.abort()
    return heard


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("seed", SEEDS)
def test_no_chunks_bring_a_traceback_a_hang_or_a_bare_line_end(seed: int, loop: str) -> None:
    common = {"data_timeout": 20, "command_timeout": 20, "connections_per_address": 500, "message_size": 2000}
    kinds = [listener(name="smtp", **common), listener(name="lmtp", side="outside", protocol="lmtp", **common)]

    async def dialogue() -> None:
        road = FakeIntake()
        async with listening(road, *kinds) as door:
            for turn in range(ROUNDS):
                every_dice = [random.Random(f"{seed} {turn} {number}") for number in range(SESSIONS)]
                attacks = [attack(name, port, dice) for dice in every_dice for name, _, port in [dice.choice(door.bound)]]
                for heard in await asyncio.gather(*attacks):
                    assert all(re.fullmatch(rb"[2-5][0-5][0-9][ -][ -~]*", line) for line in heard.split(b"\r\n")[:-1]), heard
                await all_gone(door)
            assert door.listeners.counts.bugs == 0
        assert len(road.messages) > ROUNDS * 5  # it came as far as that
        for taken in road.messages:
            assert taken.recipients
            assert taken.refused or not re.search(rb"\r(?!\n)|(?<!\r)\n|\0", taken.raw)
            assert len(taken.raw) <= 2000
        kept = sum(not writer.discarded for writer in road.writers)
        assert kept == len(road.messages), "what is no message was thrown away"

    run(dialogue(), loop, timeout=60)
