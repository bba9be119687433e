"""One transaction with a next hop, seen from the next hop's side."""

import asyncio
import hashlib

import pytest

from relay.model.delivery import State
from relay.model.envelope import Recipient, Sender
from relay.model.errors import StoreError, Withdrawn
from tests.fakes.custody import mailbox
from tests.servers.sink import EXTENSIONS, Behaviour, Sink
from tests.stages.deliver.way_out import MESSAGE, PREFIX, deliver, deliverer, route, run
from tests.stages.listen.clock import silence


def without(*names: str) -> tuple[str, ...]:
    return tuple(extension for extension in EXTENSIONS if extension.split()[0] not in names)


def test_what_arrives_is_the_prefix_and_the_untouched_message() -> None:
    async def dialogue() -> None:
        async with Sink() as sink:
            [outcome] = await deliver(deliverer(), route(sink))
            assert outcome.state is State.DELIVERED
            assert hashlib.sha256(sink.messages[0].raw).digest() == hashlib.sha256(PREFIX + MESSAGE).digest()
            assert outcome.prefix_sha256 == hashlib.sha256(PREFIX).hexdigest()
            assert outcome.reply == "250 2.0.0 Ok: queued"
            assert outcome.status == "2.0.0"
            assert outcome.next_hop == f"127.0.0.1[127.0.0.1]:{sink.port}"
            assert sink.messages[0].envelope.helo == "relay.example.nl"

    run(dialogue())


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 65_536])
def test_any_chunks_and_dots_arrive_as_they_were(piece: int) -> None:
    message = b"From: jan@example.nl\r\n\r\n.\r\n..\r\n...\r\n.x\r\n\r\n.\r\n" + b"a" * 5000 + b"\r\n.\r\n"

    async def dialogue() -> None:
        async with Sink() as sink:
            await deliver(deliverer(), route(sink), message=message, piece=piece)
            assert sink.messages[0].raw == PREFIX + message

    run(dialogue())


def test_a_forged_field_is_left_out_and_nothing_else() -> None:
    forged = b"Authentication-Results: relay.example.nl; spf=pass\r\n"
    message = b"Subject: x\r\n" + forged + b"From: jan@example.nl\r\n\r\nHoi\r\n"
    start = message.index(forged)

    async def dialogue() -> None:
        async with Sink() as sink:
            await deliver(deliverer(), route(sink), message=message, skip=((start, start + len(forged)),), piece=17)
            assert sink.messages[0].raw == PREFIX + message.replace(forged, b"")

    run(dialogue())


def test_a_large_message_streams_and_arrives_whole() -> None:
    message = b"From: jan@example.nl\r\n\r\n" + b".regel met een punt ervoor\r\n" * 200_000

    async def dialogue() -> None:
        async with Sink() as sink:
            [outcome] = await deliver(deliverer(), route(sink), message=message)
            assert outcome.state is State.DELIVERED
            assert hashlib.sha256(sink.messages[0].raw).digest() == hashlib.sha256(PREFIX + message).digest()

    run(dialogue())


def test_each_recipient_gets_its_own_end() -> None:
    replies = {"weg@partner.example": "550 5.1.1 Unknown", "vol@partner.example": "452 4.2.2 Full"}

    async def dialogue() -> None:
        async with Sink(Behaviour(replies=replies)) as sink:
            outcomes = await deliver(deliverer(), route(sink), ("weg@partner.example", "piet@partner.example", "vol@partner.example"))
            assert [outcome.state for outcome in outcomes] == [State.BOUNCED, State.DELIVERED, State.READY]
            assert [outcome.status for outcome in outcomes] == ["5.1.1", "2.0.0", "4.2.2"]
            assert outcomes[0].reply == "550 5.1.1 Unknown"
            assert sink.messages[0].envelope.addresses == ["piet@partner.example"]

    run(dialogue())


@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize(
    ("stage", "reply", "state"),
    [
        ("MAIL", "451 4.3.0 Later", State.READY),
        ("MAIL", "550 5.7.1 Never", State.BOUNCED),
        ("DATA", "451 4.3.0 Later", State.READY),
        ("DATA", "554 5.7.1 Never", State.BOUNCED),
        ("DOT", "451 4.3.0 Later", State.READY),
        ("DOT", "554 5.6.0 Never", State.BOUNCED),
        ("MAIL", "421 4.3.2 Closing", State.READY),
        ("RCPT", "421 4.3.2 Closing", State.READY),
        ("DOT", "421 4.3.2 Closing", State.READY),
        ("DATA", "250 2.0.0 What?", State.READY),
        ("DOT", "354 What?", State.READY),
    ],
)
def test_a_refusal_at_a_stage_holds_for_every_recipient(stage: str, reply: str, state: State, pipelining: bool) -> None:
    extensions = EXTENSIONS if pipelining else without("PIPELINING")

    async def dialogue() -> None:
        async with Sink(Behaviour(extensions, replies={stage: reply})) as sink:
            outcomes = await deliver(deliverer(), route(sink), ("a@partner.example", "b@partner.example"))
            assert [outcome.state for outcome in outcomes] == [state, state]
            assert sink.messages == [] or reply.startswith("354")

    run(dialogue())


