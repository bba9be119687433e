"""The lost 250 (RFC 1047): the same client, envelope and bytes again within a day, and the receipt was not heard: taken once."""

import asyncio
import json
from collections.abc import Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, func, select, text

from relay.model.delivery import State
from relay.model.envelope import Envelope, Recipient, Sender
from relay.model.message import Adopted, Decided, Recorded
from relay.model.reply import Reply
from relay.record.adoption import DAY_US, TELL_AT, TELL_SECONDS, Adoption, receipt_key
from relay.store import states
from relay.store.unheard import UNHEARD
from tests.fakes.custody import PEER, mailbox
from tests.servers.database import Database
from tests.servers.recording import HandClock, Recording, recording_on
from tests.stages.listen.clock import MovedAsyncio, silence

KEY, OTHER = b"k" * 32, b"o" * 32
REFUSED = Reply(550, 7, 1, "Refused by policy")
HOUR = 3600.0
POSTGRESQL = pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)


@pytest.fixture(autouse=True)
def impatient(recording: Recording) -> None:
    """Nobody else is about to tell what was heard."""
    recording.record.adoption.patience = 0.0


@pytest.fixture
def neighbour(recording: Recording, tmp_path: Path) -> Iterator[Recording]:
    """A second process on the same store and spool."""
    with recording_on(recording.store, tmp_path) as second:
        second.record.adoption.patience = 0.0
        yield second


def transaction(recording: Recording, key: bytes = KEY, *wanted: State) -> Decided:
    """What came in whole, and was decided."""
    decided = recording.decided(wanted or (State.READY,))
    inspected = decided.inspected
    return replace(decided, inspected=replace(inspected, received=replace(inspected.received, receipt=key)))


async def take(recording: Recording, key: bytes = KEY, codes: tuple[int, ...] = (250,), *wanted: State) -> Recorded | Adopted:
    """One transaction as far as its reply."""
    states_ = wanted or (State.READY,)
    return await recording.record.accept(transaction(recording, key, *states_), states_, codes)


def moved(story: Coroutine[Any, Any, Any]) -> Any:
    """On a loop whose clock the story moves."""
    with asyncio.Runner(loop_factory=MovedAsyncio) as runner:
        return runner.run(story)


def identity(taken: Recorded | Adopted) -> Any:
    """The id that the client hears."""
    return taken.message_id if isinstance(taken, Adopted) else taken.decided.inspected.received.id


def rows(recording: Recording) -> int:
    """Receipts that nobody is known to have heard."""
    with recording.engine.connect() as connection:
        return int(connection.execute(select(func.count()).select_from(UNHEARD)).scalar() or 0)


def test_what_is_sent_again_hears_the_first_receipt_and_adds_nothing_but_an_event(recording: Recording) -> None:
    first = asyncio.run(take(recording))
    second = asyncio.run(take(recording))
    assert isinstance(first, Recorded)
    assert second == Adopted(identity(first), first.commitment, (250,))
    assert len(recording.rows("message")) == len(recording.rows("delivery")) == len(recording.rows("queue")) == 1
    accepted, adopted = recording.rows("event_record")
    assert json.loads(adopted["canonical"])["kind"] == "adopted"
    assert adopted["message_id"] == accepted["message_id"] == identity(first)
    assert list(recording.spool.names()) == [identity(first).hex]
    assert recording.reader.read_now(states.balance).holds


def test_it_may_be_sent_again_more_than_once(recording: Recording) -> None:
    taken = [asyncio.run(take(recording)) for _ in range(4)]
    assert [type(one) for one in taken] == [Recorded, Adopted, Adopted, Adopted]
    assert len({identity(one) for one in taken}) == 1


def test_what_was_heard_and_is_sent_again_is_a_new_message(recording: Recording) -> None:
    async def story() -> None:
        for _ in range(3):
            assert isinstance(await take(recording), Recorded)
            recording.record.adoption.heard(KEY)  # the store is not told yet
        await recording.record.adoption.flush()

    asyncio.run(story())
    assert len(recording.rows("message")) == 3
    assert rows(recording) == 0


def test_what_was_adopted_and_then_heard_is_a_new_message_the_next_time(recording: Recording) -> None:
    async def story() -> list[type]:
        taken = [await take(recording), await take(recording)]
        recording.record.adoption.heard(KEY)
        return [type(one) for one in [*taken, await take(recording)]]

    assert asyncio.run(story()) == [Recorded, Adopted, Recorded]


def test_another_client_envelope_or_content_is_another_message(recording: Recording) -> None:
    assert isinstance(asyncio.run(take(recording)), Recorded)
    assert isinstance(asyncio.run(take(recording, OTHER)), Recorded)


