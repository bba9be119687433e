"""An object store, as `sluis store migrate`, `backup` and `restore` see it: no key is needed, and what is put there gets a pack of its
own."""

import contextlib
import hashlib
import io
from pathlib import Path
from typing import BinaryIO, cast

from relay.model.errors import SpoolError
from relay.settings.models import Spool
from relay.store.object_copy import Sealed, copy_from
from relay.store.spool import pack
from relay.store.spool.bucket import PART, Bucket, Missing
from relay.store.spool.format import BODY_START, read_size
from relay.store.spool.indexes import Erased, Indexes
from relay.store.spool.keys import newest_slot
from relay.store.spool.object_file import PIECE, ObjectFile
from relay.store.spool.pack import BODY, FOLDER, KEYS, Entry


class S3Bodies:
    """Bodies of a bucket (relay/store/bodies.py)."""

    def __init__(self, settings: Spool) -> None:
        assert settings.s3 is not None
        self._bucket = Bucket(settings.s3)
        self._indexes = Indexes(self._bucket)

    def look(self, name: str) -> Sealed | None:
        """Reads it from end to end."""
        try:
            file = self._file(name)
            body_size = read_size(cast(BinaryIO, file), pack.split(name)[1].hex)
            file.seek(BODY_START)
            digest, size = hashlib.sha256(), BODY_START
            while piece := file.read(PIECE):
                digest.update(piece)
                size += len(piece)
        except (Missing, Erased):
            return None
        return Sealed(size, body_size, digest.hexdigest())

    def put(self, name: str, source: BinaryIO) -> None:
        """Under the same name."""
        pack_id, identity = pack.split(name)
        slot = newest_slot(source.read(BODY_START), name)[1]
        length = source.seek(0, io.SEEK_END) - BODY_START
        read_size(source, name)
        source.seek(BODY_START)
        path = f"{FOLDER}{pack_id}{BODY}"
        if length <= PART:
            self._bucket.put(path, source.read())
        else:
            self._bucket.put_pieces(path, iter(lambda: source.read(PIECE), b""))
        self._bucket.put(f"{FOLDER}{pack_id}{KEYS}", pack.encode([Entry(identity, 0, length, slot)]))

    def fetch(self, name: str, target: Path) -> Sealed:
        """Octets as they lie in a folder: the header with its key slot, then the body."""
        try:
            return copy_from(cast(BinaryIO, self._file(name)), name, target)
        except Missing as error:
            raise SpoolError(str(error)) from None

    def same(self, name: str, copy: Path) -> bool:
        """One request."""
        try:
            entry = self._indexes.entry(*pack.split(name))
        except Missing as error:
            raise SpoolError(str(error)) from None
        with contextlib.suppress(FileNotFoundError), copy.open("rb") as file:
            return copy.stat().st_size == BODY_START + entry.length and file.read(BODY_START) == entry.header
        return False

    def _file(self, name: str) -> ObjectFile:
        pack_id, identity = pack.split(name)
        entry = self._indexes.entry(pack_id, identity)
        path = f"{FOLDER}{pack_id}{BODY}"
        return ObjectFile(entry.header, entry.length, lambda start, size: self._bucket.get_range(path, entry.offset + start, size))
