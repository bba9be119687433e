"""Messages and events as people look at them: each look has a name, a reason and an event of its own."""

import asyncio
import base64
import hashlib
from pathlib import Path

import pytest

from relay.control.operations.message import PIECE
from relay.model.delivery import State
from relay.settings.models import Store
from relay.store.spool.keys import load_keys
from tests.stages.control.desk import MACRO, MACROS, desk

on_sqlite = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)


@on_sqlite
def test_the_content_comes_in_pieces_and_each_is_an_event(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            raw = b"Subject: large\r\n\r\n" + b"0123456789abcdef\r\n" * (PIECE // 18 + 1000)
            message = await at.keep(raw, State.HELD)
            read, offset = b"", 0
            while offset < len(raw):
                piece = await at.ask("anna", "message.content", id=message.hex, offset=offset, reason="a court order")
                data = base64.b64decode(piece["data"])
                assert 0 < len(data) <= PIECE
                assert (piece["size"], piece["digest"], piece["offset"]) == (len(raw), hashlib.sha256(raw).hexdigest(), offset)
                read += data
                offset += len(data)
            assert read == raw
            events = at.events("content-read")
            assert [event["details"]["offset"] for event in events] == [0, PIECE]
            assert {event["reason"] for event in events} == {"a court order"}
            beyond = await at.ask("anna", "message.content", id=message.hex, offset=len(raw) + 5, reason="x")
            assert beyond["data"] == ""

    asyncio.run(story())


@on_sqlite
def test_a_message_without_a_body_says_so(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            message = at.put(State.REFUSED)
            said = await at.refused("anna", "message.content", id=message.hex, reason="x")
            assert said == "no body is kept of this message: it was refused, or erased"
            assert at.events("content-read") == []

    asyncio.run(story())


def test_a_message_is_found_by_id_and_by_the_commitment_of_the_clients_250(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            message = at.put(State.HELD, State.DELIVERED, findings=[MACRO], rules=[MACROS], subject="Zitting")
            commitment = at.rows(message)[0].m_commitment
            for text in (message.hex, str(message), message.hex.upper(), commitment, f" {commitment.upper()} "):
                shown = await at.ask("anna", "message.show", id=text, reason="x")
                assert shown["message"]["id"] == message.hex
                assert [delivery["state"] for delivery in shown["deliveries"]] == ["held", "delivered"]
                assert shown["message"]["inspection"]["findings"][0]["name"] == "office-macro"
                assert "spool_object" not in shown["message"], "where the bytes lie is nobody's business"
            assert len(at.events("message-read")) == 5

    asyncio.run(story())


@on_sqlite
def test_refused_messages_are_found_too(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            at.put(State.REFUSED, sender="eve@example.nl")
            found = await at.ask("anna", "message.find", reason="x", filters={"sender": "eve@example.nl"}, states=["refused"])
            assert [row["state"] for row in found["rows"]] == ["refused"]
            assert at.events("message-search")[0]["details"]["filters"] == {"sender": "eve@example.nl"}

    asyncio.run(story())


def test_who_reads_the_audit_is_in_the_audit(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            for number in range(5):
                await at.ask("anna", "brake.on", reason=f"{number}")
                asked = await at.ask("anna", "brake.off", reason="x")
                await at.ask("bert", "request.approve", request=asked["request"], reason="x")
            page = await at.ask("auditor", "audit.list", kinds=["brake"], limit=4, reason="the yearly audit")
            assert [row["record"]["reason"] for row in page["rows"] if row["record"]["result"] == "on"] == ["0", "1"]
            rest = await at.ask("auditor", "audit.list", kinds=["brake"], limit=100, after=page["next"], reason="the yearly audit")
            assert len(page["rows"]) + len(rest["rows"]) == 10
            assert rest["next"] is None
            last = await at.ask("auditor", "audit.list", kinds=["brake"], limit=4, newest=True, reason="the yearly audit")
            before = await at.ask(
                "auditor", "audit.list", kinds=["brake"], limit=100, newest=True, after=last["next"], reason="the yearly audit"
            )
            assert last["rows"] + before["rows"] == (page["rows"] + rest["rows"])[::-1], "newest first, page by page"
            (first, *_) = at.events("audit-read")
            assert (first["actor"], first["reason"], first["result"]) == ("unix:auditor (1000)", "the yearly audit", "4 events")
            checked = await at.ask("auditor", "audit.check")
            assert (checked["broken"], checked["erased"]) == ([], 0)

    asyncio.run(story())


@on_sqlite
def test_rotation_wraps_every_body_key_anew_and_touches_no_body(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with desk(tmp_path, database) as at:
            message = await at.keep(b"Subject: kept\r\n\r\n", State.HELD)
            at.put(State.HELD)
            spool = at.settings.spool
            answer = await at.ask("anna", "keys.rotate", reason="the yearly rotation")
            assert (answer["rewrapped"], answer["failed"]) == (1, 0)
            keys = load_keys(spool.public_key, spool.private_keys)
            assert len(keys.private) == 2, "the old one stays until somebody removes it"
            assert spool.private_keys is not None
            for path in spool.private_keys.glob("*.key"):
                if path.stem != answer["key"]:
                    path.unlink()
            at.services.spool.keys = load_keys(spool.public_key, spool.private_keys)
            piece = await at.ask("anna", "message.content", id=message.hex, reason="still there")
            assert base64.b64decode(piece["data"]) == b"Subject: kept\r\n\r\n"
            (event,) = at.events("keys-rotated")
            assert (event["object"], event["reason"]) == (f"spool key {answer['key']}", "the yearly rotation")

    asyncio.run(story())