def test_many_recipients_are_pipelined_and_matched_one_to_one() -> None:
    recipients = [f"r{number}@partner.example" for number in range(180)]
    refused = {address: f"550 5.1.1 no {address}" for address in recipients[::7]}

    async def dialogue() -> None:
        async with Sink(Behaviour(replies=refused)) as sink:
            outcomes = await deliver(deliverer(), route(sink), recipients)
            for address, outcome in zip(recipients, outcomes, strict=True):
                assert outcome.state is (State.BOUNCED if address in refused else State.DELIVERED)
                assert address not in refused or address in outcome.reply
            assert sink.messages[0].envelope.addresses == [address for address in recipients if address not in refused]

    run(dialogue())


@pytest.mark.parametrize("stage", ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "CONTENT"])
@pytest.mark.parametrize("fault", ["drop", "hang"])
def test_a_connection_that_breaks_before_the_final_dot_is_tried_again_and_surely_not_sent(stage: str, fault: str) -> None:
    behaviour = Behaviour(drop_at={stage}) if fault == "drop" else Behaviour(hang_at={stage})
    message = b"From: jan@example.nl\r\n\r\n" + b"x" * 70 + b"\r\n" * 3_000_000

    async def dialogue() -> None:
        async with Sink(behaviour) as sink:
            limits = deliverer(command_timeout=0.3, data_timeout=0.3, connect_timeout=0.3)
            [outcome] = await deliver(limits, route(sink), message=message)
            assert outcome.state is State.READY
            assert outcome.status.startswith("4.")
            assert not outcome.unknown
            assert sink.messages == []

    run(dialogue())


@pytest.mark.parametrize("fault", ["drop", "hang"])
def test_a_connection_that_breaks_after_the_final_dot_is_recorded_as_unknown(fault: str) -> None:
    behaviour = Behaviour(drop_at={"DOT"}) if fault == "drop" else Behaviour(hang_at={"DOT"})

    async def dialogue() -> None:
        async with Sink(behaviour) as sink:
            delivering = asyncio.create_task(deliver(deliverer(data_timeout=20), route(sink)))
            await sink.wait_for_messages(1)
            await silence(20)
            [outcome] = await delivering
            assert outcome.state is State.READY
            assert outcome.unknown
            assert outcome.prefix_sha256 == hashlib.sha256(PREFIX).hexdigest()
            assert len(sink.messages) == 1

    run(dialogue(), timeout=60)


def test_the_mark_is_made_after_the_content_and_before_the_final_dot() -> None:
    seen: list[int] = []

    async def dialogue() -> None:
        async with Sink() as sink:

            async def mark() -> None:
                seen.append(len(sink.messages))
                assert sink.commands[-1] == "DATA"

            await deliver(deliverer(), route(sink), mark=mark)
            assert seen == [0]
            assert len(sink.messages) == 1

    run(dialogue())


@pytest.mark.parametrize("error", [Withdrawn("the brake fell"), StoreError("the store is gone")])
def test_without_a_durable_mark_nothing_is_sent(error: Exception) -> None:
    async def refused() -> None:
        raise error

    async def dialogue() -> None:
        async with Sink() as sink:
            [outcome] = await deliver(deliverer(), route(sink), mark=refused)
            assert outcome.state is State.READY
            assert outcome.attempted is not isinstance(error, Withdrawn)
            assert not outcome.unknown
            async with Sink() as other:
                await deliver(deliverer(), route(other))
            assert sink.messages == []

    run(dialogue())


def test_a_body_that_is_not_the_recorded_one_is_not_sent() -> None:
    async def dialogue() -> None:
        async with Sink() as sink:
            [outcome] = await deliver(deliverer(), route(sink), digest="0" * 64)
            assert outcome.state is State.UNDELIVERABLE, "a person must look"
            assert outcome.status == "5.3.0"
            assert sink.messages == []

    run(dialogue())


