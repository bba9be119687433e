"""Delivery status notifications, read back with the standard library's parser."""

import email
import email.policy
import uuid
from email.message import EmailMessage
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.deliver.bounce import Notice, build_dsn, wanted
from relay.deliver.bounce_text import Action
from relay.model.delivery import State
from relay.model.envelope import Recipient, Sender
from relay.model.message import Outcome
from tests.fakes.custody import NOW_US, mailbox, stored

MESSAGE = b"From: jan@example.nl\r\nTo: weg@partner.example\r\nSubject: Geheim stuk\r\n\r\nDe inhoud blijft hier.\r\n"
HEADER = MESSAGE.partition(b"\r\n\r\n")[0] + b"\r\n"
FAILED = Outcome(0, State.BOUNCED, "550 5.1.1 <weg@partner.example>: unknown", "5.1.1", "mx.partner.example[192.0.2.5]:25")
ID = uuid.UUID("0199f000-0000-7000-8000-00000000000a")


def notice(recipient: Recipient | str = "weg@partner.example", outcome: Outcome = FAILED, **changes: Any) -> Notice:
    who = recipient if isinstance(recipient, Recipient) else Recipient(mailbox(recipient))
    values: dict[str, Any] = {
        "action": Action.FAILED,
        "message": stored(MESSAGE),
        "reported": [(who, outcome)],
        "header": HEADER,
        "id": ID,
        "hostname": "relay.example.nl",
        "now_us": NOW_US,
    }
    return Notice(**{**values, **changes})


