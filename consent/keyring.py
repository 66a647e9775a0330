"""The key ring: a folder of secret keys outside the data directory, each file mode 0400.

One file per key, ``einlass-key v1 <name>`` and the hex of 32 random bytes. A process loads only the
keys of its role. Losing the folder is losing everything sealed; leaking it is a breach: nothing
here writes a key anywhere else, prints one or derives one from a name alone.
"""

import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from consent.errors import KeyringError

__all__ = ["COURIER", "ENGINE", "FRONT", "Keyring", "create", "exists"]

_HEADER = "einlass-key v1 "
_KEY_BYTES = 32
_SECRETS = ("master", "identifiers-1", "references", "console", "destinations", "signing", "vault")
_PUBLIC = "vault.pub"

FRONT = ("master", "identifiers-1", "references", "console", "signing", "vault.pub")
"""Fronts seal contact data and cannot open it: they hold the vault's public key."""
ENGINE = ("master", "console", "references")
COURIER = ("master", "destinations", "vault")


def exists(folder: Path) -> bool:
    """Say whether a key ring was made here, to the end."""
    return all((folder / f"{name}.key").exists() for name in (*_SECRETS, _PUBLIC))


def create(folder: Path, random_bytes: Callable[[int], bytes] = os.urandom) -> None:
    """Make a new key ring; the folder is created with mode 0700.

    One that was begun and not finished is completed: its keys may be in use nowhere yet, and are
    kept all the same.

    Raises:
        KeyringError: a key is there already, or the folder cannot be written.
    """
    if exists(folder):
        raise KeyringError("key ring: there is one already")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in _SECRETS:
            if not (folder / f"{name}.key").exists():
                _write(folder / f"{name}.key", name, random_bytes(_KEY_BYTES))
        private = X25519PrivateKey.from_private_bytes(_read(folder / "vault.key", "vault"))
        _write(folder / f"{_PUBLIC}.key", _PUBLIC, private.public_key().public_bytes_raw())
        _sync(folder)
        _sync(folder.parent)
    except OSError as error:
        raise KeyringError(f"key ring: cannot create a key ({error.strerror})") from error


def _write(path: Path, name: str, key: bytes) -> None:
    fresh = path.with_suffix(".new")  # a key under its name is whole
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
    with os.fdopen(descriptor, "w") as file:
        file.write(f"{_HEADER}{name}\n{key.hex()}\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(path: Path, name: str) -> bytes:
    try:
        mode = path.stat().st_mode
        lines = path.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise KeyringError(f"key ring: cannot read {name}") from error
    if stat.S_IMODE(mode) & 0o077:
        raise KeyringError(f"key ring: {name} is readable by others")
    try:
        header, text = lines
        key = bytes.fromhex(text)
    except ValueError as error:
        raise KeyringError(f"key ring: {name} is not a key file") from error
    if header != _HEADER + name or len(key) != _KEY_BYTES:
        raise KeyringError(f"key ring: {name} is not a key file")
    return key


class Keyring:
    """The keys of one role, in memory. Its ``repr`` shows names only."""

    def __init__(self, folder: Path, names: Iterable[str]) -> None:
        self._keys = {name: _read(folder / f"{name}.key", name) for name in names}

    def __repr__(self) -> str:
        """Show which keys are held, never a key."""
        return f"<Keyring {sorted(self._keys)}>"

    def _key(self, name: str) -> bytes:
        try:
            return self._keys[name]
        except KeyError as error:
            raise KeyringError(f"key ring: this process does not hold {name}") from error

    def derive(self, name: str, label: str) -> bytes:
        """Return the 32-byte subkey of a key for one use (HKDF-SHA-256, RFC 5869).

        Raises:
            KeyringError: this role does not hold the key.
        """
        info = f"einlass/v1/{name}/{label}".encode()
        return HKDF(algorithm=SHA256(), length=_KEY_BYTES, salt=None, info=info).derive(
            self._key(name)
        )

    def signing(self) -> Ed25519PrivateKey:
        """Return the key that signs receipts."""
        return Ed25519PrivateKey.from_private_bytes(self._key("signing"))

    def vault_public(self) -> X25519PublicKey:
        """Return the courier's public key, for sealing contact data."""
        return X25519PublicKey.from_public_bytes(self._key("vault.pub"))

    def vault_private(self) -> X25519PrivateKey:
        """Return the courier's private key; only the courier's role holds it."""
        return X25519PrivateKey.from_private_bytes(self._key("vault"))
