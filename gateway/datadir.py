"""The data directory: which file is what, and the lock that lets one server own it.

Also remembers where configuration and key ring lie, so that every command finds them by ``--data``.
"""

import fcntl
import json
import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from gateway.errors import SettingsError, StoreError, StoreLockedError

__all__ = ["DataDir"]

_LOCK_SECONDS = 3.0
_RETRY_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class DataDir:
    """Paths inside one data directory."""

    path: Path

    @property
    def front(self) -> Path:
        """The front store."""
        return self.path / "front.db"

    @property
    def keys(self) -> Path:
        """The key store (wrapped person keys)."""
        return self.path / "keys.db"

    @property
    def back(self) -> Path:
        """The back store."""
        return self.path / "back.db"

    @property
    def warehouse(self) -> Path:
        """The warehouse, rebuilt from the log when it is missing."""
        return self.path / "warehouse.duckdb"

    @property
    def engine_socket(self) -> Path:
        """Where a running engine listens."""
        return self.path / "engine.sock"

    @property
    def courier_socket(self) -> Path:
        """Where a running courier listens."""
        return self.path / "courier.sock"

    @property
    def courier_lock(self) -> Path:
        """Held by the courier for its life."""
        return self.path / "courier.lock"

    @property
    def admin_token(self) -> Path:
        """Bearer token of the admin API."""
        return self.path / "admin.token"

    def prepare(self) -> None:
        """Make the directory (0700) and the admin token (0400) if they are not there.

        Both are on the disk afterwards: a power cut leaves no empty token, which would open
        the admin API to everybody.

        Raises:
            StoreError: they cannot be made.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not (self.admin_token.exists() and self.admin_token.stat().st_size):
                self._write_token(secrets.token_urlsafe(32))
                _sync(self.path)
                _sync(self.path.parent)
        except OSError as error:
            raise StoreError(f"data directory: cannot be made ({error.strerror})") from error

    def _write_token(self, token: str) -> None:
        fresh = self.path / "admin.token.new"
        fresh.unlink(missing_ok=True)  # a start that was killed here
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with os.fdopen(os.open(fresh, flags, 0o400), "w") as file:
            file.write(f"{token}\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.admin_token)

    def own(self) -> int:
        """Take the directory for one server; returns the descriptor that holds the lock.

        A server that was just killed may need a moment to let go.

        Raises:
            StoreLockedError: another server has it.
        """
        descriptor = os.open(self.path / "serve.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        end = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > end:
                    os.close(descriptor)
                    raise StoreLockedError("data directory: another server runs here") from None
                time.sleep(_RETRY_SECONDS)
            else:
                return descriptor

    def remember(self, config: Path, keys: Path) -> None:
        """Note where configuration and key ring lie."""
        text = json.dumps({"config": str(config.resolve()), "keys": str(keys.resolve())})
        fresh = self.path / "paths.json.new"
        fresh.write_text(text + "\n", encoding="utf-8")
        fresh.replace(self.path / "paths.json")

    def recall(self) -> tuple[Path, Path]:
        """Return the noted paths of configuration and key ring.

        Raises:
            SettingsError: no server ever started here.
        """
        try:
            found = json.loads((self.path / "paths.json").read_text(encoding="utf-8"))
            return Path(found["config"]), Path(found["keys"])
        except (OSError, ValueError, KeyError) as error:
            raise SettingsError(
                "nothing is noted here: give --config and --keys", "data"
            ) from error


def _sync(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
