"""What people read in a delivery status notification: Dutch and English, plain ASCII, about 72 columns."""

from enum import StrEnum


class Action(StrEnum):
    """The Action field (RFC 3464 §2.3.3)."""

    FAILED = "failed"
    DELAYED = "delayed"
    RELAYED = "relayed"
    DELIVERED = "delivered"


SUBJECT = {
    Action.FAILED: "Niet bezorgd / Not delivered",
    Action.DELAYED: "Vertraagd / Delayed",
    Action.RELAYED: "Doorgegeven / Passed on",
    Action.DELIVERED: "Bezorgd / Delivered",
}

DUTCH = {
    Action.FAILED: "Uw bericht is niet bezorgd bij de volgende ontvangers.\nHet wordt niet opnieuw geprobeerd.",
    Action.DELAYED: "Uw bericht is nog niet bezorgd bij de volgende ontvangers.\nU hoeft niets te doen: het wordt opnieuw geprobeerd.",
    Action.RELAYED: (
        "Uw bericht is voor de volgende ontvangers doorgegeven aan een server\ndie zelf geen ontvangstmelding stuurt. "
        "Verdere meldingen komen er niet."
    ),
    Action.DELIVERED: "Uw bericht is bezorgd bij de volgende ontvangers.",
}

ENGLISH = {
    Action.FAILED: "Your message was not delivered to the following recipients.\nIt will not be tried again.",
    Action.DELAYED: (
        "Your message has not yet been delivered to the following recipients.\nYou need not do anything: it will be tried again."
    ),
    Action.RELAYED: (
        "For the following recipients your message was passed on to a server\nthat does not send notifications itself. "
        "No further notice will follow."
    ),
    Action.DELIVERED: "Your message was delivered to the following recipients.",
}

LAST_TRY = "Laatste poging / Last attempt: {until}"
REFERENCE = "Kenmerk / Reference: {message}"
