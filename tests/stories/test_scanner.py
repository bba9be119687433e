"""The scanner goes away: what it must answer for waits, and nothing passes unseen."""

import asyncio
from pathlib import Path

from relay.settings.models import Store
from tests.servers.clamd import TEST_SIGNATURE, running_clamd
from tests.servers.sink import Sink
from tests.stories.house import house, message, with_attachment

POLICY = {"inspection.yaml": "outbound: [yara, type, archive, clamd]\n"}
ACCEPTED_BEFORE = """\
clients:
  - name: edge
    side: inside
    addresses: [127.0.0.1/32]
    require_tls: false
    already_accepted: true
    may_send_as: [prosecution.example]
    may_send_to: ["*"]
"""


def test_what_a_real_clamd_finds_is_quarantined(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        with running_clamd() as clamd:
            settings = {"clamd": {"socket": str(clamd.socket)}}
            async with Sink() as sink, house(tmp_path, database, outside=sink.port, policy=POLICY, settings=settings) as sluis:
                bad = await sluis.send(with_attachment("report.txt", b"a " + TEST_SIGNATURE, "text/plain"))
                good = await sluis.send(message())
                await sluis.until_states(good, "delivered")
                (row,) = await sluis.until_states(bad, "quarantined")
                assert ("clamd", "malware") in {(item["inspector"], item["kind"]) for item in row.m_inspection["findings"]}
                assert len(sink.messages) == 1

    asyncio.run(story())


def test_while_the_scanner_is_down_the_client_hears_451_and_is_heard_again_later(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        with running_clamd() as clamd:
            settings = {"clamd": {"socket": str(clamd.socket), "connect_timeout": 1, "deadline": 5}}
            async with Sink() as sink, house(tmp_path, database, outside=sink.port, policy=POLICY, settings=settings) as sluis:
                await asyncio.to_thread(clamd.kill)
                reply = await sluis.send(message())
                assert (reply.code, reply.text[:5]) == (451, "4.7.1")
                assert sluis.states(reply.id) == ["refused"]
                assert sink.messages == []
                await asyncio.to_thread(clamd.start)
                await sluis.until_states(await sluis.until_taken(message()), "delivered")

    asyncio.run(story())


def test_what_was_accepted_before_is_kept_and_scanned_when_the_scanner_is_back(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        with running_clamd() as clamd:
            settings = {"clamd": {"socket": str(clamd.socket), "connect_timeout": 1, "deadline": 5}}
            policy = {**POLICY, "clients.yaml": ACCEPTED_BEFORE}
            async with Sink() as sink, house(tmp_path, database, outside=sink.port, policy=policy, settings=settings) as sluis:
                await asyncio.to_thread(clamd.suspend)
                reply = await sluis.send(message())
                assert reply.code == 250
                assert sluis.states(reply.id) == ["undecided"]
                assert sink.messages == []
                await asyncio.to_thread(clamd.resume)
                await sluis.until_states(reply, "delivered")
                virus = await sluis.send(with_attachment("report.txt", TEST_SIGNATURE, "text/plain"))
                assert virus.code == 250, "a client that has said 250 never hears 5xx after DATA"
                await sluis.until_states(virus, "quarantined")

    asyncio.run(story())
