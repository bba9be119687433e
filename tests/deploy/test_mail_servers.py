"""The mail servers that the stories use are real: a message goes through each of them."""

import asyncio
import smtplib
from pathlib import Path

from tests.servers.certificates import issue, make_ca
from tests.servers.exim import running_exim
from tests.servers.ports import free_port
from tests.servers.postfix import running_postfix
from tests.servers.sink import Behaviour, Sink

SENDER, RECIPIENT = "jan@organisation.example", "piet@partner.example"
MESSAGE = b"From: jan@organisation.example\r\nTo: piet@partner.example\r\nSubject: Hoi\r\n\r\nBeste Piet,\r\n.\r\nGroet\r\n"


async def submit(port: int, recipient: str = RECIPIENT, *, mail: tuple[str, ...] = (), rcpt: tuple[str, ...] = ()) -> None:
    """One message over plain SMTP, with parameters for MAIL and RCPT."""

    def send() -> None:
        with smtplib.SMTP("127.0.0.1", port, local_hostname="desk.organisation.example") as client:
            client.sendmail(SENDER, [recipient], MESSAGE, mail, rcpt)

    await asyncio.to_thread(send)


class TestPostfixAsClient:
    """It relays what it is given."""

    async def story(self, folder: Path) -> None:
        async with Sink() as sink, running_postfix(folder, relay_port=sink.port) as postfix:
            await submit(postfix.port, mail=("RET=HDRS", "ENVID=abc"), rcpt=("NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;piet@partner.example"))
            [message] = await sink.wait_for_messages(1)
            assert message.raw.endswith(b"\r\n\r\nBeste Piet,\r\n.\r\nGroet\r\n")
            assert message.envelope.sender == SENDER
            assert {"RET=HDRS", "ENVID=abc"} <= set(message.envelope.parameters)
            [(address, parameters)] = message.envelope.recipients
            assert address == RECIPIENT
            assert "NOTIFY=SUCCESS,FAILURE" in parameters
            assert "ORCPT=rfc822;piet@partner.example" in parameters
            assert await postfix.wait_for_log(r"status=sent \(250 2\.0\.0 Ok: queued\)")

    def test_a_message_goes_through_with_its_dsn_parameters(self, tmp_path: Path) -> None:
        asyncio.run(self.story(tmp_path))
        assert "status=sent" in (tmp_path / "mail.organisation.example.log").read_text()

    def test_a_deferred_message_is_tried_again_within_seconds(self, tmp_path: Path) -> None:
        async def story() -> None:
            behaviour = Behaviour(replies={"DOT": "451 4.3.0 Try again later"})
            async with Sink(behaviour) as sink, running_postfix(tmp_path, relay_port=sink.port) as postfix:
                await submit(postfix.port)
                await postfix.wait_for_log("status=deferred .*451 4.3.0 Try again later")
                behaviour.replies.clear()
                await postfix.wait_for_log("status=sent")

        asyncio.run(story())

    def test_tls_is_used_where_it_is_asked_for(self, tmp_path: Path) -> None:
        async def story() -> None:
            certificate = issue(make_ca(tmp_path), ["relay.organisation.example"])
            async with (
                Sink(certificate=certificate) as sink,
                running_postfix(tmp_path, relay_port=sink.port, relay_tls="encrypt") as postfix,
            ):
                await submit(postfix.port)
                [message] = await sink.wait_for_messages(1)
                assert message.envelope.tls == "TLSv1.3"

        asyncio.run(story())


