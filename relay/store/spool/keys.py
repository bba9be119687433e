"""The spool's X25519 key pairs, and the slot of an object that holds its body key wrapped to one of them."""

import contextlib
import hashlib
import os
import struct
import time
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from relay.model.errors import ConfigurationError, SpoolError, SpoolUnavailable
from relay.settings.ownership import give, make_folder
from relay.store.spool.format import SLOT_SIZE, SLOTS

KEY_ID_SIZE = 8
NONCE_SIZE = 12
WRAPPING_SECONDS = 1.0  # how long one ephemeral key wraps body keys
WRAPPING_USES = 1000  # far below where 96 bits of a digest could collide (NIST SP 800-38D §8.3: 2^32)
_INFO = b"sluis spool body key v2"
# generation, key id, ephemeral public key, wrapped key with tag, check
_SLOT = struct.Struct(">I8s32s48s")
_CHECK = 32


def key_id(public: bytes) -> bytes:
    """The first 8 octets of the SHA-256 of the raw public key."""
    return hashlib.sha256(public).digest()[:KEY_ID_SIZE]


class _Wrapping:
    """A key that wraps body keys for a moment. Whoever could read it out of our memory sees those messages pass anyway; making one for each
    took 5 % of the time of a small message."""

    __slots__ = ("cipher", "ephemeral_public", "until", "uses")

    def __init__(self, public: bytes) -> None:
        ephemeral = X25519PrivateKey.generate()
        self.ephemeral_public = ephemeral.public_key().public_bytes_raw()
        shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(public))
        self.cipher = AESGCM(_derive(shared, self.ephemeral_public, public))
        self.until = time.monotonic() + WRAPPING_SECONDS
        self.uses = 0


@dataclass(frozen=True, slots=True)
class SpoolKeys:
    """`public` is what new bodies are wrapped to; `private` by key id, empty in a process that may not read."""

    public: bytes
    private: dict[bytes, X25519PrivateKey]
    _wrapping: list[_Wrapping] = field(default_factory=list, repr=False, compare=False)

    def wrap(self, body_key: bytes, name: str, generation: int = 1) -> bytes:
        """A slot of SLOT_SIZE octets: ephemeral X25519, HKDF-SHA256 (RFC 5869), AES-256-GCM with a nonce that is used once."""
        wrapping = self._current()
        wrapped = wrapping.cipher.encrypt(_nonce(name, generation), body_key, name.encode())
        slot = _SLOT.pack(generation, key_id(self.public), wrapping.ephemeral_public, wrapped)
        return (slot + hashlib.sha256(slot).digest()).ljust(SLOT_SIZE, b"\0")

    def _current(self) -> _Wrapping:
        """Threads that ask at the same moment may get one each."""
        wrapping = self._wrapping[-1] if self._wrapping else None
        if wrapping is None or wrapping.uses >= WRAPPING_USES or time.monotonic() >= wrapping.until:
            wrapping = _Wrapping(self.public)
            self._wrapping[:] = [wrapping]
        wrapping.uses += 1
        return wrapping

    def unwrap(self, slot: bytes, name: str) -> bytes:
        """The body key of a slot. Raises SpoolError: damaged; SpoolUnavailable: for a key that we do not hold."""
        generation, identity, ephemeral_public, wrapped = parse_slot(slot)
        private = self.private.get(identity)
        if private is None:
            raise SpoolUnavailable(f"spool object {name}: no private key {identity.hex()} here")
        public = private.public_key().public_bytes_raw()
        wrapping = _derive(private.exchange(X25519PublicKey.from_public_bytes(ephemeral_public)), ephemeral_public, public)
        try:
            return AESGCM(wrapping).decrypt(_nonce(name, generation), wrapped, name.encode())
        except InvalidTag:
            raise SpoolError(f"spool object {name}: its key is altered") from None


def _nonce(name: str, generation: int) -> bytes:
    """Names are ids of messages: no two bodies have the same, and each rewrap of one has a generation of its own."""
    return hashlib.sha256(b"%d %b" % (generation, name.encode())).digest()[:NONCE_SIZE]


def parse_slot(slot: bytes) -> tuple[int, bytes, bytes, bytes]:
    """Generation, key id, ephemeral public key, wrapped key. Raises SpoolError where the check does not fit."""
    body, check = slot[: _SLOT.size], slot[_SLOT.size : _SLOT.size + _CHECK]
    if hashlib.sha256(body).digest() != check:
        raise SpoolError("the key slot is damaged or wiped")
    generation, identity, ephemeral_public, wrapped = _SLOT.unpack(body)
    return generation, identity, ephemeral_public, wrapped


def newest_slot(header: bytes, name: str) -> tuple[int, bytes]:
    """Index and bytes of the sound slot of the highest generation: a rotation that was cut short leaves the old one."""
    found: list[tuple[int, int, bytes]] = []
    for index, start in enumerate(SLOTS):
        slot = header[start : start + SLOT_SIZE]
        with contextlib.suppress(SpoolError):
            found.append((parse_slot(slot)[0], index, slot))
    if not found:
        raise SpoolError(f"spool object {name}: both key slots are damaged or wiped")
    _, index, slot = max(found)
    return index, slot


def _derive(shared: bytes, ephemeral_public: bytes, public: bytes) -> bytes:
    return HKDF(hashes.SHA256(), 32, salt=ephemeral_public + public, info=_INFO).derive(shared)


def new_keypair(public_file: Path, private_folder: Path) -> bytes:
    """Makes a key pair and makes it the one for new bodies; the old private keys stay. Gives the key id."""
    private = X25519PrivateKey.generate()
    public = private.public_key().public_bytes_raw()
    identity = key_id(public)
    make_folder(private_folder)
    _write(private_folder / f"{identity.hex()}.key", private.private_bytes_raw().hex().encode() + b"\n", 0o600)
    make_folder(public_file.parent)
    _write(public_file, public.hex().encode() + b"\n", 0o644)
    return identity


def _write(path: Path, data: bytes, mode: int) -> None:
    """Whole or not at all, and durable: the private key must be there before the first body is wrapped to it."""
    temporary = path.with_name(path.name + ".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        os.write(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    give(temporary, path.parent.stat())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def load_keys(public_file: Path, private_folder: Path | None) -> SpoolKeys:
    """Raises ConfigurationError that names the file and what to do."""
    try:
        public = bytes.fromhex(public_file.read_text().strip())
        X25519PublicKey.from_public_bytes(public)
    except OSError as error:
        raise ConfigurationError([f"{public_file}:1: {error.strerror} (make one with: sluis keys spool new)"]) from None
    except ValueError:
        raise ConfigurationError([f"{public_file}:1: not a spool public key (64 hex digits)"]) from None
    private: dict[bytes, X25519PrivateKey] = {}
    for path in sorted(private_folder.glob("*.key")) if private_folder else []:
        try:
            if path.stat().st_mode & 0o077:
                raise ConfigurationError([f"{path}:1: others may read this private key (chmod 600)"])
            key = X25519PrivateKey.from_private_bytes(bytes.fromhex(path.read_text().strip()))
        except (OSError, ValueError) as error:
            raise ConfigurationError([f"{path}:1: not a spool private key: {error}"]) from None
        private[key_id(key.public_key().public_bytes_raw())] = key
    if private_folder and key_id(public) not in private:
        raise ConfigurationError([f"{private_folder}: the private key {key_id(public).hex()} of {public_file} is missing"])
    return SpoolKeys(public, private)
