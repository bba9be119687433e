"""The spool's format: any bytes in any pieces come back whole, and any change to the object is refused."""

import hashlib
import io
import uuid
from functools import cache
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from relay.model.errors import SpoolError
from relay.sign.body_hash import RelaxedBodyHash
from relay.store.spool.format import CHUNK, TRAILER, read_body, read_manifest, seal_manifest
from relay.store.spool.keys import SpoolKeys, key_id, newest_slot
from relay.store.spool.writer import SpoolWriter

NAME = uuid.UUID(int=7).hex
MANIFEST = b'{"commitment": "ab"}'


@cache
def keys() -> SpoolKeys:
    private = X25519PrivateKey.generate()
    public = private.public_key().public_bytes_raw()
    return SpoolKeys(public, {key_id(public): private})


def sealed_object(pieces: list[bytes], folder: Path) -> bytes:
    """The bytes of an object, made as the relay makes it."""
    path = folder / NAME[:6] / NAME
    path.unlink(missing_ok=True)
    writer = SpoolWriter(NAME, path, keys(), RelaxedBodyHash(), memory_body=0)
    for piece in pieces:
        writer.write(piece)
    body = writer.finish(normalised=False)
    content = b"".join(pieces)
    assert (body.size, body.digest) == (len(content), hashlib.sha256(content).hexdigest())
    manifest = seal_manifest(AESGCM(body.key), NAME, MANIFEST)
    return path.read_bytes() + manifest + TRAILER.pack(body.size, len(manifest))


def opened(data: bytes) -> tuple[bytes, bytes]:
    """Body and manifest. Raises SpoolError."""
    key = keys().unwrap(newest_slot(data[:512], NAME)[1], NAME)
    file = io.BytesIO(data)
    return b"".join(read_body(file, NAME, key)), read_manifest(file, NAME, key)


def piece_lists() -> st.SearchStrategy[list[bytes]]:
    """Sizes around the chunk border, cheap to make: what the bytes are does not matter to a cipher."""
    near = st.integers(0, 40) | st.integers(CHUNK - 40, CHUNK + 40) | st.integers(0, 3 * CHUNK)
    return st.lists(st.builds(lambda size, octet: bytes([octet]) * size, near, st.integers(0, 255)), max_size=5)


@given(pieces=piece_lists())
def test_whole_equals_piece_by_piece(pieces: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = _folder(tmp_path_factory)
    assert opened(sealed_object(pieces, folder)) == (b"".join(pieces), MANIFEST)


@given(pieces=piece_lists(), data=st.data())
def test_any_change_of_any_octet_after_the_header_is_refused(
    pieces: list[bytes], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    stored = bytearray(sealed_object(pieces, _folder(tmp_path_factory)))
    position = data.draw(st.integers(512, len(stored) - 1))
    stored[position] ^= data.draw(st.integers(1, 255))
    assert _refused(bytes(stored))


@given(pieces=piece_lists(), data=st.data())
def test_any_cut_is_refused(pieces: list[bytes], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    stored = sealed_object(pieces, _folder(tmp_path_factory))
    assert _refused(stored[: data.draw(st.integers(0, len(stored) - 1))])


@given(junk=st.binary(max_size=2000))
def test_bytes_from_anywhere_are_refused_with_an_error_of_ours(junk: bytes) -> None:
    assert _refused(junk)
    assert _refused(b"sluis-spool\x00\x00\x00\x00\x01" + junk)


def _refused(data: bytes) -> bool:
    try:
        opened(data)
    except SpoolError:
        return True
    return False


def _folder(factory: pytest.TempPathFactory) -> Path:
    folder = factory.getbasetemp() / "spool-property"
    (folder / NAME[:6]).mkdir(parents=True, exist_ok=True)
    return folder
