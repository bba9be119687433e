"""A spool in an object store, with its keys, and what the bucket says beside it."""

import asyncio
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import obstore

from relay.model.ids import new_id
from relay.model.message import Body
from relay.settings.models import ObjectStore
from relay.settings.models import Spool as SpoolSettings
from relay.sign.body_hash import RelaxedBodyHash
from relay.store.spool.keys import load_keys, new_keypair
from relay.store.spool.open import open_spool
from relay.store.spool.ports import Spool
from tests.servers.s3 import Ceph


class ObjectPlace:
    """`spool` reads and writes; `intake` holds the public key only. `prefix` is where the bucket's names begin."""

    def __init__(self, ceph: Ceph, bucket: ObjectStore, folder: Path, **changes: Any) -> None:
        self.folder = folder / "spool"
        self.settings = SpoolSettings(
            folder=self.folder, public_key=folder / "spool.pub", private_keys=folder / "private", s3=bucket, **{"reserve": 1, **changes}
        )
        self.rotate()
        self.prefix = f"{bucket.prefix}/"
        self.client = ceph.client(bucket.bucket)
        self.spool = open_spool(self.settings, RelaxedBodyHash)
        self.intake = open_spool(self.settings.model_copy(update={"private_keys": None}), RelaxedBodyHash)

    def rotate(self) -> bytes:
        """A new key pair. A spool that is open goes on with it."""
        identity = new_keypair(self.settings.public_key, self.settings.private_keys or Path())
        if hasattr(self, "spool"):
            self.spool.keys = load_keys(self.settings.public_key, self.settings.private_keys)
        return identity

    def arrive(self, content: bytes, piece: int = 10_007) -> Body:
        """Written, and not sealed."""
        writer = self.intake.create(new_id())
        for start in range(0, len(content), piece):
            writer.write(content[start : start + piece])
        return writer.finish(normalised=False)

    def seal(self, *bodies: Body) -> list[str]:
        """All at once; gives their names."""

        async def together() -> list[str]:
            return await asyncio.gather(*(self.intake.seal(body, {"commitment": body.object}) for body in bodies))

        return asyncio.run(together())

    def keep(self, *contents: bytes) -> list[str]:
        """Written and sealed, all at once."""
        return self.seal(*(self.arrive(content) for content in contents))

    def read(self, name: str, start: int = 0) -> bytes:
        """All of a body from `start` on."""
        with closing(self.spool.open(name)) as reader:
            return b"".join(reader.chunks(start))

    def objects(self) -> dict[str, int]:
        """What lies in the bucket behind the prefix, with sizes."""
        found = {item["path"].removeprefix(self.prefix): item["size"] for page in obstore.list(self.client, self.prefix) for item in page}
        return {name: found[name] for name in sorted(found)}

    def get(self, name: str) -> bytes:
        """An object as it is."""
        return bytes(obstore.get(self.client, self.prefix + name).bytes())

    def put(self, name: str, data: bytes) -> None:
        """Replaces an object."""
        obstore.put(self.client, self.prefix + name, data)

    def close(self) -> None:
        self.spool.close()
        self.intake.close()


@contextmanager
def object_place(ceph: Ceph, folder: Path, **changes: Any) -> Iterator[ObjectPlace]:
    """In a bucket of its own."""
    place = ObjectPlace(ceph, ceph.new_bucket(folder), folder, **changes)
    try:
        yield place
    finally:
        place.close()


def kept_in(spool: Spool, name: str) -> bytes:
    """A body, by any spool."""
    with closing(spool.open(name)) as reader:
        return b"".join(reader.chunks())
