"""The parameters of MAIL FROM and RCPT TO, checked against what this listener offers."""

import re

from relay.listen import replies
from relay.listen.commands import SyntaxProblem, decode_xtext
from relay.model.address import Mailbox
from relay.model.envelope import Body, Recipient, Sender
from relay.model.errors import Refusal

_NOTIFY = frozenset({"SUCCESS", "FAILURE", "DELAY"})
_MAX_ENVID = 100  # RFC 3461 §4.4
_MAX_ORCPT = 500  # RFC 3461 §4.2
_ORCPT_TYPE = re.compile(r"[A-Za-z0-9-]{1,32}")


def sender_of(path: Mailbox | None, parameters: dict[str, str | None], *, size_limit: int, dsn: bool, auth: bool, esmtp: bool) -> Sender:
    """Raises Refusal: unknown or bad parameter, too large, or a non-ASCII address without SMTPUTF8."""
    offered = {"SIZE", "BODY", "SMTPUTF8"} | ({"RET", "ENVID"} if dsn else set()) | ({"AUTH"} if auth else set())
    _check_offered(parameters, offered, esmtp)
    if "AUTH" in parameters and parameters["AUTH"] != "<>":
        _xtext(parameters["AUTH"], _MAX_ORCPT)  # RFC 4954 §5: taken, and not believed: what counts is who logged in here
    size = None
    if "SIZE" in parameters:  # RFC 1870 §4: 1 to 20 digits
        text = parameters["SIZE"] or ""
        if not re.fullmatch(r"[0-9]{1,20}", text):
            raise Refusal(replies.BAD_PARAMETER)
        size = int(text)
        if size > size_limit:
            raise Refusal(replies.TOO_LARGE)
    body = parameters.get("BODY", "7BIT") or ""
    if body.upper() not in (Body.SEVEN_BIT, Body.EIGHT_BIT):
        raise Refusal(replies.BAD_PARAMETER)
    smtputf8 = "SMTPUTF8" in parameters
    if smtputf8 and parameters["SMTPUTF8"] is not None:
        raise Refusal(replies.BAD_PARAMETER)
    ret = parameters.get("RET")
    if "RET" in parameters and (ret or "").upper() not in ("FULL", "HDRS"):
        raise Refusal(replies.BAD_PARAMETER)
    envid = None
    if "ENVID" in parameters:
        envid = _xtext(parameters["ENVID"], _MAX_ENVID)
    if path is not None and not path.ascii and not smtputf8:
        raise Refusal(replies.NEEDS_SMTPUTF8)
    return Sender(path, size, Body(body.upper()), smtputf8, ret.upper() if ret else None, envid)


def recipient_of(mailbox: Mailbox, parameters: dict[str, str | None], *, dsn: bool, esmtp: bool, smtputf8: bool) -> Recipient:
    """Raises Refusal."""
    _check_offered(parameters, {"NOTIFY", "ORCPT"} if dsn else set(), esmtp)
    if not mailbox.ascii and not smtputf8:
        raise Refusal(replies.NEEDS_SMTPUTF8)
    notify: frozenset[str] = frozenset()
    if "NOTIFY" in parameters:
        words = [word.upper() for word in (parameters["NOTIFY"] or "").split(",")]
        notify = frozenset(words)
        # RFC 3461 §4.1: NEVER stands alone
        if len(notify) != len(words) or not (notify == {"NEVER"} or (notify and notify <= _NOTIFY)):
            raise Refusal(replies.BAD_PARAMETER)
    orcpt = None
    if "ORCPT" in parameters:
        kind, mark, address = (parameters["ORCPT"] or "").partition(";")
        if not mark or not _ORCPT_TYPE.fullmatch(kind):
            raise Refusal(replies.BAD_PARAMETER)
        orcpt = f"{kind.lower()};{_orcpt_address(kind, address, smtputf8)}"
    return Recipient(mailbox, notify, orcpt)


def _orcpt_address(kind: str, text: str, smtputf8: bool) -> str:
    """xtext; type utf-8 with SMTPUTF8 may stand as UTF-8 itself (RFC 6533 §3)."""
    if kind.lower() == "utf-8" and smtputf8 and not text.isascii():
        if len(text.encode()) > _MAX_ORCPT or not text.isprintable():
            raise Refusal(replies.BAD_PARAMETER)
        return text
    return _xtext(text, _MAX_ORCPT)


def _xtext(text: str | None, limit: int) -> str:
    if not text or len(text) > limit:
        raise Refusal(replies.BAD_PARAMETER)
    try:
        return decode_xtext(text)
    except SyntaxProblem:
        raise Refusal(replies.BAD_PARAMETER) from None


def _check_offered(parameters: dict[str, str | None], offered: set[str], esmtp: bool) -> None:
    """RFC 5321 §4.1.1.11: 555 for what is not recognised or not implemented; after HELO there are none at all."""
    if any(name not in offered or not esmtp for name in parameters):
        raise Refusal(replies.UNKNOWN_PARAMETER)
