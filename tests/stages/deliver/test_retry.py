"""When a failed attempt is made again, and when trying ends."""

import uuid

from hypothesis import given
from hypothesis import strategies as st

from relay.deliver.custody import expired
from relay.deliver.retry import delay_notice_us, expires_us, next_attempt_us
from relay.model.delivery import State
from relay.model.envelope import Recipient
from relay.model.message import Outcome, Ticket
from relay.settings.models import Delivery
from tests.fakes.custody import NOW_US, mailbox, stored

DELIVERY = Delivery()
SECOND = 1_000_000
MESSAGE = stored(b"From: jan@example.nl\r\n\r\nHoi\r\n")


def delay(attempts: int, message_id: uuid.UUID = MESSAGE.id) -> float:
    due = next_attempt_us(DELIVERY, message_id, attempts, NOW_US, NOW_US + 10**15)
    assert due is not None
    return (due - NOW_US) / SECOND


@given(st.uuids(), st.integers(min_value=0, max_value=500))
def test_each_delay_is_its_step_give_or_take_a_tenth(message_id: uuid.UUID, attempts: int) -> None:
    step = DELIVERY.schedule[min(max(attempts, 1), len(DELIVERY.schedule)) - 1]
    assert 0.9 * step - 1 <= delay(attempts, message_id) <= 1.1 * step + 1


def test_the_same_message_is_due_at_the_same_time_whoever_counts() -> None:
    assert delay(3) == delay(3)


def test_messages_that_failed_together_come_back_apart() -> None:
    assert len({delay(1, uuid.UUID(int=number)) for number in range(100)}) > 90


def test_the_last_attempt_is_made_at_the_expiry_and_then_it_is_over() -> None:
    end = NOW_US + 10 * SECOND
    assert next_attempt_us(DELIVERY, MESSAGE.id, 9, NOW_US, end) == end
    assert next_attempt_us(DELIVERY, MESSAGE.id, 10, end, end) is None


def test_a_message_is_given_up_after_five_days_by_default() -> None:
    assert expires_us(DELIVERY, NOW_US) == NOW_US + 5 * 86_400 * SECOND


def test_a_delay_is_told_after_four_hours_by_default() -> None:
    assert delay_notice_us(DELIVERY, NOW_US) == NOW_US + 4 * 3600 * SECOND


def test_what_expired_is_bounced_with_its_last_reply() -> None:
    ticket = Ticket(0, Recipient(mailbox("piet@partner.example")), State.READY, attempts=12)
    outcome = expired(MESSAGE, ticket, Outcome(0, State.READY, "451 4.3.0 Later", "4.3.0", "mx[192.0.2.1]:25"))
    assert (outcome.state, outcome.status, outcome.reply) == (State.BOUNCED, "5.4.7", "451 4.3.0 Later")


def test_what_expired_without_a_sender_to_tell_waits_for_a_person() -> None:
    ticket = Ticket(0, Recipient(mailbox("piet@partner.example")), State.READY, attempts=12)
    message = stored(b"From: jan@example.nl\r\n\r\nHoi\r\n", vouched=False)
    assert expired(message, ticket, Outcome(0, State.READY, "451", "4.0.0")).state is State.UNDELIVERABLE
