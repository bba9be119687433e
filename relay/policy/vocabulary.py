"""What a CEL expression in a policy can speak of: one declaration, from which expressions are checked, run and documented."""

from dataclasses import dataclass

TEXT, NUMBER, FLAG, TEXTS = "text", "number", "true or false", "list of text"


@dataclass(frozen=True, slots=True)
class Variable:
    """`kind` is one of the above, or the name of a STRUCT of which it is a list. `recipient` says that it differs between recipients;
    `content` that it is not known before the message was read."""

    kind: str
    meaning: str
    recipient: bool = False
    content: bool = False


STRUCTS: dict[str, dict[str, tuple[str, str]]] = {
    "Attachment": {
        "part": (TEXT, "its path, such as `1.2`"),
        "name": (TEXT, "its name as shown, or empty"),
        "extension": (TEXT, "the last extension of its name, lower case"),
        "declared": (TEXT, "the media type that it says, lower case"),
        "true_type": (TEXT, "the media type that it is"),
        "size": (NUMBER, "octets, decoded"),
        "sha256": (TEXT, "of its bytes, hex"),
        "inline": (FLAG, "whether it is shown in the text"),
        "encrypted": (FLAG, "whether it is encrypted"),
        "macro": (FLAG, "whether it is an office document with macros, or has one in it"),
        "members": (TEXTS, "names inside an archive"),
    },
    "Finding": {
        "kind": (TEXT, "such as `malware`"),
        "inspector": (TEXT, "who found it"),
        "name": (TEXT, "its name"),
        "part": (TEXT, "the path of the part"),
    },
}

VARIABLES: dict[str, Variable] = {
    "client": Variable(TEXT, "the client that brought it"),
    "side": Variable(TEXT, "`inside` or `outside`"),
    "sender": Variable(TEXT, "the reverse-path, lower case, or empty"),
    "authorised": Variable(FLAG, "whether the client may send as it"),
    "tls": Variable(FLAG, "whether it came over TLS"),
    "phase": Variable(TEXT, "the phase that holds"),
    "recipient": Variable(TEXT, "this recipient, lower case", recipient=True),
    "direction": Variable(TEXT, "`outbound`, `inbound` or `internal`", recipient=True),
    "message.size": Variable(NUMBER, "octets", content=True),
    "message.recipients": Variable(NUMBER, "recipients in the transaction", content=True),
    "message.from_addresses": Variable(TEXTS, "the addresses in From", content=True),
    "message.from_display": Variable(TEXT, "the display name in From", content=True),
    "message.to": Variable(TEXTS, "the addresses in To and Cc", content=True),
    "message.subject": Variable(TEXT, "the subject, decoded", content=True),
    "message.message_id": Variable(TEXT, "the Message-ID, or empty", content=True),
    "message.date": Variable(TEXT, "the Date field", content=True),
    "message.auto_submitted": Variable(TEXT, "Auto-Submitted, or empty", content=True),
    "message.received": Variable(NUMBER, "Received fields", content=True),
    "message.spf": Variable(TEXT, "the result of SPF for inbound mail, such as `pass`", content=True),
    "message.dkim": Variable(TEXT, "the best result of its DKIM signatures", content=True),
    "message.dmarc": Variable(TEXT, "the result of DMARC", content=True),
    "message.dmarc_policy": Variable(TEXT, "what the domain of From asks for mail that fails DMARC, or empty", content=True),
    "first_time_recipient": Variable(
        FLAG, "whether nothing of the sender was delivered to this recipient before", recipient=True, content=True
    ),
    "message.first_times_today": Variable(NUMBER, "such recipients of the sender on this day", content=True),
    "attachments": Variable("Attachment", "the attachments and other leaf parts", content=True),
    "findings": Variable("Finding", "what was found", content=True),
}

OF_AUTHENTICATION = frozenset({"spf", "dkim", "dmarc", "dmarc_policy"})
"""Of these variables the last word; they are known of mail from outside only."""

DAY_COUNT = "first_times_today"
OF_FIRST_TIMES = frozenset({"first_time_recipient", DAY_COUNT})
"""Of these the last word; who wrote to whom before is looked up only where a policy asks."""

FUNCTIONS = frozenset({"size", "contains", "startsWith", "endsWith", "matches", "exists", "exists_one", "all", "filter", "map"})
"""What may be called. `has`, `dyn` and conversions are left out: they would turn what is not known into an answer, or escape the types."""
COMPREHENSIONS = frozenset({"exists", "exists_one", "all", "filter", "map"})