class TestExtensions:
    """Parameters are given where they are offered and needed, and only there."""

    def test_plain_mail_asks_for_nothing_but_size(self) -> None:
        async def dialogue() -> None:
            async with Sink() as sink:
                await deliver(deliverer(), route(sink))
                assert sink.messages[0].envelope.parameters == (f"SIZE={len(PREFIX + MESSAGE)}",)
                assert sink.messages[0].envelope.recipients == [("piet@partner.example", ())]

        run(dialogue())

    def test_dsn_parameters_are_passed_on_to_a_next_hop_that_offers_dsn(self) -> None:
        sender = Sender(mailbox("jan@example.nl"), ret="HDRS", envid="a+b=c d")
        recipient = Recipient(mailbox("piet@partner.example"), frozenset({"SUCCESS", "FAILURE"}), "rfc822;Piet+x@partner.example")

        async def dialogue() -> None:
            async with Sink() as sink:
                [outcome] = await deliver(deliverer(), route(sink), (recipient,), sender=sender)
                envelope = sink.messages[0].envelope
                assert envelope.parameters[1:] == ("RET=HDRS", "ENVID=a+2Bb+3Dc+20d")
                assert envelope.recipients == [
                    ("piet@partner.example", ("NOTIFY=FAILURE,SUCCESS", "ORCPT=rfc822;Piet+2Bx@partner.example"))
                ]
                assert outcome.dsn_passed

        run(dialogue())

    def test_dsn_parameters_are_kept_from_a_next_hop_without_dsn(self) -> None:
        sender = Sender(mailbox("jan@example.nl"), ret="FULL", envid="x")
        recipient = Recipient(mailbox("piet@partner.example"), frozenset({"NEVER"}), "rfc822;p@partner.example")

        async def dialogue() -> None:
            async with Sink(Behaviour(without("DSN"))) as sink:
                [outcome] = await deliver(deliverer(), route(sink), (recipient,), sender=sender)
                assert sink.messages[0].envelope.parameters == (f"SIZE={len(PREFIX + MESSAGE)}",)
                assert sink.messages[0].envelope.recipients == [("piet@partner.example", ())]
                assert not outcome.dsn_passed

        run(dialogue())

    def test_8_bit_content_is_declared(self) -> None:
        message = MESSAGE + "café\r\n".encode()

        async def dialogue() -> None:
            async with Sink() as sink:
                await deliver(deliverer(), route(sink), message=message)
                assert "BODY=8BITMIME" in sink.messages[0].envelope.parameters
                assert "SMTPUTF8" not in sink.messages[0].envelope.parameters
                assert sink.messages[0].raw == PREFIX + message

        run(dialogue())

    def test_8_bit_content_fails_at_a_next_hop_without_8bitmime_and_is_never_converted(self) -> None:
        async def dialogue() -> None:
            async with Sink(Behaviour(without("8BITMIME"))) as sink:
                [outcome] = await deliver(deliverer(), route(sink), message=MESSAGE + "café\r\n".encode())
                assert (outcome.state, outcome.status) == (State.BOUNCED, "5.6.3")
                assert sink.messages == []

        run(dialogue())

    def test_a_non_ascii_recipient_fails_alone_at_a_next_hop_without_smtputf8(self) -> None:
        async def dialogue() -> None:
            async with Sink(Behaviour(without("SMTPUTF8"))) as sink:
                outcomes = await deliver(deliverer(), route(sink), ("piet@partner.example", "joël@partner.example"))
                assert [outcome.status for outcome in outcomes] == ["2.0.0", "5.6.7"]
                assert sink.messages[0].envelope.addresses == ["piet@partner.example"]

        run(dialogue())

    @pytest.mark.parametrize(
        ("sender", "recipient", "message"),
        [
            ("joël@example.nl", "piet@partner.example", MESSAGE),
            ("jan@example.nl", "joël@partner.example", MESSAGE),
            ("jan@example.nl", "piet@partner.example", "From: jan@example.nl\r\nSubject: café\r\n\r\nx\r\n".encode()),
        ],
    )
    def test_smtputf8_is_asked_for_where_address_or_header_need_it(self, sender: str, recipient: str, message: bytes) -> None:
        async def dialogue() -> None:
            async with Sink() as sink:
                await deliver(deliverer(), route(sink), (recipient,), sender=sender, message=message)
                assert "SMTPUTF8" in sink.messages[0].envelope.parameters
                assert sink.messages[0].envelope.sender == sender
                assert sink.messages[0].envelope.addresses == [recipient]
                assert sink.messages[0].raw == PREFIX + message
            async with Sink(Behaviour(without("SMTPUTF8"))) as sink:
                [outcome] = await deliver(deliverer(), route(sink), (recipient,), sender=sender, message=message)
                assert outcome.status == "5.6.7"
                assert sink.messages == []

        run(dialogue())

    def test_a_message_larger_than_the_next_hop_takes_fails_before_mail(self) -> None:
        async def dialogue() -> None:
            async with Sink(Behaviour((*without("SIZE"), "SIZE 100"))) as sink:
                [outcome] = await deliver(deliverer(), route(sink))
                assert (outcome.state, outcome.status) == (State.BOUNCED, "5.3.4")
                assert not any(command.startswith("MAIL") for command in sink.commands)

        run(dialogue())

    def test_size_without_a_maximum_is_no_limit(self) -> None:
        async def dialogue() -> None:
            for size in ("SIZE", "SIZE 0", "SIZE x"):
                async with Sink(Behaviour((*without("SIZE"), size))) as sink:
                    [outcome] = await deliver(deliverer(), route(sink))
                    assert outcome.state is State.DELIVERED

        run(dialogue())

    def test_a_server_that_knows_only_helo_gets_plain_mail(self) -> None:
        async def dialogue() -> None:
            async with Sink(Behaviour(replies={"EHLO": "502 What?"})) as sink:
                [outcome] = await deliver(deliverer(), route(sink))
                assert outcome.state is State.DELIVERED
                assert sink.messages[0].envelope.parameters == ()

        run(dialogue())


