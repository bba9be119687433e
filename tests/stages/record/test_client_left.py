"""A client that is gone when its message would be committed: nothing is taken, for it will send it again."""

import asyncio
from dataclasses import dataclass, field, replace

import pytest

from relay.model.delivery import State
from relay.model.errors import ClientLeft
from relay.model.message import Decided, Recorded
from relay.store import states
from tests.servers.recording import Recording


@dataclass
class Client:
    """`gone`: it has closed its side; `hearing`: it can hear all the same. `asked` are the codes that it was asked to hear."""

    gone: bool
    hearing: bool = False
    asked: list[int] = field(default_factory=list)

    def left(self) -> bool:
        return self.gone

    async def hears(self, code: int) -> bool:
        self.asked.append(code)
        return self.hearing


def of(recording: Recording, client: Client, key: bytes = b"k" * 32) -> Decided:
    decided = recording.decided()
    received = replace(decided.inspected.received, receipt=key, hearing=client)
    return replace(decided, inspected=replace(decided.inspected, received=received))


def everything(recording: Recording) -> list[int]:
    return [len(recording.rows(table)) for table in ("message", "delivery", "queue", "event", "event_record")]


def test_of_a_client_that_is_gone_nothing_is_taken_and_the_body_goes(recording: Recording) -> None:
    client = Client(gone=True)
    with pytest.raises(ClientLeft):
        asyncio.run(recording.record.accept(of(recording, client), [State.READY]))
    assert client.asked == [250]
    assert everything(recording) == [0, 0, 0, 0, 0]
    assert list(recording.spool.names()) == []
    assert recording.reader.read_now(states.balance).holds


def test_of_one_that_hears_all_the_same_it_is_taken_once(recording: Recording) -> None:
    taken = asyncio.run(recording.record.accept(of(recording, Client(gone=True, hearing=True)), [State.READY]))
    assert isinstance(taken, Recorded)
    assert everything(recording) == [1, 1, 1, 1, 1]


def test_one_that_waits_is_not_asked(recording: Recording) -> None:
    client = Client(gone=False)
    assert isinstance(asyncio.run(recording.record.accept(of(recording, client), [State.READY])), Recorded)
    assert client.asked == []


def test_in_a_batch_one_that_is_gone_takes_no_other_with_it(recording: Recording) -> None:
    async def story() -> list[object]:
        clients = [Client(gone=number % 3 == 0) for number in range(12)]
        works = [
            recording.record.accept(of(recording, client, bytes([number]) * 32), [State.READY]) for number, client in enumerate(clients)
        ]
        return await asyncio.gather(*works, return_exceptions=True)

    taken = asyncio.run(story())
    assert [type(one) for one in taken] == [ClientLeft, Recorded, Recorded] * 4
    assert everything(recording) == [8] * 5
    assert recording.reader.read_now(states.balance).holds


def test_what_came_again_and_whose_client_is_gone_is_not_adopted_either(recording: Recording) -> None:
    recording.record.adoption.patience = 0.0
    asyncio.run(recording.record.accept(of(recording, Client(gone=False)), [State.READY]))
    with pytest.raises(ClientLeft):
        asyncio.run(recording.record.accept(of(recording, Client(gone=True)), [State.READY]))
    assert everything(recording) == [1, 1, 1, 1, 1]
