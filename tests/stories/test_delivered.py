"""A message goes from a mail server to the outside: inspected, decided, recorded, signed, and not one octet of it changed."""

import asyncio
import hashlib
import smtplib
from pathlib import Path

from relay.settings.models import Store
from tests.servers.exim import running_exim
from tests.servers.postfix import running_postfix
from tests.servers.sink import Sink
from tests.stories.house import CLERK, SENDER, house, message, with_attachment


def test_what_arrives_is_a_prefix_and_the_very_bytes(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        raw = with_attachment("plan.pdf", b"%PDF-1.4\n" + bytes(range(256)) * 2000, "application/pdf")
        async with Sink() as sink, house(tmp_path, database, outside=sink.port) as sluis:
            reply = await sluis.send(raw)
            assert reply.code == 250
            row = (await sluis.until_states(reply, "delivered"))[0]
            (arrived,) = sink.messages
            assert arrived.raw.endswith(raw)
            prefix = arrived.raw[: -len(raw)]
            assert prefix.count(b"DKIM-Signature:") == 2
            assert reply.commitment.encode() in prefix, "the Received field carries the commitment of the accepted event"
            assert f" id {reply.id.hex}\r\n".encode() in prefix, "and the id of the 250"
            assert b"for <" in prefix, "one recipient may be named"
            assert row.m_digest == hashlib.sha256(raw).hexdigest()
            assert row.outcome["prefix_sha256"] == hashlib.sha256(prefix).hexdigest(), "the record says what left"

    asyncio.run(story())


def test_the_receipt_is_an_event_that_the_audit_can_show(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with Sink() as sink, house(tmp_path, database, outside=sink.port) as sluis:
            reply = await sluis.send(message())
            await sluis.until_states(reply, "delivered")
            listed = (await sluis.sluis("audit", "list", "--message", reply.id.hex, "--reason", "a test", "--json")).json
            assert [entry["kind"] for entry in listed] == ["accepted", "outcome"], "an ordinary message costs two events"
            assert listed[0]["commitment"] == reply.commitment
            assert set(listed[0]["record"]) == {"id", "kind", "object", "result", "origin", "actor", "time_us", "reason", "details"}
            checked = (await sluis.sluis("audit", "check", "--json")).json
            assert checked["broken"] == []
            shown = (await sluis.sluis("message", "show", reply.commitment, "--reason", "a client asks", "--json")).json
            assert shown["message"]["id"] == reply.id.hex, "found by what the client's own log holds"

    asyncio.run(story())


def test_postfix_sends_through_sluis_to_a_postfix(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        raw = message("Through two real mail servers", "One.\r\n.\r\n..two dots\r\nLong " + "x" * 900 + "\r\n")
        async with (
            running_postfix(tmp_path, domains=["court.example"], hostname="mx.court.example") as next_hop,
            house(tmp_path, database, outside=next_hop.port) as sluis,
            running_postfix(tmp_path, relay_port=sluis.port(), domains=["prosecution.example"]) as client,
        ):
            await asyncio.to_thread(_submit, client.port, raw)
            (mail,) = await next_hop.wait_for_mail(1)
            assert mail.sender == SENDER
            assert mail.raw.endswith(raw.partition(b"\r\n\r\n")[2]), "the body is untouched"
            assert mail.raw.count(b"DKIM-Signature:") == 2
            await client.wait_for_log(r"status=sent \(250 2\.0\.0 Ok: queued as [0-9a-f]{32} [0-9a-f]{64}\)")

    asyncio.run(story())


def test_exim_sends_through_sluis(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        raw = message("From an Exim")
        async with (
            Sink() as sink,
            house(tmp_path, database, outside=sink.port) as sluis,
            running_exim(tmp_path, sluis.port()) as client,
        ):
            await asyncio.to_thread(_submit, client.port, raw)
            (arrived,) = await sink.wait_for_messages(1)
            assert arrived.raw.endswith(raw.partition(b"\r\n\r\n")[2])
            assert arrived.envelope.sender == SENDER
            await client.wait_for_log(r" => clerk@court\.example .*C=\"250 2\.0\.0 Ok: queued as")

    asyncio.run(story())


def test_several_recipients_go_in_one_transaction_and_are_not_named_in_received(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with Sink() as sink, house(tmp_path, database, outside=sink.port) as sluis:
            reply = await sluis.send(message(), to=[CLERK, "registry@court.example"])
            await sluis.until_states(reply, "delivered", "delivered")
            (arrived,) = sink.messages
            assert arrived.envelope.addresses == [CLERK, "registry@court.example"]
            assert b"\r\n\tfor <" not in arrived.raw
            assert b" for <" not in arrived.raw.partition(b"DKIM-Signature")[0]

    asyncio.run(story())


def _submit(port: int, raw: bytes) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=30) as client:
        client.sendmail(SENDER, [CLERK], raw)
