"""AUTH PLAIN and LOGIN (RFC 4954, RFC 4616), offered under TLS only."""

import base64
import binascii
from typing import Protocol

from relay.listen import replies
from relay.listen.channel import MAX_AUTH_LINE, LineTooLong
from relay.listen.intake import Intake
from relay.model.client import Peer
from relay.model.errors import Refusal
from relay.model.reply import Reply
from relay.receive.replies import AUTH_FAILED
from relay.settings.models import Listener
from relay.store.logins import TooManyAtOnce


class Dialogue(Protocol):
    """What this needs of a session."""

    peer: Peer

    @property
    def settings(self) -> Listener: ...

    async def send(self, reply: Reply) -> None: ...

    async def read_line(self, limit: int, timeout: float) -> bytes: ...


async def authenticate(session: Dialogue, argument: str, intake: Intake) -> str:
    """The login that was proven. Raises Refusal."""
    mechanism, _, initial = argument.partition(" ")
    if mechanism.upper() == "PLAIN":
        login, password = await _plain(session, initial)
    elif mechanism.upper() == "LOGIN":
        login, password = await _login(session, initial)
    else:
        raise Refusal(replies.AUTH_MECHANISM)
    if not login or not password or not login.isprintable() or len(login) > 255 or len(password) > 1024:
        raise Refusal(replies.AUTH_SYNTAX)
    try:
        right = await intake.authenticate(session.peer, login, password)
    except TooManyAtOnce:
        raise Refusal(replies.AUTH_BUSY) from None
    if not right:
        raise Refusal(AUTH_FAILED)
    return login


async def _plain(session: Dialogue, initial: str) -> tuple[str, str]:
    data = _decode(initial) if initial else await _ask(session, replies.AUTH_CONTINUE)
    parts = data.split("\0")
    if len(parts) != 3 or parts[0] not in ("", parts[1]):  # RFC 4616 §2: acting for somebody else is not offered
        raise Refusal(replies.AUTH_SYNTAX)
    return parts[1], parts[2]


async def _login(session: Dialogue, initial: str) -> tuple[str, str]:
    login = _decode(initial) if initial else await _ask(session, replies.AUTH_USERNAME)
    return login, await _ask(session, replies.AUTH_PASSWORD)


async def _ask(session: Dialogue, question: Reply) -> str:
    await session.send(question)
    try:
        line = await session.read_line(MAX_AUTH_LINE, session.settings.command_timeout)
    except LineTooLong:
        raise Refusal(replies.AUTH_SYNTAX) from None
    if line == b"*":
        raise Refusal(replies.AUTH_CANCELLED)
    return _decode(line.decode("latin-1"))


def _decode(text: str) -> str:
    if text == "=":  # RFC 4954 §4: an empty initial response
        return ""
    try:
        return base64.b64decode(text, validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        raise Refusal(replies.AUTH_SYNTAX) from None
