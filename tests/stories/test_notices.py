"""What a sender is told, and who is told nothing: notices go to vouched senders inside, carry no content, and nothing is lost where one
can't be sent."""

import asyncio
import email
import email.policy
import smtplib
import time
from collections.abc import Sequence
from email.message import EmailMessage, Message
from pathlib import Path

from sqlalchemy import update

from relay.settings.models import Store
from relay.store.tables import Queue
from tests.servers.postfix import running_postfix
from tests.servers.sink import EXTENSIONS, Behaviour, Sink
from tests.stories.house import CLERK, OURS, ROUTES, SENDER, House, Reply, house, message, until, with_attachment

QUEUE = Queue.__table__  # type: ignore[attr-defined]
GONE = "gone@court.example"
REFUSED = "550 5.1.1 No such mailbox"
WITHOUT_DSN = tuple(line for line in EXTENSIONS if line != "DSN")


def parsed(raw: bytes) -> EmailMessage:
    """A notice as a mail program reads it."""
    found = email.message_from_bytes(raw, policy=email.policy.SMTP)
    assert isinstance(found, EmailMessage)
    return found


def groups(notice: EmailMessage) -> list[dict[str, str]]:
    """The fields of the message and of each recipient (RFC 3464 §2.1)."""
    (report,) = [part for part in notice.walk() if part.get_content_type().endswith("delivery-status")]
    blocks = report.get_payload()
    assert isinstance(blocks, list)
    return [{name: str(value) for name, value in block.items()} for block in blocks if isinstance(block, Message)]


def told(notice: EmailMessage) -> dict[str, str]:
    """Recipient to action."""
    return {group["Final-Recipient"].partition("; ")[2]: group["Action"] for group in groups(notice)[1:]}


async def own_mail(sluis: House, *expected: str) -> None:
    """Waits until what Sluis wrote itself is in these states, newest first."""
    await until(
        lambda: [row.state for row in sluis.rows() if row.m_client == "sluis"] == list(expected),
        lambda: f"notices {expected}: {[(row.m_client, row.recipient, row.state) for row in sluis.rows()]}",
    )