def test_mail_that_nobody_waits_for_has_no_receipt(recording: Recording) -> None:
    """What Sluis writes itself."""
    assert [type(asyncio.run(take(recording, b""))) for _ in range(2)] == [Recorded, Recorded]
    assert rows(recording) == 0


@pytest.mark.parametrize(("later_us", "kind"), [(DAY_US, Adopted), (DAY_US + 1, Recorded)])
def test_after_a_day_it_is_a_new_message(recording: Recording, later_us: int, kind: type) -> None:
    asyncio.run(take(recording))
    recording.clock.forward(later_us)
    assert isinstance(asyncio.run(take(recording)), kind)
    assert rows(recording) == 1


def test_what_was_refused_is_in_nobody_s_custody_and_is_decided_anew(recording: Recording) -> None:
    for _ in range(2):
        assert asyncio.run(recording.record.refuse(transaction(recording), REFUSED, "by rule")) is None
    assert isinstance(asyncio.run(take(recording)), Recorded)
    assert len(recording.rows("message")) == 3


def test_what_is_in_custody_is_not_refused_when_it_is_sent_again(recording: Recording) -> None:
    """The policy or the scanner may have changed its mind; the message has perhaps arrived."""
    first = asyncio.run(take(recording))
    again = asyncio.run(recording.record.refuse(transaction(recording), REFUSED, "by rule"))
    assert isinstance(again, Adopted)
    assert again.message_id == identity(first)
    assert len(recording.rows("message")) == 1
    assert list(recording.spool.names()) == [identity(first).hex]


def test_under_lmtp_each_recipient_hears_what_it_was_to_hear(recording: Recording) -> None:
    codes, wanted = (250, 550, 451), (State.READY, State.REFUSED, State.REFUSED)
    asyncio.run(take(recording, KEY, codes, *wanted))
    again = asyncio.run(take(recording, KEY, (250, 250, 250), State.READY, State.READY, State.READY))
    assert isinstance(again, Adopted)
    assert again.codes == codes


def test_of_the_same_key_in_one_batch_one_is_taken(recording: Recording) -> None:
    async def story() -> list[Recorded | Adopted]:
        return await asyncio.gather(*(take(recording) for _ in range(20)))

    taken = asyncio.run(story())
    assert sorted(type(one).__name__ for one in taken) == ["Adopted"] * 19 + ["Recorded"]
    assert len({identity(one) for one in taken}) == 1
    assert len(recording.rows("message")) == 1


def test_a_batch_that_fails_takes_one_of_the_same_key_all_the_same(recording: Recording) -> None:
    def broken(connection: Connection) -> None:
        connection.execute(text("SELECT no_such_column"))

    async def story() -> list[Any]:
        works = [work for _ in range(10) for work in (take(recording), recording.journal.submit(broken))]
        return await asyncio.gather(*works, return_exceptions=True)

    taken = [one for one in asyncio.run(story()) if isinstance(one, (Recorded, Adopted))]
    assert sorted(type(one).__name__ for one in taken) == ["Adopted"] * 9 + ["Recorded"]


@POSTGRESQL
def test_of_the_same_key_in_two_processes_one_is_taken(recording: Recording, neighbour: Recording) -> None:
    async def story() -> list[Recorded | Adopted]:
        return await asyncio.gather(*(take(process, bytes([number]) * 32) for number in range(20) for process in (recording, neighbour)))

    taken = asyncio.run(story())
    assert [type(one) for one in taken].count(Adopted) == 20
    assert len(recording.rows("message")) == 20


@POSTGRESQL
def test_what_another_process_has_heard_is_a_new_message_though_the_store_is_told_later(recording: Recording, neighbour: Recording) -> None:
    async def story() -> list[type]:
        first = await take(recording)
        recording.record.adoption.heard(KEY)
        neighbour.record.adoption.patience = 20.0
        second = asyncio.create_task(take(neighbour))
        while recording.journal.works == 1 or neighbour.journal.works == 0:
            await asyncio.sleep(0.01)
        await silence(20)
        return [type(first), type(await second)]

    assert moved(story()) == [Recorded, Recorded]


def test_a_crash_before_the_store_is_told_leaves_more_to_adopt(recording: Recording, neighbour: Recording) -> None:
    async def story() -> Recorded | Adopted:
        await take(recording)
        recording.record.adoption.heard(KEY)
        return await take(neighbour)  # the first process tells nothing more

    assert isinstance(asyncio.run(story()), Adopted)


def test_what_was_heard_is_told_in_batches(recording: Recording) -> None:
    async def story() -> None:
        for number in range(TELL_AT):
            assert recording.journal.works == 0
            recording.record.adoption.heard(number.to_bytes(32))
        await silence(-HOUR)  # nothing falls due any more: as many are told at once
        while recording.journal.works == 0:
            await asyncio.sleep(0)
        for number in range(10):
            recording.record.adoption.heard(number.to_bytes(32))
        await silence(TELL_SECONDS)
        while recording.journal.works == 1:
            await asyncio.sleep(0.01)

    moved(story())
    assert recording.journal.works == 2