class TestReplies:
    """What a next hop says is bounded, printable and never trusted."""

    def test_controls_in_a_reply_never_reach_the_record_raw(self) -> None:
        async def dialogue() -> None:
            async with Sink(Behaviour(replies={"DOT": "550 5.7.1 \x1b[31mred\x07 \u202eevil"})) as sink:
                [outcome] = await deliver(deliverer(), route(sink))
                assert outcome.reply == "550 5.7.1 \\u001b[31mred\\u0007 \\u202eevil"

        run(dialogue())

    def test_a_reply_of_many_lines_is_read_as_one_and_cut(self) -> None:
        lines = "\n".join(f"550-5.7.1 line {number}" for number in range(150)) + "\n550 5.7.1 end"

        async def dialogue() -> None:
            async with Sink(Behaviour(replies={"DOT": lines})) as sink:
                [outcome] = await deliver(deliverer(), route(sink))
                assert outcome.state is State.BOUNCED
                assert outcome.reply.startswith("550 5.7.1 line 0 5.7.1 line 1")
                assert len(outcome.reply) < 420

        run(dialogue())

    @pytest.mark.parametrize("reply", ["250-endless\n" * 300 + "250 end", "2" * 20_000, "abc", "250-a\n550 b", "199 x"])
    def test_a_reply_that_is_no_smtp_after_the_final_dot_is_unknown(self, reply: str) -> None:
        async def dialogue() -> None:
            async with Sink(Behaviour(replies={"DOT": reply})) as sink:
                [outcome] = await deliver(deliverer(), route(sink))
                assert outcome.state is State.READY
                assert outcome.unknown

        run(dialogue())

    def test_an_enhanced_code_of_another_class_is_not_believed(self) -> None:
        async def dialogue() -> None:
            async with Sink(Behaviour(replies={"DOT": "450 5.1.1 Confused"})) as sink:
                [outcome] = await deliver(deliverer(), route(sink))
                assert (outcome.state, outcome.status) == (State.READY, "4.0.0")

        run(dialogue())


class TestCustody:
    """Promise 13: who hears of a failure."""

    @pytest.mark.parametrize(
        ("changes", "notify", "state"),
        [
            ({}, frozenset(), State.BOUNCED),
            ({}, frozenset({"FAILURE"}), State.BOUNCED),
            ({}, frozenset({"NEVER"}), State.UNDELIVERABLE),
            ({}, frozenset({"SUCCESS"}), State.UNDELIVERABLE),
            ({"vouched": False}, frozenset(), State.UNDELIVERABLE),
            ({"sender": None}, frozenset(), State.UNDELIVERABLE),
        ],
    )
    def test_only_a_vouched_sender_who_wants_to_hear_is_told(
        self, changes: dict[str, object], notify: frozenset[str], state: State
    ) -> None:
        recipient = Recipient(mailbox("weg@partner.example"), notify)

        async def dialogue() -> None:
            async with Sink(Behaviour(replies={"RCPT": "550 5.1.1 Unknown"})) as sink:
                [outcome] = await deliver(deliverer(), route(sink), (recipient,), **changes)  # type: ignore[arg-type]
                assert outcome.state is state

        run(dialogue())


class TestLmtp:
    """RFC 2033: LHLO, and one reply for each recipient after the data."""

    def test_each_recipient_gets_its_own_reply_after_the_data(self) -> None:
        behaviour = Behaviour(lmtp=True, replies={"DOT:b@x.example": "550 5.2.1 Disabled", "DOT:c@x.example": "452 4.2.2 Full"})

        async def dialogue() -> None:
            async with Sink(behaviour) as sink:
                way = route(sink, lmtp=True)
                outcomes = await deliver(deliverer(), way, ("a@x.example", "b@x.example", "c@x.example"))
                assert [outcome.state for outcome in outcomes] == [State.DELIVERED, State.BOUNCED, State.READY]
                assert sink.commands[0] == "LHLO relay.example.nl"

        run(dialogue())
