"""Changes to many: chosen by filters, made in pages, each with its event; what can't be changed is said and takes no other down."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from relay.control.change import PAGE
from relay.model.delivery import State
from relay.settings.models import Store
from tests.stages.control.desk import MACROS, QUEUE, Desk, desk

on_sqlite = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)  # what differs between the two is tested below on both
CHANGES = ("queue.retry", "queue.hold", "queue.unhold", "queue.delete", "quarantine.release", "quarantine.delete")


def lease(at: Desk, message: Any, seconds: float) -> None:
    """An attempt on a message whose final dot may be on the wire; a lease of less than 0 has run out."""
    until_us = int((time.time() + seconds) * 1e6)
    at.write(
        lambda connection: connection.execute(
            update(QUEUE).where(QUEUE.c.message_id == message).values(owner="relay-1", fence=1, marked_fence=1, lease_until_us=until_us)
        )
    )


@on_sqlite
@pytest.mark.parametrize("operation", CHANGES)
def test_no_filter_means_nobody_unless_all_is_said(tmp_path: Path, database: Store, operation: str) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            message = at.put(State.READY, State.HELD, State.QUARANTINED, rules=[MACROS])
            said = await at.refused("anna", operation, reason="x")
            assert said == "name messages, give a filter, or say --all"
            assert at.states(message) == ["ready", "held", "quarantined"]
            answer = await at.ask("anna", operation, reason="x", everything=True)
            assert len(answer["changed"]) >= 1

    asyncio.run(story())


@on_sqlite
@pytest.mark.parametrize("operation", CHANGES)
def test_a_dry_run_shows_and_changes_nothing(tmp_path: Path, database: Store, operation: str) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            at.put(State.READY, State.HELD, State.QUARANTINED, rules=[MACROS])
            before = at.rows()
            shown = await at.ask("anna", operation, reason="x", everything=True, dry_run=True)
            assert shown["dry_run"] is True
            assert (at.rows(), at.events(), at.changes) == (before, [], 0)
            done = await at.ask("anna", operation, reason="x", everything=True)
            where = [(row["id"], row["ordinal"]) for row in shown["changed"]]
            assert [(row["id"], row["ordinal"]) for row in done["changed"]] == where, "and shows what would be done"

    asyncio.run(story())


@on_sqlite
@pytest.mark.parametrize(
    ("operation", "old", "new"),
    [
        ("queue.hold", State.READY, "held"),
        ("queue.hold", State.UNDECIDED, "held"),
        ("queue.unhold", State.HELD, "undecided"),
        ("queue.retry", State.UNDELIVERABLE, "undecided"),
        ("queue.delete", State.READY, "deleted"),
        ("queue.delete", State.HELD, "deleted"),
        ("queue.delete", State.UNDELIVERABLE, "deleted"),
        ("quarantine.delete", State.QUARANTINED, "deleted"),
        ("quarantine.release", State.QUARANTINED, "undecided"),
    ],
)
def test_each_change_is_an_event_with_actor_reason_and_both_states(
    tmp_path: Path, database: Store, operation: str, old: State, new: str
) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            message = at.put(old, rules=[MACROS])
            await at.ask("anna", operation, reason="a good one", filters={"ids": [message.hex]})
            assert at.states(message) == [new]
            event = at.events()[-1]
            assert event["object"] == f"message {message.hex}/0"
            assert (event["actor"], event["reason"], event["result"]) == ("unix:anna (1000)", "a good one", "done")
            assert (event["details"]["from_state"], event["details"]["to_state"]) == (old.value, new)
            assert len(at.queue(message)) == (new == "undecided")
            assert at.changes == 1

    asyncio.run(story())


@on_sqlite
def test_a_retry_makes_it_due_now(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            message = at.put(State.READY, State.READY)
            await at.ask("anna", "queue.retry", reason="the next hop is back", filters={"ids": [f"{message.hex}/1"]})
            first, second = at.queue(message)
            assert second.next_us <= time.time() * 1e6 < first.next_us
            assert at.states(message) == ["ready", "ready"]

    asyncio.run(story())


def test_a_change_of_more_than_a_page_reaches_all_of_them_once(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            for _ in range(PAGE // 50 + 1):
                at.put(*[State.READY] * 70)
            total = len(at.rows())
            assert total > 2 * PAGE
            for operation in ("queue.retry", "queue.hold", "queue.unhold"):
                answer = await at.ask("anna", operation, reason="x", filters={"sender": "@example.nl"})
                assert len({(row["id"], row["ordinal"]) for row in answer["changed"]}) == len(answer["changed"]) == total
            assert len(at.events("queue-hold")) == total

    asyncio.run(story())


def test_one_that_is_being_sent_takes_no_other_down(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            before, leaving, after = at.put(State.READY), at.put(State.READY), at.put(State.READY)
            lease(at, leaving, 60)
            answer = await at.ask("anna", "queue.delete", reason="x", everything=True)
            assert {row["id"] for row in answer["changed"]} == {before.hex, after.hex}
            ((row),) = answer["refused"]
            assert row["id"] == leaving.hex
            assert row["error"] == "it is being sent at this moment: try again in a while"
            assert at.states(leaving) == ["ready"]
            assert len(at.events("queue-delete")) == 2

    asyncio.run(story())


@on_sqlite
def test_one_whose_sender_died_can_be_deleted_and_counts_as_a_possible_duplicate(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            message = at.put(State.READY)
            lease(at, message, -1)
            await at.ask("anna", "queue.delete", reason="x", filters={"ids": [message.hex]})
            (row,) = at.rows(message)
            assert (row.state, row.possible_duplicates) == ("deleted", 1)

    asyncio.run(story())


@on_sqlite
def test_ids_that_fit_nothing_are_told_beside_those_that_were_changed(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            held, ready = at.put(State.HELD, State.DELIVERED), at.put(State.READY)
            answer = await at.ask("anna", "queue.unhold", reason="x", filters={"ids": [held.hex, ready.hex, f"{held.hex}/1"]})
            assert [(row["id"], row["ordinal"]) for row in answer["changed"]] == [(held.hex, 0)]
            assert answer["missing"] == [
                {"id": ready.hex, "error": "it is not held"},
                {"id": f"{held.hex}/1", "error": "it is not held"},
            ]
            said = await at.refused("anna", "queue.unhold", reason="x", filters={"ids": [ready.hex]})
            assert said == "none of these is held"

    asyncio.run(story())


def test_filters_choose_by_sender_recipient_client_message_id_rule_and_time(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            first = at.put(State.HELD, sender="jan@example.nl", rules=[MACROS])
            at.put(State.HELD, sender="", recipients=["info@elders.example"])
            first_us = at.rows(first)[0].m_received_us
            for filters, count in (
                ({"sender": "JAN@Example.NL"}, 1),
                ({"sender": "@example.nl"}, 1),
                ({"sender": "@ample.nl"}, 0),
                ({"sender": "<>"}, 1),
                ({"recipient": "@elders.example"}, 1),
                ({"recipient": "%"}, 0),
                ({"client": "exchange"}, 2),
                ({"client": "exchang_"}, 0),
                ({"message_id": f"<{first.hex}@example.nl>"}, 1),
                ({"rule": "macros"}, 1),
                ({"rule": "macro"}, 0),
                ({"rule": "%"}, 0),
                ({"since_us": first_us - 60_000_000}, 2),
                ({"since_us": first_us + 60_000_000}, 0),
                ({"until_us": first_us - 60_000_000}, 0),
                ({"sender": "@example.nl", "recipient": "@elders.example"}, 0),
            ):
                listed = await at.ask("anna", "queue.list", filters=filters, reason="a complaint")
                assert len(listed["rows"]) == count, filters

    asyncio.run(story())


def test_a_list_comes_in_pages_newest_first(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            for _ in range(7):
                at.put(State.HELD, State.READY, State.QUARANTINED)
            rows: list[dict[str, Any]] = []
            after = None
            while True:
                page = await at.ask("anna", "queue.list", limit=4, after=after)
                rows += page["rows"]
                after = page["next"]
                if after is None:
                    break
            assert len(rows) == 14, "what is quarantined is listed by the desk"
            assert [row["id"] for row in rows] == sorted((row["id"] for row in rows), reverse=True)
            assert {row["ordinal"] for row in rows} == {0, 1}

    asyncio.run(story())