class TestPostfixAsNextHop:
    """It keeps what it is given."""

    def test_mail_for_its_domains_lies_in_maildirs(self, tmp_path: Path) -> None:
        async def story() -> None:
            async with running_postfix(tmp_path, domains=["partner.example"], mailboxes=[RECIPIENT]) as postfix:
                await submit(postfix.port)
                [mail] = await postfix.wait_for_mail(1)
                assert (mail.recipient, mail.sender) == (RECIPIENT, SENDER)
                assert mail.raw.endswith(MESSAGE)

        asyncio.run(story())

    def test_an_unknown_recipient_and_a_foreign_domain_are_refused(self, tmp_path: Path) -> None:
        async def refusal(port: int, recipient: str) -> int:
            try:
                await submit(port, recipient)
            except smtplib.SMTPRecipientsRefused as error:
                return int(error.recipients[recipient][0])
            return 250

        async def story() -> None:
            settings = {"mynetworks": "192.0.2.1", "smtpd_reject_unlisted_recipient": "yes"}
            async with running_postfix(tmp_path, domains=["partner.example"], mailboxes=[RECIPIENT], settings=settings) as postfix:
                assert await refusal(postfix.port, "nobody@partner.example") == 550
                assert await refusal(postfix.port, "piet@elsewhere.example") == 554
                assert await refusal(postfix.port, RECIPIENT) == 250

        asyncio.run(story())

    def test_without_mailboxes_every_recipient_of_the_domain_is_known(self, tmp_path: Path) -> None:
        async def story() -> None:
            async with running_postfix(tmp_path, domains=["partner.example"]) as postfix:
                await submit(postfix.port, "an@partner.example")
                await submit(postfix.port, "bo@partner.example")
                assert {mail.recipient for mail in await postfix.wait_for_mail(2)} == {"an@partner.example", "bo@partner.example"}

        asyncio.run(story())

    def test_starttls_is_offered_with_a_certificate(self, tmp_path: Path) -> None:
        async def story() -> None:
            certificate = issue(make_ca(tmp_path), ["mx.partner.example"])
            async with running_postfix(tmp_path, domains=["partner.example"], certificate=certificate) as postfix:

                def features() -> dict[str, str]:
                    with smtplib.SMTP("127.0.0.1", postfix.port) as client:
                        client.starttls()
                        client.ehlo()
                        return client.esmtp_features

                assert "dsn" in await asyncio.to_thread(features)

        asyncio.run(story())


class TestExim:
    """It sends through its smart host."""

    def test_a_message_goes_through(self, tmp_path: Path) -> None:
        async def story() -> None:
            async with Sink() as sink, running_exim(tmp_path, sink.port) as exim:
                await submit(exim.port, mail=("ENVID=abc",), rcpt=("NOTIFY=FAILURE",))
                [message] = await sink.wait_for_messages(1)
                assert message.raw.endswith(b"\r\n\r\nBeste Piet,\r\n.\r\nGroet\r\n")
                assert message.envelope.sender == SENDER
                assert "ENVID=abc" in message.envelope.parameters
                assert message.envelope.recipients[0][0] == RECIPIENT
                assert await exim.wait_for_log(r"=> piet@partner.example")

        asyncio.run(story())
        assert "=> piet@partner.example" in (tmp_path / "exim.organisation.example.log").read_text()

    def test_a_deferred_message_is_tried_again_within_seconds(self, tmp_path: Path) -> None:
        async def story() -> None:
            behaviour = Behaviour(replies={"DOT": "451 4.3.0 Try again later"})
            async with Sink(behaviour) as sink, running_exim(tmp_path, sink.port) as exim:
                await submit(exim.port)
                await exim.wait_for_log("451 4.3.0 Try again later")
                behaviour.replies.clear()
                await exim.wait_for_log(" => ")

        asyncio.run(story())

    def test_tls_is_used_where_it_is_asked_for(self, tmp_path: Path) -> None:
        async def story() -> None:
            certificate = issue(make_ca(tmp_path), ["relay.organisation.example"])
            async with Sink(certificate=certificate) as sink, running_exim(tmp_path, sink.port, relay_tls="encrypt") as exim:
                await submit(exim.port)
                [message] = await sink.wait_for_messages(1)
                assert message.envelope.tls == "TLSv1.3"

        asyncio.run(story())

    def test_a_relay_that_is_away_leaves_the_message_in_its_queue(self, tmp_path: Path) -> None:
        async def story() -> None:
            async with running_exim(tmp_path, free_port()) as exim:
                await submit(exim.port)
                assert await exim.wait_for_log(" == piet@partner.example .*Connection refused")

        asyncio.run(story())
