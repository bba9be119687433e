"""Who comes in at MAIL FROM and RCPT TO: never an open relay, always postmaster, and every refusal is an event before it is heard."""

from dataclasses import replace

import pytest

from relay.model.address import Mailbox
from relay.model.client import Side
from relay.model.envelope import Recipient
from relay.policy.models import Client, Limits
from relay.receive.rates import DAY_US, HOUR_US
from tests.fakes.custody import PEER, mailbox
from tests.stages.decide.cases import PASS, rule
from tests.stages.receive.door import INSIDE, LOGGED_IN, OUTSIDE, OUTSIDE_ANYWHERE, STRANGER, Door, anywhere, door, run

NOT_HERE = "550 5.7.1 This host may not send mail through here"
MAY_NOT = "550 5.7.1 This client may not send as this address"
RELAYING = "550 5.7.1 Relaying denied"
FULL = "452 4.3.1 Not enough storage now, try again later"
RATE = "450 4.7.1 Too many messages or recipients, try again later"
REFUSED = "550 5.7.1 Refused by policy"


def inside(**changes: object) -> Client:
    return INSIDE.model_copy(update=changes)


def test_who_is_not_in_the_policy_is_nobody() -> None:
    stranger = replace(PEER, login="somebody")
    at = door()

    assert at.mail_reply("jan@example.nl", stranger) == NOT_HERE
    assert at.refused == [("jan@example.nl", "", NOT_HERE, "no client of the policy has this address, certificate or login")]


def test_a_client_that_must_use_tls_hears_so_before_anything_else() -> None:
    at = door()

    assert at.mail_reply("forged@partner.example", replace(LOGGED_IN, tls=None)) == "530 5.7.0 Must issue a STARTTLS command first"
    assert at.mail("jan@example.nl", LOGGED_IN).client.name == "exchange"


def test_a_client_may_be_let_in_without_tls() -> None:
    assert door(inside(require_tls=False)).mail("jan@example.nl", replace(LOGGED_IN, tls=None))


def test_a_client_sends_as_its_own_addresses_only() -> None:
    at = door()

    assert at.mail_reply("piet@partner.example", LOGGED_IN) == MAY_NOT
    assert at.mail_reply("jan@sub.example.nl", LOGGED_IN) == MAY_NOT


def test_an_authorised_sender_is_vouched_for_and_may_be_signed_for() -> None:
    transaction = door().mail("jan@example.nl", LOGGED_IN)

    assert (transaction.authorised, transaction.vouched) == (True, True)


def test_nobody_outside_is_vouched_for() -> None:
    transaction = door().mail("piet@partner.example", STRANGER)

    assert (transaction.authorised, transaction.vouched) == (False, False)


def test_a_client_that_forwards_may_use_a_foreign_sender_and_is_never_signed_as_ours() -> None:
    at = door(inside(forwards=True))

    for sender in ("piet@partner.example", "jan@example.nl"):
        transaction = at.mail(sender, LOGGED_IN)
        assert (transaction.authorised, transaction.vouched) == (False, False)


def test_the_empty_reverse_path_is_taken_and_no_bounce_goes_back_to_it() -> None:
    transaction = door().mail(None, LOGGED_IN)

    assert (transaction.authorised, transaction.vouched) == (True, False)
    assert door().mail(None, STRANGER)


def test_the_empty_reverse_path_can_be_refused_to_a_client() -> None:
    said = door(inside(may_send_null=False, forwards=True)).mail_reply(None, LOGGED_IN)

    assert said == "550 5.7.1 This client may not send with an empty reverse-path"


def test_nobody_outside_sends_as_us() -> None:
    assert door().mail_reply("jan@example.nl", STRANGER) == MAY_NOT


@pytest.mark.parametrize(
    "recipient",
    [
        "piet@partner.example",
        "x%partner.example@other.example",
        "x@sub.example.nl",
        "x@example.nl.partner.example",
        "x@[192.0.2.1]",
        '"x@example.nl"@partner.example',
        "postmaster@partner.example",
        "postmaster@[192.0.2.1]",
    ],
)
def test_from_outside_nothing_is_relayed_to_elsewhere_whatever_the_client_may(recipient: str) -> None:
    at = door()

    assert at.rcpt_reply(at.mail("piet@partner.example", STRANGER), recipient) == RELAYING
    assert at.next_hop.asked == []


