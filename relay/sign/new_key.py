"""Makes DKIM keys and finds those that are there."""

import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from relay.model.errors import ConfigurationError
from relay.settings.ownership import give, make_folder
from relay.sign.dkim_signature import PrivateKey
from relay.sign.keys import key_path, parse_key


def new_key(folder: Path, domain: str, selector: str, algorithm: str, bits: int) -> PrivateKey:
    """Makes `<folder>/<domain>/<selector>.pem`, readable by its owner only, and never over an existing file. Made by root it belongs to
    the owner of the folder, who is the relay's user. Raises ConfigurationError."""
    path = key_path(folder, domain, selector)
    key: PrivateKey = rsa.generate_private_key(65_537, bits) if algorithm == "rsa-sha256" else ed25519.Ed25519PrivateKey.generate()
    try:
        owner = make_folder(path.parent)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
            file.flush()
            os.fsync(file.fileno())
        give(path, owner)
    except FileExistsError:
        raise ConfigurationError([f"{path}: there is a key already (take another --selector)"]) from None
    except OSError as error:
        raise ConfigurationError([f"{error.filename or path}: {error.strerror}"]) from error
    return key


def existing_keys(folder: Path, domain: str | None = None) -> list[tuple[str, str, PrivateKey]]:
    """(domain, selector, key) of every key file, sorted. Raises ConfigurationError for one that can't be read."""
    found = []
    for path in sorted(folder.glob("*/*.pem")):
        if domain is None or path.parent.name == domain:
            try:
                found.append((path.parent.name, path.stem, parse_key(path.read_bytes(), path)))
            except OSError as error:
                raise ConfigurationError([f"{path}: {error.strerror}"]) from error
    return found
