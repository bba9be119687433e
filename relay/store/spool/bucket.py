"""An S3 bucket with a prefix: the requests that the spool makes, with our errors. The one file that knows obstore.

Every request is tried again for as long as `deadline` allows (obstore's retries: 5xx, 429, lost connections), and then fails. Bodies of
requests are signed with their SHA-256, so that the store refuses what was altered on the way.
"""

import asyncio
import configparser
import os
import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import S3Store

from relay.model.errors import ConfigurationError, SpoolUnavailable, StoreError
from relay.model.ids import new_id
from relay.model.text import printable
from relay.settings.models import ObjectStore

if TYPE_CHECKING:  # these names are in its type stubs only
    from obstore.store import ClientConfig, S3Config

CONNECT_SECONDS = 5.0
PART = 5 * 1024 * 1024  # the smallest that S3 allows for a part of a multipart upload
LISTED = 1000  # as many as S3 gives at once
_ENVIRONMENT = (
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
_STATUS = re.compile(r"status code: (\d{3}[A-Za-z ]*)")
_CODE = re.compile(r"<Code>(\w{1,60})</Code>")
_CAUSE = re.compile(r'message: "([^"]{1,200})"|InvalidCertificate\(\s*(\w+)')


class Missing(SpoolUnavailable):
    """There is no object of that name."""


class Changed(SpoolUnavailable):
    """The object is not the one that was read before: somebody else has written it meanwhile."""


class Bucket:
    """Names are relative to the prefix. Methods that are not async wait for the network. All raise SpoolUnavailable."""

    def __init__(self, settings: ObjectStore) -> None:
        """Opens no connection. Raises ConfigurationError."""
        self._deadline = settings.deadline
        self.where = settings.url
        config: S3Config = {
            "bucket": settings.bucket,
            "region": settings.region,
            "virtual_hosted_style_request": not settings.path_style,
            "conditional_put": "etag",
            "skip_signature": False,
            "unsigned_payload": False,
        }
        if settings.endpoint is not None:
            config["endpoint"] = settings.endpoint.rstrip("/")
        config.update(_credentials(settings))
        client: ClientConfig = {
            "allow_http": (settings.endpoint or "").startswith("http://"),
            "allow_invalid_certificates": False,
            "connect_timeout": timedelta(seconds=min(CONNECT_SECONDS, settings.deadline)),
            "timeout": timedelta(seconds=settings.deadline),
        }
        if settings.ca_file is not None:
            client["root_certificate"] = _ca(settings)
        self._store = S3Store(
            prefix=settings.prefix or None,
            config=config,
            client_options=client,
            retry_config={
                "max_retries": 10,
                "retry_timeout": timedelta(seconds=settings.deadline),
                "backoff": {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=2), "base": 2},
            },
        )

    async def put_soon(self, name: str, data: bytes) -> None:
        """Durable when it returns; what failed may be there all the same."""
        try:
            async with asyncio.timeout(self._deadline):
                await obstore.put_async(self._store, name, data, use_multipart=False)
        except TimeoutError:
            raise SpoolUnavailable(f"{self.where}/{name}: no answer within {self._deadline:g} s") from None
        except (BaseError, OSError) as error:
            raise self._ours(error, name) from None

    def put(self, name: str, data: bytes) -> None:
        """Durable when it returns."""
        self._put(name, data, None)

    def replace(self, name: str, data: bytes, expected: str) -> None:
        """`expected` is the tag that the object must have now. Raises Changed.

        A tag stands in quotes (RFC 9110 §8.8.3), and Ceph before 17 compares it without: where it says no to the tag that the object
        has, it is asked again in its own way."""
        try:
            self._put(name, data, expected)
        except Changed:
            if self._tag(name) != expected:
                raise
            self._put(name, data, expected.strip('"'))

    def _put(self, name: str, data: bytes, expected: str | None) -> None:
        mode: Any = {"e_tag": expected} if expected is not None else None
        try:
            obstore.put(self._store, name, data, use_multipart=False, mode=mode)
        except (BaseError, OSError) as error:
            raise self._ours(error, name) from None

    def _tag(self, name: str) -> str:
        try:
            return obstore.head(self._store, name)["e_tag"] or ""
        except (BaseError, OSError) as error:
            raise self._ours(error, name) from None

    def put_pieces(self, name: str, pieces: Iterator[bytes]) -> None:
        """A large object: no more than two parts of it are in memory. An upload that fails is ended, and leaves no object."""
        try:
            obstore.put(self._store, name, pieces, use_multipart=True, chunk_size=PART, max_concurrency=2)
        except (BaseError, OSError) as error:
            raise self._ours(error, name) from None

    def get(self, name: str) -> tuple[bytes, str]:
        """All of it, and its tag. Raises Missing."""
        try:
            found = obstore.get(self._store, name)
            return bytes(found.bytes()), found.meta["e_tag"] or ""
        except (BaseError, OSError) as error:
            raise self._ours(error, name) from None

    def get_range(self, name: str, start: int, length: int) -> bytes:
        """Fewer octets where the object ends before. Raises Missing."""
        try:
            return bytes(obstore.get_range(self._store, name, start=start, length=length))
        except (BaseError, OSError) as error:
            raise self._ours(error, name) from None

    def size(self, name: str) -> int:
        """In octets. Raises Missing."""
        try:
            return int(obstore.head(self._store, name)["size"])
        except (BaseError, OSError) as error:
            raise self._ours(error, name) from None

    def delete(self, names: Sequence[str]) -> None:
        """What is gone already is no error."""
        if not names:
            return
        try:
            obstore.delete(self._store, list(names))
        except (BaseError, OSError) as error:
            raise self._ours(error, names[0]) from None

    def names(self, prefix: str, after: str = "") -> Iterator[tuple[str, float]]:
        """Each with the time of its last change by the store's clock, in seconds since 1970. In the order of the names, from behind
        `after`; read page by page."""
        try:
            for page in obstore.list(self._store, prefix, offset=after or None, chunk_size=LISTED):
                yield from ((found["path"], found["last_modified"].timestamp()) for found in page)
        except (BaseError, OSError) as error:
            raise self._ours(error, prefix) from None

    def check(self) -> None:
        """Writes an object, reads it, lists it and removes it. Raises StoreError: what can't be done, or not as safely as we need it."""
        name = f"check/{new_id().hex}"
        try:
            made = obstore.put(self._store, name, b"sluis", use_multipart=False)
            if made["version"] is not None:
                raise StoreError(f"{self.where}: the bucket keeps old versions, so that nothing could be erased; switch that off")
            data, tag = self.get(name)
            if data != b"sluis" or name not in dict(self.names("check/", after=name[:-1])):
                raise StoreError(f"{self.where}: what was written is not what is read or listed")
            self.replace(name, b"sluis", tag)
            try:
                self.replace(name, b"sluis", '"0"')
            except Changed:
                pass
            else:
                raise StoreError(f"{self.where}: this store ignores If-Match, so that keys of bodies could not be changed safely")
            self.delete([name])
        except SpoolUnavailable as error:
            raise StoreError(f"bodies can't be kept in {error}") from None
        except (BaseError, OSError) as error:
            raise StoreError(f"bodies can't be kept in {self._ours(error, name)}") from None

    def _ours(self, error: Exception, name: str) -> SpoolUnavailable:
        """Status and code of S3; never its whole answer, in which a key id or what was signed may stand."""
        text = str(error)
        if isinstance(error, AlreadyExistsError | PreconditionError):
            return Changed(f"{self.where}/{name}: somebody else has changed it")
        status, code = _STATUS.search(text), _CODE.search(text)
        if isinstance(error, FileNotFoundError) and (code is None or code.group(1) != "NoSuchBucket"):
            return Missing(f"{self.where}/{name}: no such object")
        said = " ".join(found.group(1).strip() for found in (status, code) if found)
        if not said:
            causes = [next(part for part in found.groups() if part) for found in _CAUSE.finditer(text)]
            said = causes[-1] if causes else text.partition("\n")[0].rpartition(" - ")[2]
        return SpoolUnavailable(f"{self.where}/{name}: {printable(said, 200)}")