def test_from_outside_our_recipients_are_verified() -> None:
    at = door()

    assert at.rcpt(at.mail("piet@partner.example", STRANGER), "Jan@Example.NL") == ["Jan@Example.NL"]
    assert at.next_hop.asked == ["Jan@Example.NL over inside"]


def test_from_inside_nobody_is_asked() -> None:
    at = door()

    assert at.rcpt(at.mail("jan@example.nl", LOGGED_IN), "anna@example.nl") == ["anna@example.nl"]
    assert at.next_hop.asked == []


def test_a_client_reaches_only_whom_policy_lets_it() -> None:
    at = door(inside(may_send_to=("court.example",)))
    transaction = at.mail("jan@example.nl", LOGGED_IN)

    assert at.rcpt_reply(transaction, "piet@partner.example") == "550 5.7.1 This client may not send to this address"
    assert at.rcpt(transaction, "clerk@court.example") == ["clerk@court.example"]


def test_a_client_that_policy_gives_nobody_reaches_nobody() -> None:
    at = door(inside(may_send_to=()))

    assert at.rcpt_reply(at.mail("jan@example.nl", LOGGED_IN), "anna@example.nl").startswith("550 5.7.1")


@pytest.mark.parametrize("written", ["postmaster", "Postmaster", "POSTMASTER"])
def test_postmaster_alone_goes_to_the_mailbox_that_policy_names(written: str) -> None:
    at = door()
    transaction = at.mail("piet@partner.example", STRANGER)
    run(at.admission.rcpt(transaction, Recipient(Mailbox(written, ""))))

    assert [str(one) for one in transaction.recipients] == ["postmaster@example.nl"]


def test_postmaster_is_accepted_where_everybody_else_is_refused() -> None:
    limits = Limits(recipients_per_hour=1)
    at = door(anywhere(OUTSIDE.model_copy(update={"may_send_to": (), "limits": limits})), rules=(PASS, rule("no", "reject")), recipients=())
    transaction = at.mail("piet@partner.example", STRANGER)

    for _ in range(3):
        at.rcpt(transaction, "postmaster@example.nl")
    assert at.rcpt_reply(transaction, "jan@example.nl").startswith("550")


def test_postmaster_of_somebody_else_is_anybody() -> None:
    at = door(inside(may_send_to=("example.nl",)))

    assert at.rcpt_reply(at.mail("jan@example.nl", LOGGED_IN), "postmaster@partner.example").startswith("550 5.7.1")


def test_a_full_spool_takes_nothing_more_not_even_for_postmaster() -> None:
    at = door()
    transaction = at.mail("jan@example.nl", LOGGED_IN)
    at.full = True

    assert at.rcpt_reply(transaction, "piet@partner.example") == FULL
    assert at.rcpt_reply(transaction, "postmaster@example.nl") == FULL
    assert at.mail_reply("jan@example.nl", LOGGED_IN) == FULL
    at.full = False
    assert at.rcpt(transaction, "piet@partner.example")


def test_a_rule_that_no_content_can_make_milder_refuses_at_once() -> None:
    at = door(rules=(PASS, rule("blocked", "reject", recipient=["partner.example"])))
    transaction = at.mail("jan@example.nl", LOGGED_IN)

    assert at.rcpt_reply(transaction, "piet@partner.example") == REFUSED
    assert at.refused[-1][3] == "rules blocked"
    assert at.rcpt(transaction, "clerk@court.example") == ["clerk@court.example"]


def test_a_client_that_has_said_250_already_hears_of_no_rule() -> None:
    at = door(inside(already_accepted=True), rules=(PASS, rule("blocked", "reject")))

    assert at.rcpt(at.mail("jan@example.nl", LOGGED_IN), "piet@partner.example")


def test_the_declared_size_is_a_claim_that_no_rule_believes() -> None:
    at = door(rules=(PASS, rule("large", "reject", larger_than=10)))

    assert at.rcpt(at.mail("jan@example.nl", LOGGED_IN), "piet@partner.example")


def limited(**limits: int) -> Door:
    return door(inside(limits=Limits(**limits)))