def test_a_bounce_names_who_failed_and_why_with_the_header_and_never_the_body(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        raw = with_attachment("secret.pdf", b"%PDF-1.4 a secret plan\n" * 100, "application/pdf", Subject="The plan")
        replies = {GONE: REFUSED, "full@court.example": "552 5.2.2 Mailbox full"}
        async with (
            Sink(Behaviour(replies=replies)) as sink,
            Sink() as home,
            house(tmp_path, database, outside=sink.port, inside=home.port) as sluis,
        ):
            reply = await sluis.send(raw, to=[GONE, CLERK, "full@court.example"], options=["RET=FULL", "ENVID=case42"])
            await sluis.until_states(reply, "bounced", "delivered", "bounced")
            (arrived,) = await home.wait_for_messages(1)
            assert (arrived.envelope.sender, arrived.envelope.addresses) == ("", [SENDER])
            notice = parsed(arrived.raw)
            assert notice.get_content_type() == "multipart/report"
            assert notice.get_param("report-type") == "delivery-status"
            assert notice["Auto-Submitted"] == "auto-replied"
            parts = [part.get_content_type() for part in notice.iter_parts()]
            assert parts == ["text/plain", "message/delivery-status", "text/rfc822-headers"]
            of_message, *of_recipients = groups(notice)
            assert of_message["Reporting-MTA"] == f"dns; relay.{OURS}"
            assert of_message["Original-Envelope-Id"] == "case42"
            assert [group["Final-Recipient"] for group in of_recipients] == [f"rfc822; {GONE}", "rfc822; full@court.example"]
            assert [group["Action"] for group in of_recipients] == ["failed", "failed"]
            assert [group["Status"] for group in of_recipients] == ["5.1.1", "5.2.2"]
            assert [group["Diagnostic-Code"] for group in of_recipients] == [f"smtp; {REFUSED}", "smtp; 552 5.2.2 Mailbox full"]
            assert b"Subject: The plan\r\n" in arrived.raw
            assert CLERK not in told(notice)
            # RET=FULL asks for the content; what was stopped may be the content.
            assert raw.partition(b"\r\n\r\n")[2][:60] not in arrived.raw
            assert b"secret.pdf" not in arrived.raw
            assert b"DKIM-Signature" not in arrived.raw, "nobody authorised this one to speak for the organisation"
            await own_mail(sluis, "delivered")
            (own,) = [row for row in sluis.rows() if row.m_client == "sluis"]
            assert [rule["rule"] for rule in own.rules] == ["pass"], "decided like any other mail"

    asyncio.run(story())


def test_what_fails_without_a_vouched_sender_waits_for_a_person_and_is_never_bounced(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with (
            Sink(Behaviour(replies={GONE: REFUSED})) as sink,
            Sink(Behaviour(replies={"DOT": "554 5.6.0 Not wanted"})) as home,
            house(tmp_path, database, outside=sink.port, inside=home.port) as sluis,
        ):
            null = await sluis.send(message(), sender="", to=[GONE])
            assert null.code == 250
            inbound = await sluis.send(message(From=CLERK, To=SENDER), sender=CLERK, to=[SENDER], listener="outside")
            await sluis.until_states(null, "undeliverable")
            await sluis.until_states(inbound, "undeliverable")
            # Ours fails, and its notice fails too: the notice has the null reverse-path, so that no notice on the notice follows.
            ours = await sluis.send(message(), to=[GONE])
            await sluis.until_states(ours, "bounced")
            await own_mail(sluis, "undeliverable")
            assert (sink.messages, home.messages) == ([], [])
            listed = (await sluis.sluis("queue", "list", "--state", "undeliverable", "--json")).json
            assert {row["id"] for row in listed} >= {null.id.hex, inbound.id.hex}
            home.behaviour.replies.clear()
            sink.behaviour.replies.clear()
            for reply in (null, inbound):
                retried = await sluis.sluis("queue", "retry", reply.id.hex, "--reason", "the next hop is mended")
                assert retried.code == 0, retried.err
                await sluis.until_states(reply, "delivered")
            assert [arrived.envelope.sender for arrived in (*sink.messages, *home.messages)] == ["", CLERK], "as itself"

    asyncio.run(story())


def test_notify_says_who_hears_of_a_failure(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        wishes = {
            "default": "",
            "failure": " NOTIFY=FAILURE",
            "never": " NOTIFY=NEVER",
            "success": " NOTIFY=SUCCESS",
            "delay": " NOTIFY=DELAY",
        }
        async with (
            Sink(Behaviour(replies={"RCPT": REFUSED})) as sink,
            Sink() as home,
            house(tmp_path, database, outside=sink.port, inside=home.port) as sluis,
        ):
            reply = await sluis.send(message(), to=[f"{name}@court.example{wish}" for name, wish in wishes.items()])
            await sluis.until_states(reply, "bounced", "bounced", "undeliverable", "undeliverable", "undeliverable")
            (arrived,) = await home.wait_for_messages(1)
            assert told(parsed(arrived.raw)) == {"default@court.example": "failed", "failure@court.example": "failed"}
            await own_mail(sluis, "delivered")

    asyncio.run(story())


def test_a_delay_is_told_once_and_the_end_of_trying_is_told_at_expiry(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        later = "451 4.2.1 Mailbox busy"
        settings = {"delivery": {"schedule": [0.2], "delay_notice": 0.4}}
        async with (
            Sink(Behaviour(replies={"RCPT": later})) as sink,
            Sink() as home,
            house(tmp_path, database, outside=sink.port, inside=home.port, settings=settings) as sluis,
        ):
            to = [CLERK, "failure@court.example NOTIFY=FAILURE", "delay@court.example NOTIFY=DELAY", "never@court.example NOTIFY=NEVER"]
            reply = await sluis.send(message(), to=to)
            await home.wait_for_messages(1)
            before = attempts(sink)
            await until(lambda: attempts(sink) > max(before, 2), "one more attempt, of three at least")
            await sluis.stop()
            the_end_of_trying(sluis, reply)
            await sluis.start()
            rows = await sluis.until_states(reply, "bounced", "bounced", "undeliverable", "undeliverable")
            notices = [parsed(arrived.raw) for arrived in await home.wait_for_messages(2)]
            (delayed,) = [notice for notice in notices if "delayed" in told(notice).values()]
            (failed,) = [notice for notice in notices if "failed" in told(notice).values()]
            assert told(delayed) == {CLERK: "delayed", "delay@court.example": "delayed"}
            assert all("Will-Retry-Until" in group for group in groups(delayed)[1:])
            assert groups(delayed)[1]["Status"] == "4.2.1"
            assert told(failed) == {CLERK: "failed", "failure@court.example": "failed"}
            assert [group["Status"] for group in groups(failed)[1:]] == ["5.4.7", "5.4.7"], "RFC 3463 §3.5: delivery time expired"
            assert groups(failed)[1]["Diagnostic-Code"] == f"smtp; {later}", "with what was last heard"
            assert rows[0].outcome["reply"] == later
            await own_mail(sluis, "delivered", "delivered")

    asyncio.run(story())


def attempts(sink: Sink) -> int:
    """How often it was tried."""
    return len([line for line in sink.commands if line.startswith("MAIL")])


def the_end_of_trying(sluis: House, reply: Reply) -> None:
    """The days of its expiry have gone by."""
    with sluis._engine.begin() as connection:
        connection.execute(update(QUEUE).values(expires_us=time.time_ns() // 1000).where(QUEUE.c.message_id == reply.id))


def test_a_notice_that_our_own_policy_refuses_leaves_the_failure_to_a_person(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        rules = """\
rules:
  - {name: pass, then: deliver, because: ordinary mail}
  - {name: no-notices, when: {client: [sluis]}, then: reject, because: nobody wants them}
"""
        async with (
            Sink(Behaviour(replies={GONE: REFUSED})) as sink,
            Sink() as home,
            house(tmp_path, database, outside=sink.port, inside=home.port, policy={"rules/pass.yaml": rules}) as sluis,
        ):
            reply = await sluis.send(message(), to=[GONE, CLERK])
            await sluis.until_states(reply, "undeliverable", "delivered")
            await own_mail(sluis, "refused")
            assert home.messages == []

    asyncio.run(story())


def test_postfix_gets_its_notices_home(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with (
            Sink(Behaviour(extensions=WITHOUT_DSN, replies={GONE: REFUSED})) as sink,
            house(tmp_path, database, outside=sink.port) as sluis,
            running_postfix(tmp_path, relay_port=sluis.port(), domains=[OURS]) as mailserver,
        ):
            # The mail server is the next hop inside too: its port is known now.
            sluis.write_policy({"routes.yaml": ROUTES.replace("@OUTSIDE@", str(sink.port)).replace("@INSIDE@", str(mailserver.port))})
            await sluis.reload()
            await asyncio.to_thread(_submit, mailserver.port, [CLERK, GONE], ["NOTIFY=SUCCESS,FAILURE"])
            mails = await mailserver.wait_for_mail(2)
            assert {(mail.sender, mail.recipient) for mail in mails} == {("", SENDER)}
            notices = [parsed(mail.raw) for mail in mails]
            assert sorted((*told(notice).items(),) for notice in notices) == [((CLERK, "relayed"),), ((GONE, "failed"),)]
            assert all(groups(notice)[0]["Original-Envelope-Id"] == "case+42" for notice in notices)
            assert all(group["Original-Recipient"] for notice in notices for group in groups(notice)[1:])
            await mailserver.wait_for_log(rf"to=<{GONE}>.*status=sent \(250 2\.0\.0 Ok: queued as")
            assert not any("status=bounced" in line for line in mailserver.log.read_text().splitlines())

    asyncio.run(story())


def _submit(port: int, to: Sequence[str], options: Sequence[str]) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=30) as client:
        client.sendmail(SENDER, to, message(), ["RET=HDRS", "ENVID=case+2B42"], options)