def _credentials(settings: ObjectStore) -> "S3Config":
    """From the file, or nothing where the environment has them (obstore reads it). Without either obstore would ask the network."""
    path = settings.credentials
    if path is None:
        if not any(os.environ.get(name) for name in _ENVIRONMENT):
            raise ConfigurationError(
                [f"spool.s3: no credentials: set `credentials`, or {' or '.join(_ENVIRONMENT[:2])} in the environment"]
            )
        return {}
    try:
        if path.stat().st_mode & 0o007:
            raise ConfigurationError([f"{path}:1: others may read these credentials (chmod 640)"])
        parser = configparser.ConfigParser(interpolation=None)
        parser.read_string(path.read_text(encoding="utf-8"))
        found = parser["default"]
        config: S3Config = {"access_key_id": found["aws_access_key_id"], "secret_access_key": found["aws_secret_access_key"]}
        if "aws_session_token" in found:
            config["session_token"] = found["aws_session_token"]
    except OSError as error:
        raise ConfigurationError([f"{path}:1: {error.strerror}"]) from None
    except (configparser.Error, KeyError, ValueError):  # never what stands in it
        raise ConfigurationError([f"{path}:1: no [default] with aws_access_key_id and aws_secret_access_key"]) from None
    return config


def _ca(settings: ObjectStore) -> bytes:
    assert settings.ca_file is not None
    try:
        return settings.ca_file.read_bytes()
    except OSError as error:
        raise ConfigurationError([f"{settings.ca_file}:1: {error.strerror}"]) from None
