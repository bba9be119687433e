"""A small body that is not sealed yet: it is in memory only, and is encrypted together with others of its moment."""

import uuid
from dataclasses import dataclass, field
from typing import Self

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from relay.model.message import Body
from relay.store.spool.format import TRAILER, seal_body, seal_manifest


@dataclass(frozen=True, slots=True)
class Held:
    """A body that is in memory only, and is to become durable."""

    identity: uuid.UUID
    key: bytes = field(repr=False)
    header: bytes = field(repr=False)
    octets: bytes = field(repr=False)
    manifest: bytes = field(repr=False)

    @classmethod
    def of(cls, body: Body, manifest: bytes) -> Self:
        """What a writer has finished (writer.py)."""
        assert isinstance(body.arriving, bytes)
        assert body.bytes is not None
        return cls(uuid.UUID(body.object), body.key, body.arriving, body.bytes, manifest)

    def sealed(self) -> bytes:
        """As it lies in a file (format.py)."""
        cipher, name = AESGCM(self.key), self.identity.hex
        manifest = seal_manifest(cipher, name, self.manifest)
        return b"".join([self.header, *seal_body(cipher, name, self.octets), manifest, TRAILER.pack(len(self.octets), len(manifest))])
