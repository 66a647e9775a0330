"""Makes the key ring and the stores where they are missing, and never a second key ring."""

from pathlib import Path

from consent import keyring
from consent.errors import KeyringError
from gateway import keystore
from gateway.datadir import DataDir
from gateway.eventlogs import embedded

__all__ = ["prepare_stores"]


def prepare_stores(data: DataDir, keys: Path) -> None:
    """Create key ring and stores where they are missing.

    Raises:
        KeyringError: there is data but no key ring: a new one could not open it.
    """
    folder = keys.resolve()
    if data.path.resolve() in (folder, *folder.parents):
        raise KeyringError("key ring: must lie outside the data directory")
    if not keyring.exists(keys):
        if data.keys.exists():
            raise KeyringError("key ring: missing, but the data directory has sealed data")
        keyring.create(keys)
    keystore.create(data.keys)
    embedded.create(data.front)
