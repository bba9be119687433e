"""High-water marks in the object store, beside the packs: `marks/NAME`."""

from relay.model.errors import SpoolUnavailable
from relay.settings.models import ObjectStore
from relay.store.spool.bucket import Bucket, Missing

FOLDER = "marks/"


class S3Marks:
    """Marks (relay/store/high_water.py). An object is replaced whole or stays as it was."""

    def __init__(self, settings: ObjectStore) -> None:
        self._bucket = Bucket(settings)

    def read(self) -> dict[str, bytes]:
        """All of them, by name. Raises OSError."""
        found: dict[str, bytes] = {}
        try:
            for name, _ in self._bucket.names(FOLDER):
                try:
                    found[name.removeprefix(FOLDER)] = self._bucket.get(name)[0]
                except Missing:
                    continue
        except SpoolUnavailable as error:
            raise OSError(str(error)) from None
        return found

    def write(self, name: str, data: bytes) -> None:
        """Raises OSError."""
        try:
            self._bucket.put(FOLDER + name, data)
        except SpoolUnavailable as error:
            raise OSError(str(error)) from None

    def remove(self, name: str) -> None:
        """Raises OSError."""
        try:
            self._bucket.delete([FOLDER + name])
        except SpoolUnavailable as error:
            raise OSError(str(error)) from None