def test_messages_of_a_client_are_counted_in_the_hour() -> None:
    at = limited(messages_per_hour=2)
    for sender in ("jan@example.nl", "anna@example.nl"):
        at.mail(sender, LOGGED_IN)

    assert at.mail_reply("jan@example.nl", LOGGED_IN) == RATE
    at.clock.us += HOUR_US
    assert at.mail("jan@example.nl", LOGGED_IN)


def test_messages_of_a_client_are_counted_in_the_day() -> None:
    at = limited(messages_per_day=1)
    at.mail("jan@example.nl", LOGGED_IN)
    at.clock.us += HOUR_US

    assert at.mail_reply("jan@example.nl", LOGGED_IN) == RATE
    at.clock.us += DAY_US
    assert at.mail("jan@example.nl", LOGGED_IN)


@pytest.mark.parametrize("window", ["hour", "day"])
def test_recipients_are_counted_across_transactions(window: str) -> None:
    at = limited(**{f"recipients_per_{window}": 2})
    first = at.mail("jan@example.nl", LOGGED_IN)
    at.rcpt(first, "a@partner.example")
    second = at.mail("jan@example.nl", LOGGED_IN)
    at.rcpt(second, "b@partner.example")

    assert at.rcpt_reply(second, "c@partner.example") == RATE


def test_a_recipient_that_is_refused_is_not_counted() -> None:
    at = door(inside(limits=Limits(recipients_per_hour=1), may_send_to=("partner.example",)))
    transaction = at.mail("jan@example.nl", LOGGED_IN)
    at.rcpt_reply(transaction, "x@elsewhere.example")

    assert at.rcpt(transaction, "a@partner.example")


def test_each_sender_of_a_client_has_a_ceiling_of_its_own() -> None:
    at = door(inside(sender_limits=Limits(messages_per_hour=1)))
    at.mail("jan@example.nl", LOGGED_IN)

    assert at.mail_reply("JAN@example.nl", LOGGED_IN) == RATE
    assert at.mail("anna@example.nl", LOGGED_IN)


def test_one_client_at_its_ceiling_stops_no_other() -> None:
    at = door(inside(limits=Limits(messages_per_hour=1)), OUTSIDE_ANYWHERE)
    at.mail("jan@example.nl", LOGGED_IN)

    assert at.mail_reply("jan@example.nl", LOGGED_IN) == RATE
    assert at.mail("piet@partner.example", STRANGER)


def test_a_wrong_password_is_an_event_and_names_no_password() -> None:
    at = door(passwords={"desk": "secret"})

    assert run(at.admission.authenticate(PEER, "desk", "secret"))
    assert at.refused == []
    assert not run(at.admission.authenticate(PEER, "desk", "guess"))
    assert at.refused == [("", "", "535 5.7.8 Authentication failed", "wrong password for login desk")]


def test_a_transaction_keeps_the_policy_that_it_began_with() -> None:
    at = door()
    transaction = at.mail("jan@example.nl", LOGGED_IN)
    at.policy = door(inside(may_send_to=())).policy

    assert at.rcpt(transaction, "piet@partner.example")
    assert at.rcpt_reply(at.mail("jan@example.nl", LOGGED_IN), "piet@partner.example")


def test_every_refusal_of_a_recipient_names_both_ends() -> None:
    at = door()
    at.rcpt_reply(at.mail("piet@partner.example", STRANGER), "x@elsewhere.example")

    assert at.refused == [("piet@partner.example", "x@elsewhere.example", RELAYING, "x@elsewhere.example is not of a domain of ours")]


def test_the_envelope_keeps_the_order_of_its_recipients() -> None:
    at = door()
    transaction = at.mail("jan@example.nl", LOGGED_IN)
    for recipient in ("c@partner.example", "a@partner.example"):
        at.rcpt(transaction, recipient)

    assert [str(one) for one in transaction.envelope.recipients] == ["c@partner.example", "a@partner.example"]
    assert transaction.envelope.sender.path == mailbox("jan@example.nl")
    assert transaction.peer.side is Side.INSIDE


def test_what_somebody_typed_for_a_login_that_policy_does_not_know_is_not_written_down() -> None:
    """It may be a password in the wrong place."""
    at = door(passwords={"desk": "secret"})

    assert not run(at.admission.authenticate(PEER, "hunter2", "desk"))
    assert at.refused == [("", "", "535 5.7.8 Authentication failed", "a login that policy does not know")]
