"""The SMTP dialogue as one table: what may come in which state, and where it leads (RFC 5321 §4.1.4, RFC 2033 §4.1, RFC 3207 §4.2)."""

from enum import Enum

from relay.listen import replies
from relay.model.reply import Reply


class State(Enum):
    """Where a session is. RECIPIENTS: at least one recipient was accepted."""

    START = "start"
    GREETED = "greeted"
    SENDER = "sender"
    RECIPIENTS = "recipients"
    CLOSED = "closed"


S = State
_HELLO = {S.START: S.GREETED, S.GREETED: S.GREETED, S.SENDER: S.GREETED, S.RECIPIENTS: S.GREETED}
_ANYWHERE = {S.START: S.START, S.GREETED: S.GREETED, S.SENDER: S.SENDER, S.RECIPIENTS: S.RECIPIENTS}

# verb -> the states it is allowed in, and the state after its success
TABLE: dict[str, dict[State, State]] = {
    "EHLO": _HELLO,
    "HELO": _HELLO,
    "LHLO": _HELLO,
    "STARTTLS": {S.GREETED: S.START},
    "AUTH": {S.GREETED: S.GREETED},
    "XCLIENT": {S.START: S.START, S.GREETED: S.START},
    "XFORWARD": {S.GREETED: S.GREETED},
    "MAIL": {S.GREETED: S.SENDER},
    "RCPT": {S.SENDER: S.RECIPIENTS, S.RECIPIENTS: S.RECIPIENTS},
    "DATA": {S.RECIPIENTS: S.GREETED},
    "RSET": {S.START: S.START, S.GREETED: S.GREETED, S.SENDER: S.GREETED, S.RECIPIENTS: S.GREETED},
    "NOOP": _ANYWHERE,
    "HELP": _ANYWHERE,
    "VRFY": _ANYWHERE,
    "EXPN": _ANYWHERE,
    "QUIT": dict.fromkeys(_ANYWHERE, S.CLOSED),
}

# RFC 2920 §3.1: these must be the last of a group; what was sent ahead of their reply is an attack or a broken client.
ENDS_GROUP = frozenset({"EHLO", "HELO", "LHLO", "STARTTLS", "AUTH", "XCLIENT", "DATA"})


def refusal(state: State, verb: str) -> Reply | None:
    """Why a verb may not come now, or None."""
    if verb not in TABLE:
        return replies.UNKNOWN_COMMAND
    if state in TABLE[verb]:
        return None
    if state is S.START:
        return replies.HELLO_FIRST
    if verb == "DATA" and state is S.SENDER:
        return replies.NO_RECIPIENTS
    return replies.BAD_SEQUENCE


def after(state: State, verb: str) -> State:
    """The state after a success."""
    return TABLE[verb][state]
