"""A client that keeps a log of its own in a file: what it sent, to whom, and what it heard. To that file the relay is held."""

import asyncio
import base64
import hashlib
import json
import re
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from tests.stories.dialogue import receipt, stuffed, talking
from tests.stories.house import SENDER, Reply, message

CUSTODY = 250
MARK = "X-Transaction"
SMALL, MEDIUM, LARGE = 600, 40_000, 420_000
"""Octets of a body: one chunk; one chunk that is nearly full; several chunks, and more than Sluis keeps in memory."""

Hook = Callable[[], Awaitable[None]]


@dataclass
class Transaction:
    """One message as the client sent it. `reply` is what it heard to the final dot; None: nothing, the connection was lost."""

    number: int
    sender: str
    recipients: tuple[str, ...]
    raw: bytes
    dot: bool = False
    reply: Reply | None = None
    entry: int = 0
    """Its place in the log, from 0: one that is sent again has the same number."""
    port: int = 0
    """The client's own, of the connection that it took."""

    @property
    def message_id(self) -> bytes:
        """The Message-ID field's value."""
        found = re.search(rb"^Message-ID: (\S+)\r$", self.raw, re.MULTILINE)
        assert found is not None
        return found[1]

    @property
    def digest(self) -> str:
        """SHA-256 of what was sent, dot-stuffing undone, in hex."""
        return hashlib.sha256(self.raw).hexdigest()

    @property
    def heard_250(self) -> bool:
        """From here on the relay answers for every recipient."""
        return self.reply is not None and self.reply.code == CUSTODY

    @property
    def id(self) -> uuid.UUID | None:
        """The message's, where a receipt was heard."""
        return self.reply.id if self.reply is not None and self.heard_250 else None


class Client:
    """`path` is its log, a line for each thing that was sent or heard; `log` is every transaction as the story knows it, in order."""

    def __init__(self, path: Path, rng: Random) -> None:
        self.log: list[Transaction] = []
        self.path = path
        self._rng = rng

    def compose(self, recipients: Sequence[str], size: int = SMALL, sender: str = SENDER) -> Transaction:
        """A message that is like no other, with lines that begin with dots; not sent yet."""
        number = len(self.log) + 1  # one that is sent again keeps its own
        body = "".join(self._line() for _ in range(max(size // 66, 1)))
        raw = message(
            f"Case {number}", body, **{"X_Transaction": f"{number}", "Message_ID": f"<{number}.{self._rng.getrandbits(64):x}@case>"}
        )
        transaction = Transaction(number, sender, tuple(recipients), raw, entry=len(self.log))
        self.log.append(transaction)
        return transaction

    def again(self, transaction: Transaction) -> Transaction:
        """The same envelope and bytes once more, as a transaction of its own; not sent yet."""
        repeated = replace(transaction, dot=False, reply=None, entry=len(self.log))
        self.log.append(repeated)
        return repeated

    def _line(self) -> str:
        return ("." if self._rng.random() < 0.1 else "") + f"{self._rng.getrandbits(250):063x}\r\n"

    async def send(self, port: int, transaction: Transaction, before_dot: Hook | None = None, after_dot: Hook | None = None) -> Transaction:
        """One session. `before_dot` is awaited when all but the final dot was written, `after_dot` when that was. Refusals and lost
        connections are no errors: they are in the log."""
        fields = {"number": transaction.number, "sender": transaction.sender, "recipients": transaction.recipients}
        self._say(transaction, "sends", **fields, raw=base64.b64encode(transaction.raw).decode())
        try:
            async with talking(port) as client:
                transaction.port = client.port
                replies = await client.envelope(transaction.recipients, transaction.sender)
                if refused := [reply for reply in replies if not reply.startswith("250 ")]:
                    transaction.reply = receipt(refused[0])
                    return transaction
                assert (await client.say("DATA")).startswith("354 ")
                await client.write(stuffed(transaction.raw))
                if before_dot is not None:
                    await before_dot()
                transaction.dot = True
                self._say(transaction, "dot")
                await client.write(b".\r\n")
                if after_dot is not None:
                    await after_dot()
                transaction.reply = receipt(await client.hear())
        except (ConnectionError, EOFError, asyncio.IncompleteReadError):
            transaction.reply = None
        finally:
            reply = transaction.reply
            self._say(transaction, "heard", reply=[reply.code, reply.text] if reply else None)
        return transaction

    def _say(self, transaction: Transaction, what: str, **fields: Any) -> None:
        with self.path.open("a") as log:
            log.write(json.dumps({"what": what, "entry": transaction.entry, **fields}) + "\n")


def read_log(path: Path) -> list[Transaction]:
    """What a client's file says that it sent and heard; one that was not sent is not in it."""
    found: dict[int, Transaction] = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        told = json.loads(line)
        entry = told["entry"]
        if told["what"] == "sends":
            raw = base64.b64decode(told["raw"])
            found[entry] = Transaction(told["number"], told["sender"], tuple(told["recipients"]), raw, entry=entry)
        elif told["what"] == "dot":
            found[entry].dot = True
        else:
            found[entry].reply = Reply(*told["reply"]) if told["reply"] else None
    return [found[entry] for entry in sorted(found)]
