"""The SMTP dialogue as one table: what may come in which state, and where it leads (RFC 5321 §4.1.4, RFC 2033 §4.1, RFC 3207 §4.2, RFC 3030
§2).
"""

from enum import Enum

from relay.listen import replies
from relay.model.reply import Reply


class State(Enum):
    """Where a session is. RECIPIENTS: at least one recipient was accepted. CHUNKS: at least one chunk was taken, and not the last one."""

    START = "start"
    GREETED = "greeted"
    SENDER = "sender"
    RECIPIENTS = "recipients"
    CHUNKS = "chunks"
    CLOSED = "closed"


S = State
_ANYWHERE: dict[State, State] = {state: state for state in State if state is not S.CLOSED}
_HELLO: dict[State, State] = dict.fromkeys(_ANYWHERE, S.GREETED)

# verb -> the states it is allowed in, and the state after its success. BDAT LAST is BDAT with the last chunk.
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
    # RFC 3030 §2: DATA and BDAT are not mixed in one transaction, and nothing comes behind the last chunk.
    "BDAT": {S.RECIPIENTS: S.CHUNKS, S.CHUNKS: S.CHUNKS},
    "BDAT LAST": {S.RECIPIENTS: S.GREETED, S.CHUNKS: S.GREETED},
    "RSET": _HELLO | {S.START: S.START},
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
    if verb in ("DATA", "BDAT", "BDAT LAST") and state is S.SENDER:
        return replies.NO_RECIPIENTS
    return replies.BAD_SEQUENCE


def after(state: State, verb: str) -> State:
    """The state after a success."""
    return TABLE[verb][state]
