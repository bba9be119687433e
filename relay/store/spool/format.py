"""The bytes of a spool object.

    0     magic and version (16 octets)
    16    two key slots of 136 octets: generation, key id, ephemeral X25519 key, wrapped body key, check (docs/record.md)
    288   zeros up to 512
    512   the body: chunks of 64 KiB, AES-256-GCM, each followed by its 16-octet tag; the last one is shorter, or empty, and says so
          the manifest: JSON, AES-256-GCM in a nonce domain of its own
          trailer (16 octets): body size, manifest size

The nonce is domain (1 octet), counter (10 octets), last flag (1 octet): the STREAM construction (Hoang, Reyhanitabar, Rogaway and Vizar
2015), as age uses it. Associated data is the object's name, so that two objects can't be swapped.
"""

import os
import struct
from collections.abc import Iterator
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from relay.model.errors import SpoolError

MAGIC = b"sluis-spool\x00\x00\x00\x00\x01"
SLOT_SIZE = 136
SLOTS = (16, 16 + SLOT_SIZE)
BODY_START = 512
CHUNK = 64 * 1024
TAG = 16
AT_ONCE = 8
"""Chunks that are read at once where a body is read on: each read and each hash is a turn of threads, and 512 KB are no burden."""
TRAILER = struct.Struct(">QQ")
_BODY = 0
_MANIFEST = 1


def nonce(domain: int, counter: int, last: bool) -> bytes:
    """12 octets; a body key is used for one object only, so that a counter is enough."""
    return bytes([domain]) + counter.to_bytes(10, "big") + bytes([last])


def seal_chunk(cipher: AESGCM, name: str, counter: int, chunk: bytes, last: bool) -> bytes:
    """One chunk with its tag."""
    return cipher.encrypt(nonce(_BODY, counter, last), chunk, name.encode())


def seal_chunks(cipher: AESGCM, name: str, counter: int, chunks: memoryview) -> bytearray:
    """Full chunks, none of them the last, each with its tag."""
    count = len(chunks) // CHUNK
    sealed = bytearray(count * (CHUNK + TAG))
    data = name.encode()
    with memoryview(sealed) as room:
        for index in range(count):
            target = room[index * (CHUNK + TAG) : (index + 1) * (CHUNK + TAG)]
            cipher.encrypt_into(nonce(_BODY, counter + index, False), chunks[index * CHUNK : (index + 1) * CHUNK], data, target)
    return sealed


def seal_body(cipher: AESGCM, name: str, body: bytes) -> list[bytes | bytearray]:
    """All chunks of a body that is in memory, each with its tag."""
    full = len(body) // CHUNK
    with memoryview(body) as whole:
        sealed = seal_chunks(cipher, name, 0, whole[: full * CHUNK])
    return [sealed, seal_chunk(cipher, name, full, body[full * CHUNK :], True)]


def seal_manifest(cipher: AESGCM, name: str, manifest: bytes) -> bytes:
    """The manifest with its tag."""
    return cipher.encrypt(nonce(_MANIFEST, 0, True), manifest, name.encode())


def body_length(size: int) -> int:
    """Octets that a body of `size` takes in the object. A whole number of chunks is followed by an empty last one."""
    return size + (size // CHUNK + 1) * TAG


def read_body(file: BinaryIO, name: str, key: bytes, start: int = 0, size: int | None = None) -> Iterator[bytes]:
    """The body from offset `start` on, some chunks at a time, each checked before it is given out. Raises SpoolError where the object is
    altered, cut short, or longer than its last chunk allows. An object that is not sealed yet has no trailer: its `size` is then given, and
    the last chunk's flag proves it as well."""
    cipher = AESGCM(key)
    if size is None:
        size = read_size(file, name)
    counter, skip = divmod(start, CHUNK)
    file.seek(BODY_START + counter * (CHUNK + TAG))
    end = size // CHUNK + 1
    at_once = 1  # whoever wants the header only reads no more
    while counter < end:
        chunks = range(counter, min(counter + at_once, end))
        piece = _opened(cipher, name, chunks, size, file)
        if skip:
            piece, skip = piece[skip:], 0
        if piece:
            yield piece
        counter, at_once = chunks.stop, min(2 * at_once, AT_ONCE)


def _opened(cipher: AESGCM, name: str, chunks: range, size: int, file: BinaryIO) -> bytes:
    """These chunks of a body of `size` octets, read from where the file stands. Raises SpoolError."""
    plain = bytearray(min(len(chunks) * CHUNK, size - chunks.start * CHUNK))
    room, sealed = memoryview(plain), memoryview(file.read(len(plain) + len(chunks) * TAG))
    for index, counter in enumerate(chunks):
        place = room[index * CHUNK : (index + 1) * CHUNK]  # of the last chunk less, or nothing
        start = index * (CHUNK + TAG)
        try:
            cipher.decrypt_into(
                nonce(_BODY, counter, counter == size // CHUNK), sealed[start : start + len(place) + TAG], name.encode(), place
            )
        except (InvalidTag, ValueError):  # ValueError: shorter than its place
            raise SpoolError(f"spool object {name}: chunk {counter} is altered or cut short") from None
    return bytes(plain)


def read_size(file: BinaryIO, name: str) -> int:
    """The size of the body, from the trailer, checked against the length of the file; the last chunk's flag proves it."""
    end = file.seek(0, os.SEEK_END)
    if end < BODY_START + TAG + TRAILER.size:
        raise SpoolError(f"spool object {name}: cut short")
    file.seek(end - TRAILER.size)
    size, manifest = TRAILER.unpack(file.read(TRAILER.size))
    if size > end or manifest > end or BODY_START + body_length(size) + manifest + TRAILER.size != end:
        raise SpoolError(f"spool object {name}: its length does not fit its trailer")
    return int(size)


def read_manifest(file: BinaryIO, name: str, key: bytes) -> bytes:
    """The manifest (JSON). Raises SpoolError."""
    size = read_size(file, name)
    end = file.seek(0, os.SEEK_END)
    file.seek(BODY_START + body_length(size))
    sealed = file.read(end - TRAILER.size - file.tell())
    if not sealed:
        return b"{}"
    try:
        return AESGCM(key).decrypt(nonce(_MANIFEST, 0, True), sealed, name.encode())
    except InvalidTag:
        raise SpoolError(f"spool object {name}: its manifest is altered") from None
