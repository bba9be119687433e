"""The grammar of a dialogue file. Whatever is not of it is an error with file and line, so that a typo never passes as a promise kept.

    # A comment.
    side: inside                         settings of the listener and of the road behind it, one `key: value` a line; `side` is a must
    tls: starttls
                                         an empty line
    C: EHLO client.example               the client says a line; lines of the client in a row leave in one write
    C-: MAIL FR                          without CRLF at the end
    C*3: RCPT TO:<r{n}@example.nl>       three lines, {n} counts from 1
    S: 250-relay.example.nl              the server says exactly this line; `...` stands for any text
    S*3: 250 2.1.5 Recipient ok          three times
    TLS                                  the client makes its TLS handshake
    SILENCE 20                           the client says nothing for so many seconds
    SHUT                                 the client shuts down its sending side
    CLOSED                               the server says nothing more and closes
    I: message sender=jan@example.nl     the road took this message; any of FACTS as name=value, quoted as in a shell
    I: nothing                           the road took no message, until now

In lines of the client `\\r \\n \\t \\0 \\\\ \\xHH` are escapes and `{a*300}` is 300 times `a`. A file that does not end in CLOSED ends in a
QUIT, which must hear just its own reply. Every message that the road took must have its `I:` line.
"""

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from relay.model.client import Side
from relay.policy.models import LineEnds
from tests.fakes.intake import Taken


class TranscriptError(Exception):
    """`file:line: what is wrong with it`."""


class Kind(Enum):
    """What a step does."""

    SEND = "C"
    HEAR = "S"
    TLS = "TLS"
    SILENCE = "SILENCE"
    SHUT = "SHUT"
    CLOSED = "CLOSED"
    ROAD = "I"


@dataclass(frozen=True)
class Step:
    """`data` is what the client sends, `text` what it hears, `facts` what the road took (None: nothing), `seconds` how long nobody says a
    word."""

    line: int
    kind: Kind
    data: bytes = b""
    text: str = ""
    facts: dict[str, str] | None = None
    seconds: float = 0.0


@dataclass
class Transcript:
    """One dialogue file."""

    path: Path
    settings: dict[str, Any] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)