def test_what_is_older_than_a_day_is_swept_and_the_rest_stays(recording: Recording) -> None:
    for key in (KEY, OTHER):
        asyncio.run(take(recording, key))
        recording.clock.forward(DAY_US // 2 + 1)
    recording.clock.forward(1)
    assert asyncio.run(recording.record.adoption.sweep(recording.reader)) == 1
    assert rows(recording) == 1
    assert isinstance(asyncio.run(take(recording, OTHER)), Adopted)


@POSTGRESQL
def test_the_role_that_listens_adopts_and_forgets(new_database: Database, tmp_path: Path) -> None:
    with recording_on(new_database.listen, tmp_path) as listening:
        listening.record.adoption.patience = 0.0
        assert [type(asyncio.run(take(listening))) for _ in range(2)] == [Recorded, Adopted]
        listening.clock.forward(DAY_US + 1)
        assert isinstance(asyncio.run(take(listening)), Recorded)

        async def heard() -> None:
            listening.record.adoption.heard(KEY)
            await listening.record.adoption.flush()

        asyncio.run(heard())
        assert rows(listening) == 0


def test_a_second_try_does_not_overtake_the_first(recording: Recording) -> None:
    """The first is still being inspected when its client gives up; the second must find it in custody."""

    async def story() -> list[str]:
        adoption, said, scanned = Adoption(recording.journal, HandClock(), "relay"), list[str](), asyncio.Event()

        async def one(name: str, key: bytes, wait: asyncio.Event | None) -> None:
            async with adoption.turn(key):
                if wait is not None:
                    await wait.wait()
                said.append(name)

        tries = [asyncio.create_task(one(name, KEY, scanned if name == "first" else None)) for name in ("first", "second", "third")]
        await asyncio.gather(one("another", OTHER, None))
        scanned.set()
        await asyncio.gather(*tries)
        assert adoption._last == {}, "nothing is kept of what is over"
        return said

    assert asyncio.run(story()) == ["another", "first", "second", "third"]


SENDER = Sender(mailbox("jan@example.nl"), size=100)
TO = (Recipient(mailbox("piet@partner.example")), Recipient(mailbox("els@partner.example"), frozenset({"NEVER"})))
SAME = receipt_key("exchange", PEER, Envelope(SENDER, TO), "ab" * 32)


def test_a_repetition_is_known_whatever_its_connection_is() -> None:
    again = replace(PEER, port=PEER.port + 1, listener="other", helo="renamed.example", tls=None, local_port=2525)
    assert receipt_key("exchange", again, Envelope(replace(SENDER, size=None), TO), "ab" * 32) == SAME


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(receipt_key("other", PEER, Envelope(SENDER, TO), "ab" * 32), id="client"),
        pytest.param(receipt_key("exchange", replace(PEER, address="192.0.2.99"), Envelope(SENDER, TO), "ab" * 32), id="address"),
        pytest.param(receipt_key("exchange", replace(PEER, login="els"), Envelope(SENDER, TO), "ab" * 32), id="login"),
        pytest.param(receipt_key("exchange", replace(PEER, lmtp=True), Envelope(SENDER, TO), "ab" * 32), id="protocol"),
        pytest.param(receipt_key("exchange", PEER, Envelope(replace(SENDER, path=None), TO), "ab" * 32), id="reverse-path"),
        pytest.param(receipt_key("exchange", PEER, Envelope(replace(SENDER, envid="x"), TO), "ab" * 32), id="parameter of MAIL"),
        pytest.param(receipt_key("exchange", PEER, Envelope(SENDER, TO[:1]), "ab" * 32), id="fewer recipients"),
        pytest.param(receipt_key("exchange", PEER, Envelope(SENDER, TO[::-1]), "ab" * 32), id="order of recipients"),
        pytest.param(receipt_key("exchange", PEER, Envelope(SENDER, (TO[0], replace(TO[1], orcpt="rfc822;x"))), "ab" * 32), id="of RCPT"),
        pytest.param(receipt_key("exchange", PEER, Envelope(SENDER, TO), "cd" * 32), id="bytes"),
    ],
)
def test_whatever_else_differs_is_another_transaction(changed: bytes) -> None:
    assert changed != SAME


@given(st.lists(st.text(max_size=8), min_size=2, max_size=2, unique=True), st.text(max_size=8))
def test_no_two_clients_and_logins_have_one_key(clients: list[str], login: str) -> None:
    keys = {receipt_key(client, replace(PEER, login=login), Envelope(SENDER, TO), "ab" * 32) for client in clients}
    assert len(keys) == 2
