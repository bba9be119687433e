"""DKIM private keys from `<keys>/<domain>/<selector>.pem`, kept in memory and read again when the file changes."""

import os
import re
import time
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from relay.model.errors import ConfigurationError
from relay.sign.dkim_signature import PrivateKey
from relay.sign.tried import try_key

DOMAIN = re.compile(r"(?=.{1,253}\Z)([a-z0-9_]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
SELECTOR = re.compile(r"(?=.{1,120}\Z)[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*")
"""RFC 6376 §3.1: sub-domains joined by dots. Also what keeps a name inside the keys folder."""

FORBIDDEN_MODE = 0o027  # the owner may do all, a group may read, others nothing
SMALLEST_RSA = 2048  # RFC 8301 §3.2: signers SHOULD use at least 2048 bits
LARGEST_RSA = 4096  # RFC 8301 §3.2: verifiers need not take more
LOOK_SECONDS = 1.0  # between looks at a file: a key that was taken away signs no longer than that


class KeyRing:
    """Keys by domain and selector. A file is looked at again after `look_seconds`."""

    def __init__(self, folder: Path, look_seconds: float = LOOK_SECONDS) -> None:
        self._folder = folder
        self._look_seconds = look_seconds
        self._known: dict[tuple[str, str], tuple[tuple[int, int, int], PrivateKey]] = {}
        self._looked: dict[tuple[str, str], float] = {}

    def key(self, domain: str, selector: str, algorithm: str) -> PrivateKey:
        """The key for one selector; `algorithm` is rsa-sha256 or ed25519-sha256. Raises ConfigurationError, which names the file."""
        known, looked = self._known.get((domain, selector)), self._looked.get((domain, selector), 0.0)
        now = time.monotonic()
        if known is None or now - looked > self._look_seconds:
            known = self._read(domain, selector, algorithm)
            self._looked[domain, selector] = now
        if algorithm_of(known[1]) != algorithm:
            path = key_path(self._folder, domain, selector)
            raise ConfigurationError([f"{path}: this is a key for {algorithm_of(known[1])}, the policy says {algorithm}"])
        return known[1]

    def _read(self, domain: str, selector: str, algorithm: str) -> tuple[tuple[int, int, int], PrivateKey]:
        path = key_path(self._folder, domain, selector)
        try:
            with path.open("rb") as file:
                status = os.fstat(file.fileno())
                stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
                known = self._known.get((domain, selector))
                if known is None or known[0] != stamp:
                    if status.st_mode & FORBIDDEN_MODE:
                        raise ConfigurationError(
                            [f"{path}: others may read or change this key (chmod 600, or 640 with a group of the relay's own)"]
                        )
                    key = parse_key(file.read(65_536), path)
                    try_key(key, algorithm_of(key), path)
                    known = (stamp, key)
                    self._known[domain, selector] = known
        except FileNotFoundError:
            raise ConfigurationError(
                [f"{path}: no such DKIM key (sluis dkim new {domain} --selector {selector} --algorithm {algorithm})"]
            ) from None
        except OSError as error:
            raise ConfigurationError([f"{path}: {error.strerror}"]) from error
        return known


def key_path(folder: Path, domain: str, selector: str) -> Path:
    """Where a key lies. Raises ConfigurationError for a domain or selector that DNS could not hold."""
    if not DOMAIN.fullmatch(domain):
        raise ConfigurationError([f"signing: `{domain!r}` is no domain in lower case and A-labels"])
    if not SELECTOR.fullmatch(selector):
        raise ConfigurationError([f"signing: `{selector!r}` is no DKIM selector (letters, digits, hyphens, dots)"])
    return folder / domain / f"{selector}.pem"


def parse_key(pem: bytes, path: Path) -> PrivateKey:
    """An unencrypted PEM key, RSA 2048 to 4096 bits or Ed25519. Raises ConfigurationError."""
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ConfigurationError([f"{path}: not an unencrypted private key in PEM"]) from None
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key
    if isinstance(key, rsa.RSAPrivateKey):
        if not SMALLEST_RSA <= key.key_size <= LARGEST_RSA:
            raise ConfigurationError([f"{path}: an RSA key of {key.key_size} bits ({SMALLEST_RSA} to {LARGEST_RSA} are allowed)"])
        return key
    raise ConfigurationError([f"{path}: neither an RSA nor an Ed25519 key"])


def algorithm_of(key: PrivateKey) -> str:
    """The DKIM algorithm that a key is for."""
    return "rsa-sha256" if isinstance(key, rsa.RSAPrivateKey) else "ed25519-sha256"