def _list(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _flag(text: str) -> bool:
    return {"yes": True, "no": False}[text]


def _one_of(*words: str) -> Callable[[str], str]:
    return lambda text: {word: word for word in words}[text]


def _pairs(text: str) -> dict[str, str]:
    words = text.split()
    return dict(zip(words[::2], words[1::2], strict=True))


SETTINGS: dict[str, Callable[[str], Any]] = {
    "side": Side,
    "protocol": _one_of("smtp", "lmtp"),
    "tls": _one_of("starttls", "implicit"),
    "require_tls": _flag,
    "auth": _flag,
    "proxy_from": _list,
    "xclient_from": _list,
    "xforward_from": _list,
    "connections": int,
    "connections_per_address": int,
    "connections_per_minute": int,
    "message_size": int,
    "recipients": int,
    "errors": int,
    "commands_without_mail": int,
    "command_timeout": float,
    "data_timeout": float,
    "session_timeout": float,
    # of the road
    "logins": _pairs,
    "unknown": _list,
    "answers": _pairs,
    "disk": _one_of("full", "gone"),
    "line_ends": LineEnds,
    "already_accepted": _flag,
    "bug_at": str,
}

FACTS: dict[str, Callable[[Taken], Any]] = {
    "sender": lambda taken: taken.sender,
    "recipients": lambda taken: " ".join(str(item) for item in taken.recipients),
    "text": lambda taken: escaped(taken.raw),
    "octets": lambda taken: len(taken.raw),
    "size": lambda taken: taken.sender.size,
    "body": lambda taken: taken.sender.body,
    "smtputf8": lambda taken: taken.sender.smtputf8,
    "ret": lambda taken: taken.sender.ret,
    "envid": lambda taken: taken.sender.envid,
    "notify": lambda taken: " ".join(",".join(sorted(item.notify)) or "-" for item in taken.recipients),
    "orcpt": lambda taken: " ".join(item.orcpt or "-" for item in taken.recipients),
    "address": lambda taken: taken.peer.address,
    "port": lambda taken: taken.peer.port,
    "local": lambda taken: f"{taken.peer.local_address} {taken.peer.local_port}",
    "proxy": lambda taken: taken.peer.proxy,
    "helo": lambda taken: taken.peer.helo,
    "login": lambda taken: taken.peer.login,
    "with": lambda taken: taken.peer.protocol,
    "forwarded": lambda taken: " ".join(f"{name}={value}" for name, value in sorted(taken.peer.forwarded.items())),
    "normalised": lambda taken: taken.normalised,
    "refused": lambda taken: taken.refused.code if taken.refused else None,
}

_ESCAPES = {"r": "\r", "n": "\n", "t": "\t", "0": "\0", "\\": "\\"}
_STEP = re.compile(r"(C|C-|S|I)(?:\*([1-9][0-9]{0,5}))?: ?(.*)", re.DOTALL)


def escaped(raw: bytes) -> str:
    """Bytes as the `text` fact shows them."""
    text = raw.decode("utf-8", "backslashreplace")
    return text.replace("\r", "\\r").replace("\n", "\\n").replace("\0", "\\0").replace("\t", "\\t")


def parse(path: Path) -> Transcript:
    """Raises TranscriptError."""
    transcript = Transcript(path)
    in_header = True
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        if line.startswith("#"):
            continue
        try:
            if not line.strip():
                in_header = in_header and not transcript.settings
            elif in_header:
                _setting(line, transcript.settings)
            else:
                transcript.steps += _steps(line, number)
        except (ValueError, LookupError) as error:
            raise TranscriptError(f"{path.name}:{number}: {line!r}: {error!r}") from None
    if "side" not in transcript.settings or not any(step.kind in (Kind.HEAR, Kind.CLOSED) for step in transcript.steps):
        raise TranscriptError(f"{path.name}:1: a dialogue has a side, and a server that speaks or closes")
    return transcript


def _setting(line: str, settings: dict[str, Any]) -> None:
    key, mark, value = line.partition(": ")
    if not mark or key in settings:
        raise ValueError("no setting, or one that came before")
    settings[key] = SETTINGS[key](value)


def _steps(line: str, number: int) -> list[Step]:
    if line in ("TLS", "SHUT", "CLOSED"):
        return [Step(number, Kind(line))]
    if line.startswith("SILENCE "):
        return [Step(number, Kind.SILENCE, seconds=float(line.removeprefix("SILENCE ")))]
    found = _STEP.fullmatch(line)
    if not found:
        raise ValueError("neither C:, S:, I:, TLS, SILENCE, SHUT nor CLOSED")
    who, times, text = found[1], int(found[2] or 1), found[3]
    if who == "I":
        return [Step(number, Kind.ROAD, facts=_facts(text))]
    if who == "S":
        if text != text.strip() and text != "334 ":
            raise ValueError("space at an end")
        return [Step(number, Kind.HEAR, text=text)] * times
    end = "" if who == "C-" else "\\r\\n"
    return [Step(number, Kind.SEND, data=_data(text + end, count)) for count in range(1, times + 1)]


def _facts(text: str) -> dict[str, str] | None:
    words = shlex.split(text)
    if words == ["nothing"]:
        return None
    if not words or words[0] != "message":
        raise ValueError("the road takes a message, or nothing")
    facts = dict(word.split("=", 1) for word in words[1:])
    if unknown := facts.keys() - FACTS.keys():
        raise LookupError(f"no such fact: {unknown}")
    return facts


def _data(text: str, count: int) -> bytes:
    def braces(found: re.Match[str]) -> str:
        if found[1] == "n":
            return str(count)
        piece, times = found[1].rsplit("*", 1)
        return piece * int(times)

    text = re.sub(r"\{([^{}]*)\}", braces, text)
    return re.sub(r"\\(?:x([0-9a-f]{2})|(.)|$)", _escape, text).encode("utf-8", "surrogateescape")


def _escape(found: re.Match[str]) -> str:
    if not found[1]:
        return _ESCAPES[found[2]]
    value = int(found[1], 16)
    return chr(value) if value < 0x80 else chr(0xDC00 + value)  # a byte that is no UTF-8 yet: encoded by surrogateescape
