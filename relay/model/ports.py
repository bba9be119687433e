"""What the core needs of the world, as Protocols; the composition root joins them to real ones."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from relay.model.authentication import Authentication
from relay.model.message import Body, Inspected


class Clock(Protocol):
    """Wall time for the record, in microseconds since 1970 UTC."""

    def now_us(self) -> int: ...


class SystemClock:
    """The clock of this machine."""

    def now_us(self) -> int:
        return time.time_ns() // 1000


@dataclass(frozen=True, slots=True)
class MailExchanger:
    """One MX record (RFC 5321 §5.1)."""

    preference: int
    host: str


class ResolverTemporaryError(Exception):
    """DNS did not answer, or answered SERVFAIL: an unknown that may pass."""


class Resolver(Protocol):
    """DNS. Names are A-labels without final dot. An empty sequence means: the name does not exist, or has no such records."""

    async def mx(self, domain: str) -> Sequence[MailExchanger]:
        """All MX records, unsorted. Raises ResolverTemporaryError."""
        ...

    async def addresses(self, host: str) -> Sequence[str]:
        """A and AAAA, in the order of preference. Raises ResolverTemporaryError."""
        ...

    async def txt(self, name: str) -> Sequence[bytes]:
        """TXT records, strings joined. Raises ResolverTemporaryError."""
        ...


class AuthenticationDns(Protocol):
    """What SPF, DKIM and DMARC ask of DNS. Names are A-labels without final dot. An empty sequence means: the name does not exist, or
    has no such records. All raise ResolverTemporaryError."""

    async def txt(self, name: str) -> Sequence[bytes]:
        """TXT records, strings joined."""
        ...

    async def mx(self, domain: str) -> Sequence[MailExchanger]:
        """All MX records, unsorted."""
        ...

    async def addresses_of(self, host: str, version: int) -> Sequence[str]:
        """A records for 4, AAAA records for 6."""
        ...

    async def pointers(self, address: str) -> Sequence[str]:
        """The names that an IPv4 or IPv6 address points to."""
        ...


class Authenticator(Protocol):
    """Whether mail from outside is by whom it says."""

    async def authenticate(self, inspected: Inspected, already_accepted: bool) -> Authentication:
        """Ends soon, whatever DNS does. `already_accepted`: a server of ours took it over before us, so that the address that we see is not
        the sender's."""
        ...


@dataclass(frozen=True, slots=True)
class FirstTimes:
    """`recipients` are the keys of those to whom nothing of this sender was delivered before; `today` counts such recipients of this sender
    on this day, these among them. None is not known."""

    recipients: tuple[str, ...] | None = None
    today: int | None = None


class Correspondence(Protocol):
    """Who wrote to whom before."""

    async def first_times(self, sender: str, recipients: Sequence[str], zone: str, now_us: int, count: bool) -> FirstTimes:
        """For address keys; `zone` is where the day begins. Counts those that it gives. Without `count` the number may be None where there
        are none."""
        ...


class BodyHash(Protocol):
    """A DKIM body hash fed while the bytes stream by."""

    def update(self, chunk: bytes) -> None: ...

    def base64(self) -> str:
        """The hash of what was fed, as in `bh=`; called once, at the end."""
        ...


class BodyWriter(Protocol):
    """One message on its way into the spool. Bytes are what will be sent on: dot-unstuffed, CRLF only. Not yet durable: record seals it.
    OSError from `write` or `finish` means that the disk refused: the caller answers 452 and discards."""

    def write(self, chunk: bytes) -> None: ...

    def finish(self, normalised: bool) -> Body: ...

    def discard(self) -> None:
        """Removes what was written; may be called at any time, and twice."""
        ...


class Hearing(Protocol):
    """The client of a message, who waits for its reply."""

    def left(self) -> bool:
        """Whether it has closed its connection, or at least its side of it. May be called by any thread."""
        ...

    async def hears(self, code: int) -> bool:
        """Whether one that `left` can hear a reply all the same, which will have this code. From then on no other one can be said."""
        ...


class BodyReader(Protocol):
    """An opened spool object. No byte is given out before its chunk's tag is checked; raises SpoolError."""

    size: int

    def chunks(self, start: int = 0) -> Iterator[bytes]:
        """The bytes from offset `start`, in pieces of at most 64 KiB; a short or altered object raises SpoolError at the place."""
        ...

    def close(self) -> None: ...
