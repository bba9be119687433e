"""What the rest of the house knows of a spool, whichever kind it is: a folder (folder.py), or an S3-compatible object store (s3.py).

Both keep the same octets (format.py): header with the key slots, encrypted body, encrypted manifest. They differ in where these lie.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

from relay.model.message import Body
from relay.model.ports import BodyReader, BodyWriter
from relay.store.spool.keys import SpoolKeys


@dataclass(frozen=True, slots=True)
class LocalObject:
    """An object, sealed or not yet, as a file of this machine, still encrypted. `name` is what its tags are bound to; `key` opens it."""

    path: Path
    name: str
    key: bytes = field(repr=False)


class Spool(Protocol):
    """Bodies by name. Methods that are not async may wait for a disk or the network: on the event loop they are called in a thread.

    Everywhere: SpoolError says that an object is altered, cut short or erased; SpoolUnavailable that it can't be had now."""

    keys: SpoolKeys

    def check(self) -> None:
        """Whether bodies can be kept there now, and as safely as is needed. Raises StoreError."""
        ...

    def read_keys(self) -> SpoolKeys:
        """The key files as they are now. Raises ConfigurationError."""
        ...

    def create(self, identity: UUID) -> BodyWriter:
        """A writer for a new body. What it finishes is not durable, and has a name that only this process knows."""
        ...

    async def seal(self, body: Body, manifest: dict[str, Any]) -> str:
        """Adds the encrypted manifest and makes the object durable. Gives the name by which everybody finds it from now on. Raises
        Refusal where there is no room, or the place is away for now; SpoolFatal where the disk did not sync."""
        ...

    def local(self, body: Body) -> AbstractAsyncContextManager[LocalObject]:
        """The object as a local file while it is needed, for a process that may open nothing. Without `body.key` it needs the private
        key. Raises SpoolError, SpoolUnavailable."""
        ...

    async def fetch(self, name: str, key: bytes | None = None) -> Callable[[], BodyReader]:
        """Finds an object and what opens it; the result may be called several times, and waits for nobody. Needs the private key, unless
        that of the body is given."""
        ...

    def open(self, name: str) -> BodyReader:
        """Needs the private key."""
        ...

    def manifest(self, name: str) -> dict[str, Any]:
        """The manifest that was sealed with the body. Needs the private key."""
        ...

    def sealed(self, name: str) -> bool:
        """Whether the body was made durable: a crash before that may leave one whose message never heard 250. Needs no key. Raises
        SpoolUnavailable; SpoolError where a crash can't have left it so."""
        ...

    def discard(self, *names: str) -> None:
        """Wipes the keys, so that the bodies are gone whatever a disk keeps, and removes what nobody needs any more. What is gone already
        is no error."""
        ...

    def drop(self, body: Body) -> None:
        """The same for a body that is not sealed, and never will be."""
        ...

    def rewrap(self, failed: Callable[[str, Exception], None]) -> int:
        """Wraps every body key to the present public key; no body is touched. Gives how many; `failed` hears of each that is left."""
        ...

    def names(self, failed: Callable[[str, Exception], None] | None = None) -> Iterator[str]:
        """Every body, older ones first. What is added or removed meanwhile may be left out, or named though it is gone. `failed` hears of
        each pack whose bodies nobody can name, because it is damaged; without it that is logged."""
        ...

    def sweep(self, known: Callable[[Iterable[str]], set[str]], older_than_seconds: float) -> int:
        """Removes bodies without a row that are older than the longest session, so that no live process is still at them. `known` gives
        those of the names (at most some hundreds at once) that have a row. Gives how many were removed."""
        ...

    def full(self) -> bool:
        """Whether RCPT should hear 452."""
        ...

    def free_bytes(self) -> int:
        """What is left on the local disk."""
        ...

    def close(self) -> None: ...


def identity_of(name: str) -> UUID:
    """The id of the message that a body belongs to. Raises ValueError for a name that is not ours."""
    return UUID(name.rpartition("/")[2])
