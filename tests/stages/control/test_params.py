"""What an operation is asked is checked before anything is done: a wrong value is named, and nothing reaches the database or a log raw."""

import asyncio
import uuid
from pathlib import Path
from typing import Any

import pytest

from relay.control.params import MAX_IDS, Bulk, Filters, Listing, key_of, parsed
from relay.model.delivery import State
from relay.model.errors import OperationRefused
from relay.settings.models import Store
from tests.stages.control.desk import desk

ID = uuid.UUID("0199f000-0000-7000-8000-000000000001")


def refusal(model: Any, params: dict[str, Any]) -> str:
    """What is said of wrong parameters."""

    def check() -> None:
        asked = parsed(model, params)
        asked.filters.search(())
        key_of(getattr(asked, "after", None))

    with pytest.raises(OperationRefused) as caught:
        check()
    return str(caught.value)


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        ({"ids": ["not an id"]}, "'not an id' is no message id (MESSAGE or MESSAGE/NUMBER)"),
        ({"ids": [f"{ID.hex}/"]}, "is no message id"),
        ({"ids": [f"{ID.hex}/-1"]}, "is no message id"),
        ({"ids": [f"{ID.hex}/1/2"]}, "is no message id"),
        ({"ids": [f"{ID.hex}/99999999999999999999"]}, "is no message id"),
        ({"ids": [f"{ID.hex}/١"]}, "is no message id"),
        ({"ids": [5]}, "filters.ids.0: input should be a valid string"),
        ({"ids": [ID.hex] * (MAX_IDS + 1)}, "filters.ids: list should have at most"),
        ({"sender": "\x1b[2J"}, "filters.sender: must be printable text"),
        ({"recipient": "a\x00b"}, "filters.recipient: must be printable text"),
        ({"rule": "\ud800"}, "filters.rule: must be printable text"),
        ({"client": "x" * 101}, "filters.client: "),
        ({"since_us": "yesterday"}, "filters.since_us: input should be a valid integer"),
        ({"since_us": 1.5}, "filters.since_us: input should be a valid integer"),
        ({"until_us": 10**30}, "filters.until_us: "),
        ({"subject": "x"}, "filters.subject: extra inputs are not permitted"),
        ({"\x1b[2J": 1}, "filters.\\u001b[2J: extra inputs are not permitted"),
        ([], "filters: input should be"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_a_wrong_filter_is_named(filters: Any, said: str) -> None:
    assert said in refusal(Bulk, {"filters": filters})


@pytest.mark.parametrize("after", [["x", 1], [ID.hex], [], [ID.hex, "x"], [5, 5], [None, None], [ID.hex, 10**30], [ID.hex, True]], ids=str)
def test_a_place_in_a_list_that_nobody_gave_is_refused(after: list[Any]) -> None:
    assert refusal(Listing, {"after": after}) == "after: not what the page before gave"


@pytest.mark.parametrize("limit", [0, -1, 1001, "5", None, 2.5])
def test_a_page_has_a_bounded_size(limit: Any) -> None:
    assert refusal(Listing, {"limit": limit}).startswith("limit: ")


def test_a_message_is_named_by_its_id_in_any_writing_and_a_recipient_by_its_number() -> None:
    search = Filters(ids=[str(ID), f"{ID.hex}/2"]).search((State.HELD,))
    assert search.ids == ((ID, None), (ID, 2))


WRONG: list[tuple[str, dict[str, Any]]] = [
    ("queue.list", {"limit": 0}),
    ("queue.list", {"states": 5}),
    ("queue.retry", {"reason": "x", "everything": "yes"}),
    ("queue.hold", {"reason": "x", "dry_run": 1}),
    ("message.find", {"reason": "x", "states": ["nowhere"]}),
    ("message.show", {"reason": "x", "id": "\x00"}),
    ("message.show", {"reason": "x", "id": "nothing"}),
    ("message.show", {"reason": "x", "id": ID.hex}),
    ("message.show", {"reason": "x", "id": "ab" * 32}),
    ("message.content", {"reason": "x", "id": ID.hex, "offset": -1}),
    ("message.content", {"reason": "x", "id": ID.hex, "offset": 10**30}),
    ("audit.list", {"reason": "x", "kinds": ["\ud800"]}),
    ("audit.list", {"reason": "x", "message": "nothing"}),
    ("audit.list", {"reason": "x", "after": "nothing"}),
    ("audit.list", {"reason": "x", "since_us": 10**30}),
    ("audit.check", {"after": "nothing"}),
    ("request.list", {"everything": "yes"}),
    ("request.approve", {"reason": "x", "request": "nothing"}),
    ("request.approve", {"reason": "x", "request": ID.hex}),
    ("request.refuse", {"reason": "x"}),
    ("phase.show", {"phase": "open"}),
    ("phase.set", {"reason": "x", "phase": "nowhere"}),
    ("phase.set", {"reason": "x", "phase": ["open"]}),
    ("brake.on", {"reason": "x", "for": "5 minutes"}),
    ("brake.off", {"reason": "x", "actor": "unix:somebody (1)"}),
    ("keys.rotate", {"reason": "x", "folder": "/tmp"}),
    ("quarantine.list", {"filters": {"ids": ["x"]}}),
    ("quarantine.show", {"reason": "x", "id": ID.hex}),
    ("quarantine.release", {"reason": "x", "ids": [ID.hex]}),
    ("quarantine.delete", {"reason": "x", "filters": {"since_us": True}}),
]


def test_no_operation_stumbles_over_wrong_parameters_or_does_anything(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            for operation, params in WRONG:
                assert await at.refused("anna", operation, **params), (operation, params)
            assert at.events() == []
            assert at.changes == 0

    asyncio.run(story())


def test_as_many_ids_as_are_allowed_can_be_asked_for(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            message = at.put(State.HELD)
            ids = [f"{uuid.uuid4().hex}/1" for _ in range(MAX_IDS - 1)] + [message.hex]
            listed = await at.ask("anna", "queue.list", filters={"ids": ids})
            assert [row["id"] for row in listed["rows"]] == [message.hex]

    asyncio.run(story())


def test_a_time_beyond_what_json_can_hold_is_found_nothing_by(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            at.put(State.HELD)
            far = {"since_us": 2**48 * 1000 - 1, "until_us": -(10**17)}
            assert (await at.ask("anna", "message.find", reason="look", filters=far))["rows"] == []
            (event,) = at.events("message-search")
            assert event["details"]["filters"] == {key: str(value) for key, value in far.items()}

    asyncio.run(story())
