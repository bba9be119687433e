"""Who wrote to whom before, by what is in the record; asked by the role that listens, too, which may read neither table."""

import asyncio
from functools import partial
from pathlib import Path

import pytest

from relay.app.correspondence import RecordedCorrespondence, day_start_us
from relay.model.delivery import State
from relay.model.ports import FirstTimes
from relay.store import corresponded, states
from tests.servers.database import Database
from tests.servers.recording import SECOND, Recording, recording_on

JAN, PIET, EVE = "jan@example.nl", "piet0@partner.example", "eve@other.example"
DAY_US = 86_400 * SECOND


def delivered(recording: Recording) -> None:
    """A message of jan to piet0, delivered."""
    recorded = recording.accept(State.READY)
    identity = recorded.decided.inspected.received.id
    recording.write(lambda connection: states.move(connection, identity, 0, State.DELIVERED, recording.clock.now_us()))


def first(recording: Recording, *recipients: str, sender: str = JAN) -> tuple[str, ...] | None:
    return recording.reader.read_now(partial(corresponded.first_times, sender=sender, recipients=recipients))


def test_somebody_is_known_when_a_message_was_delivered_and_not_before(recording: Recording) -> None:
    recording.accept(State.HELD)
    assert first(recording, PIET, EVE) == (PIET, EVE)
    delivered(recording)
    assert first(recording, PIET, EVE) == (EVE,)
    assert first(recording, PIET, sender="anna@example.nl") == (PIET,), "whom somebody else wrote to"


def test_of_two_who_have_more_mail_than_is_looked_at_it_is_not_known(recording: Recording) -> None:
    """Bounded, whatever there is: then neither yes nor no; and the side with less answers."""
    for _ in range(3):
        recording.accept(State.HELD)
    ask = partial(corresponded.first_times, sender=JAN, recipients=[PIET])
    assert recording.reader.read_now(partial(ask, looked_at=3)) is None
    assert recording.reader.read_now(partial(ask, looked_at=4)) == (PIET,)
    assert recording.reader.read_now(partial(corresponded.first_times, sender=JAN, recipients=[EVE], looked_at=3)) == (EVE,)


def test_first_times_are_counted_for_each_sender_and_day(recording: Recording) -> None:
    async def story() -> list[FirstTimes]:
        asked = RecordedCorrespondence(recording.journal, recording.reader)
        now_us = 20_000 * DAY_US
        return [
            await asked.first_times(JAN, [PIET, EVE, PIET], "UTC", now_us, True),
            await asked.first_times(JAN, [EVE], "UTC", now_us + DAY_US - 1, True),
            await asked.first_times("anna@example.nl", [EVE], "UTC", now_us, True),
            await asked.first_times(JAN, [EVE], "UTC", now_us + DAY_US, True),
        ]

    found = asyncio.run(story())
    assert found[0] == FirstTimes((EVE, PIET), 2)
    assert [times.today for times in found] == [2, 3, 1, 1]


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_a_store_that_is_away_makes_it_unknown(recording: Recording) -> None:
    recording.write(lambda connection: connection.exec_driver_sql("ALTER TABLE delivery RENAME TO gone"))
    asked = RecordedCorrespondence(recording.journal, recording.reader)
    assert asyncio.run(asked.first_times(JAN, [PIET], "UTC", DAY_US, False)) == FirstTimes()


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_who_wrote_before_is_remembered_and_a_first_time_is_not(recording: Recording) -> None:
    async def story() -> list[FirstTimes]:
        asked = RecordedCorrespondence(recording.journal, recording.reader)
        found = [await asked.first_times(JAN, [PIET, EVE], "UTC", DAY_US, False), await asked.first_times(JAN, [PIET], "UTC", DAY_US, True)]
        recording.write(lambda connection: connection.exec_driver_sql("ALTER TABLE delivery RENAME TO gone"))
        recording.write(lambda connection: connection.exec_driver_sql("ALTER TABLE counter RENAME TO no_counter"))
        for recipient, count in ((PIET, False), (PIET, True), (EVE, False)):
            found.append(await asked.first_times(JAN, [recipient], "UTC", DAY_US, count))
        return found

    delivered(recording)
    nothing_read = FirstTimes(())
    assert asyncio.run(story()) == [FirstTimes((EVE,), 1), FirstTimes((), 1), nothing_read, FirstTimes(), FirstTimes()]


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_the_role_that_listens_learns_yes_or_no_and_reads_no_table(new_database: Database, tmp_path: Path) -> None:
    with recording_on(new_database.relay, tmp_path) as relay:
        delivered(relay)
    with recording_on(new_database.listen, tmp_path) as listening:
        asked = RecordedCorrespondence(listening.journal, listening.reader)
        assert asyncio.run(asked.first_times(JAN, [PIET, EVE], "UTC", DAY_US, False)) == FirstTimes((EVE,), 1)


@pytest.mark.parametrize(
    ("now_us", "zone", "day"),
    [
        (0, "UTC", 0),
        (23 * 3600 * SECOND, "Europe/Amsterdam", 23 * 3600 * SECOND),  # midnight there is 23:00 in UTC in winter
        (23 * 3600 * SECOND - 1, "Europe/Amsterdam", -3600 * SECOND),
    ],
)
def test_a_day_begins_where_the_organisation_is(now_us: int, zone: str, day: int) -> None:
    assert day_start_us(zone, now_us) == day


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_on_postgresql_whoever_asks_can_not_have_more_looked_at(recording: Recording) -> None:
    """Shown by what the function does first: a thousand and one messages would show it at a hundred times the price."""
    with recording.engine.connect() as connection:
        source = connection.exec_driver_sql("SELECT prosrc FROM pg_proc WHERE proname = 'sluis_corresponded'").scalar_one()
    assert source.partition("BEGIN")[2].split()[:4] == ["most", ":=", "least(most,", "1000);"]