def parsed(data: bytes) -> EmailMessage:
    assert b"\n" not in data.replace(b"\r\n", b"")
    message = email.message_from_bytes(data, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


def groups(report: EmailMessage) -> list[dict[str, str]]:
    part = list(report.iter_parts())[1]
    return [{name: str(value) for name, value in group.items()} for group in part.get_payload()]  # type: ignore[union-attr]


def test_a_bounce_is_a_report_that_machines_can_read() -> None:
    report = parsed(build_dsn(notice()))
    assert report.get_content_type() == "multipart/report"
    assert report["Content-Type"].params["report-type"] == "delivery-status"
    assert [part.get_content_type() for part in report.iter_parts()] == [
        "text/plain",
        "message/delivery-status",
        "text/rfc822-headers",
    ]
    about_message, about_recipient = groups(report)
    assert about_message["Reporting-MTA"] == "dns; relay.example.nl"
    assert about_recipient == {
        "Final-Recipient": "rfc822; weg@partner.example",
        "Action": "failed",
        "Status": "5.1.1",
        "Remote-MTA": "dns; mx.partner.example",
        "Diagnostic-Code": "smtp; 550 5.1.1 <weg@partner.example>: unknown",
        "Last-Attempt-Date": about_message["Arrival-Date"],
    }


def test_a_bounce_says_who_it_is_from_and_that_nobody_should_answer() -> None:
    report = parsed(build_dsn(notice()))
    assert report["From"] == "Mail Delivery System <MAILER-DAEMON@relay.example.nl>"
    assert report["To"] == "jan@example.nl"
    assert report["Auto-Submitted"] == "auto-replied"
    assert report["Message-ID"] == f"<{ID}@relay.example.nl>"


def test_people_read_it_in_dutch_and_english() -> None:
    text = next(parsed(build_dsn(notice())).iter_parts()).get_content()
    assert "niet bezorgd" in text
    assert "not delivered" in text
    assert "<weg@partner.example>" in text
    assert "unknown" in text


def test_the_header_goes_along_and_the_body_never() -> None:
    data = build_dsn(notice(message=stored(MESSAGE, Sender(mailbox("jan@example.nl"), ret="FULL"))))
    assert b"Subject: Geheim stuk" in data
    assert b"De inhoud blijft hier" not in data


def test_a_huge_header_is_cut_at_a_line() -> None:
    header = b"".join(b"X-Field-%d: %s\r\n" % (number, b"x" * 60) for number in range(5000))
    data = build_dsn(notice(header=header))
    assert len(data) < 20_000
    assert parsed(data).is_multipart()


def test_envelope_id_and_original_recipient_are_given_back() -> None:
    recipient = Recipient(mailbox("weg@partner.example"), frozenset({"FAILURE"}), "rfc822;Weg+x@partner.example")
    report = parsed(build_dsn(notice(recipient, message=stored(MESSAGE, Sender(mailbox("jan@example.nl"), envid="zaak=12")))))
    about_message, about_recipient = groups(report)
    assert about_message["Original-Envelope-Id"] == "zaak=12"
    assert about_recipient["Original-Recipient"] == "rfc822; Weg+x@partner.example"


def test_a_delay_says_until_when_it_is_tried() -> None:
    delayed = Outcome(0, State.READY, "connect to mx: no answer", "4.4.1")
    report = parsed(build_dsn(notice(outcome=delayed, action=Action.DELAYED, until_us=NOW_US + 86_400_000_000)))
    fields = groups(report)[1]
    assert fields["Action"] == "delayed"
    assert "Will-Retry-Until" in fields
    assert "Diagnostic-Code" not in fields
    assert "vertraagd" in report["Subject"].lower()
    assert "Last attempt: " in next(report.iter_parts()).get_content()


@pytest.mark.parametrize("action", [Action.FAILED, Action.RELAYED, Action.DELIVERED])
def test_what_is_not_tried_again_names_no_last_attempt_to_come(action: Action) -> None:
    report = parsed(build_dsn(notice(action=action, until_us=NOW_US + 86_400_000_000)))
    assert "Last attempt" not in next(report.iter_parts()).get_content()
    assert "Will-Retry-Until" not in groups(report)[1]


def test_the_reference_is_the_id_that_log_and_commands_know() -> None:
    message = stored(MESSAGE)
    assert f"Reference: {message.id.hex}" in next(parsed(build_dsn(notice(message=message))).iter_parts()).get_content()


def test_an_address_that_is_not_ascii_is_told_in_the_utf8_forms() -> None:
    recipient = Recipient(mailbox("joël@partner.example"), orcpt="utf-8;joël@partner.example")
    message = stored(MESSAGE, Sender(mailbox("zoë@example.nl"), smtputf8=True))
    data = build_dsn(notice(recipient, message=message))
    text = data.decode("utf-8")
    assert "Content-Type: message/global-delivery-status" in text
    assert "Content-Type: message/global-headers" in text
    assert "Final-Recipient: utf-8; joël@partner.example" in text
    assert "Original-Recipient: utf-8; joël@partner.example" in text
    assert "To: <zoë@example.nl>" in text


def test_an_ascii_sender_never_gets_eight_bit_notices() -> None:
    outcome = Outcome(0, State.BOUNCED, "550 5.1.1 caf\u00e9", "5.1.1")
    header = b"Subject: caf\xe9\r\n"
    assert build_dsn(notice(outcome=outcome, header=header)).isascii()


@given(st.text(max_size=100), st.text(max_size=100), st.binary(max_size=200), st.text(max_size=40))
def test_hostile_values_never_break_the_structure(reply: str, envid: str, header: bytes, orcpt: str) -> None:
    outcome = Outcome(0, State.BOUNCED, f"550 {reply}", "5.0.0", "mx\r\nBcc: x[1.2.3.4]:25")
    recipient = Recipient(mailbox("weg@partner.example"), orcpt=f"rfc822;{orcpt}")
    message = stored(MESSAGE, Sender(mailbox("jan@example.nl"), envid=envid))
    data = build_dsn(notice(recipient, outcome, message=message, header=header))
    report = parsed(data)
    assert [part.get_content_type() for part in report.iter_parts()] == ["text/plain", "message/delivery-status", "text/rfc822-headers"]
    assert report["Bcc"] is None
    assert len(groups(report)) == 2


class TestWanted:
    """Who is told of what."""

    @pytest.mark.parametrize(
        ("notify", "failed", "delayed", "relayed"),
        [
            (frozenset(), True, True, False),
            (frozenset({"NEVER"}), False, False, False),
            (frozenset({"FAILURE"}), True, False, False),
            (frozenset({"DELAY"}), False, True, False),
            (frozenset({"SUCCESS"}), False, False, True),
            (frozenset({"SUCCESS", "FAILURE", "DELAY"}), True, True, True),
        ],
    )
    def test_notify_is_honoured(self, notify: frozenset[str], failed: bool, delayed: bool, relayed: bool) -> None:
        recipient = Recipient(mailbox("weg@partner.example"), notify)
        said = [wanted(stored(MESSAGE), recipient, action) for action in (Action.FAILED, Action.DELAYED, Action.RELAYED)]
        assert said == [failed, delayed, relayed]

    def test_success_is_not_told_twice(self) -> None:
        recipient = Recipient(mailbox("weg@partner.example"), frozenset({"SUCCESS"}))
        passed = Outcome(0, State.DELIVERED, "250 Ok", "2.0.0", dsn_passed=True)
        assert not wanted(stored(MESSAGE), recipient, Action.RELAYED, passed)

    @pytest.mark.parametrize("message", [stored(MESSAGE, None), stored(MESSAGE, vouched=False)])
    def test_nobody_is_told_at_a_null_or_unvouched_reverse_path(self, message: Any) -> None:
        recipient = Recipient(mailbox("weg@partner.example"), frozenset({"FAILURE", "SUCCESS", "DELAY"}))
        assert not any(wanted(message, recipient, action) for action in Action)
        with pytest.raises(ValueError, match="nobody may be told"):
            build_dsn(notice(recipient, message=message))
