"""Delivery as it runs in the relay: under uvloop, with little memory, stopped in the middle."""

import asyncio
import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import uvloop

from relay.deliver.deliverer import Deliverer
from relay.model.delivery import State
from relay.model.errors import SpoolError, SpoolUnavailable, Withdrawn
from relay.model.message import Signed
from relay.policy.models import TlsLevel
from tests.fakes.custody import MemoryBody, claimed, stored
from tests.fakes.dns import FakeResolver
from tests.servers.certificates import issue, make_ca
from tests.servers.sink import Behaviour, Sink
from tests.stages.deliver.way_out import MESSAGE, PREFIX, deliver, deliverer, marked, route, run, settings


def test_it_runs_under_uvloop(tmp_path: Path) -> None:
    ca = make_ca(tmp_path)
    message = b"From: jan@example.nl\r\n\r\n" + b".een regel met een punt\r\n" * 50_000

    async def dialogue() -> None:
        async with Sink(certificate=issue(ca, ["x.example"], ["127.0.0.1"])) as sink:
            out = Deliverer(settings(), FakeResolver())
            way = route(sink, tls=TlsLevel.VERIFIED, ca_file=str(ca.certificate))
            for _ in range(2):
                outcomes = await deliver(out, way, [f"r{number}@partner.example" for number in range(120)], message)
                assert {outcome.state for outcome in outcomes} == {State.DELIVERED}
            assert [item.raw == PREFIX + message for item in sink.messages] == [True, True]
            assert sink.connections == 1
            await out.close()

    uvloop.run(dialogue())


class Endless:
    """A spool object of `size` octets that is made while it is read."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.line = b"x" * 62 + b"\r\n"

    def chunks(self, start: int = 0) -> Iterator[bytes]:
        yield b"From: jan@example.nl\r\n\r\n"
        for _ in range(self.size // 65_536):
            yield self.line * 1024
        raise SpoolError("the last chunk is missing")

    def close(self) -> None: ...


def test_memory_does_not_grow_with_the_message() -> None:
    async def server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Takes everything and keeps nothing."""
        with closing(writer):  # cancelled too: the dialogue may be over before the end of the connection was read
            writer.write(b"220 x\r\n")
            while line := await reader.readline():
                if line.startswith(b"DATA"):
                    writer.write(b"354 go\r\n")
                    while await reader.read(65_536):
                        pass
                    break
                writer.write(b"250 ok\r\n")

    async def dialogue() -> None:
        listening = await asyncio.start_server(server, "127.0.0.1", 0)
        out = deliverer()
        signed = Signed(claimed(stored(MESSAGE)), PREFIX)
        tracemalloc.start()
        try:
            body = Endless(100 * 1024 * 1024)
            [outcome] = await out.deliver(signed, route(listening.sockets[0].getsockname()[1]), lambda: body, marked)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        listening.close()
        assert outcome.status == "5.3.0"
        assert peak < 5 * 1024 * 1024

    run(dialogue(), timeout=120)


def test_a_spool_object_that_breaks_off_is_not_sent_and_waits_for_a_person() -> None:
    async def dialogue() -> None:
        async with Sink() as sink:
            out = deliverer()
            signed = Signed(claimed(stored(MESSAGE)), PREFIX)
            [outcome] = await out.deliver(signed, route(sink), lambda: Endless(65_536), marked)
            assert (outcome.state, outcome.status) == (State.UNDELIVERABLE, "5.3.0")
            assert "the last chunk is missing" in outcome.reply
            await deliver(out, route(sink))
            assert [message.raw for message in sink.messages] == [PREFIX + MESSAGE]

    run(dialogue())


def test_a_body_that_is_not_the_one_that_was_recorded_is_not_sent_and_waits_for_a_person() -> None:
    async def dialogue() -> None:
        async with Sink() as sink:
            other = MESSAGE.replace(b"Subject", b"subject")
            assert other != MESSAGE
            [outcome] = await deliverer().deliver(Signed(claimed(stored(MESSAGE)), PREFIX), route(sink), lambda: MemoryBody(other), marked)
            assert (outcome.state, outcome.status) == (State.UNDELIVERABLE, "5.3.0")
            assert "not the one that was recorded" in outcome.reply
            assert sink.messages == []

    run(dialogue())


def test_a_spool_object_that_cannot_be_had_now_is_not_bounced() -> None:
    def gone() -> MemoryBody:
        raise SpoolUnavailable("no such object")

    async def dialogue() -> None:
        async with Sink() as sink:
            [outcome] = await deliverer().deliver(Signed(claimed(stored(MESSAGE)), PREFIX), route(sink), gone, marked)
            assert (outcome.state, outcome.status) == (State.READY, "4.3.0")
            assert sink.messages == []

    run(dialogue())


def test_a_delivery_that_is_cancelled_before_the_mark_sends_nothing() -> None:
    async def dialogue() -> None:
        reached = asyncio.Event()

        async def wait_forever() -> None:
            reached.set()
            await asyncio.Event().wait()

        async with Sink() as sink:
            task = asyncio.create_task(deliver(deliverer(), route(sink), mark=wait_forever))
            await reached.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await deliver(deliverer(), route(sink), ("ander@partner.example",))
            assert [message.envelope.addresses for message in sink.messages] == [["ander@partner.example"]]

    run(dialogue())


def test_the_brake_between_two_destinations_stops_the_second_only() -> None:
    passed: list[int] = []

    async def mark() -> None:
        if passed:
            raise Withdrawn("the brake fell")
        passed.append(1)

    async def dialogue() -> None:
        async with Sink() as sink:
            resolver = FakeResolver(hosts={"a.example": ["127.0.0.1"], "b.example": ["127.0.0.1"]})
            way = route(sink, smart_host=None, port=sink.port)
            outcomes = await deliver(deliverer(resolver), way, ("x@a.example", "y@b.example"), mark=mark)
            assert sorted(outcome.state for outcome in outcomes) == [State.DELIVERED, State.READY]
            assert len(sink.messages) == 1

    run(dialogue())


def test_an_lmtp_server_that_dies_amid_its_replies_leaves_only_the_rest_unknown() -> None:
    behaviour = Behaviour(lmtp=True, replies={"DOT:b@x.example": "421 4.3.2 Dying"})

    async def dialogue() -> None:
        async with Sink(behaviour) as sink:
            outcomes = await deliver(deliverer(), route(sink, lmtp=True), ("a@x.example", "b@x.example", "c@x.example"))
            assert [(outcome.state, outcome.unknown) for outcome in outcomes] == [
                (State.DELIVERED, False),
                (State.READY, False),
                (State.READY, True),
            ]

    run(dialogue())
