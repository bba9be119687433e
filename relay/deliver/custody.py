"""What becomes of a recipient who can't be reached: promise 13."""

from relay.model.delivery import State
from relay.model.envelope import Recipient
from relay.model.message import Outcome, StoredMessage, Ticket


def after_failure(message: StoredMessage, recipient: Recipient) -> State:
    """BOUNCED where a bounce may and should go to the sender; otherwise UNDELIVERABLE, which waits for a person.

    A bounce needs a vouched reverse-path that is not null, and a sender who did not ask to hear nothing (RFC 3461 §4.1)."""
    if message.sender.path is None or not message.vouched:
        return State.UNDELIVERABLE
    if recipient.notify and "FAILURE" not in recipient.notify:
        return State.UNDELIVERABLE
    return State.BOUNCED


def expired(message: StoredMessage, ticket: Ticket, outcome: Outcome) -> Outcome:
    """A transient outcome whose time is over (RFC 5321 §4.5.4.1): now a failure, with the last reply kept. RFC 3463 §3.5: X.4.7."""
    return Outcome(
        ordinal=outcome.ordinal,
        state=after_failure(message, ticket.recipient),
        reply=outcome.reply,
        status="5.4.7",
        next_hop=outcome.next_hop,
        tls=outcome.tls,
        prefix_sha256=outcome.prefix_sha256,
        attempted=outcome.attempted,
        unknown=outcome.unknown,
    )
