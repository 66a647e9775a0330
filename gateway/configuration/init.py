"""Writes a first configuration: a shop with a browser and a server source, and a sandbox.

All files are made or none: nothing that exists is touched, and what was begun is taken back.
"""

import json
import os
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

from gateway.configuration.secret import WRITE_KEY
from gateway.errors import SettingsError

__all__ = ["init"]

_PUBLIC, _SECRET, _FOLDER, _SECRET_FOLDER = 0o644, 0o400, 0o755, 0o700
_TEMPLATES = (
    "notices/web.de.md",
    "notices/web.en.md",
    "segments/shop.yaml",
)
_SANDBOX_TOKEN = "sandbox-placeholder\n"  # noqa: S105 - opens nothing but the simulation


def init(
    directory: Path,
    write_key: str | None,
    server_key: str | None,
    token_bytes: Callable[[int], bytes],
) -> list[Path]:
    """Write the files and return their paths; keys that are not given are made.

    ``token_bytes`` returns that many random bytes. The configuration itself is written last, so
    that an interrupted run leaves nothing that could be started.

    Raises:
        SettingsError: a file exists already, a key has no valid form, or the folder cannot be
            written.
    """
    public = f"wk_{token_bytes(16).hex()}" if write_key is None else write_key
    secret = f"sk_{token_bytes(32).hex()}" if server_key is None else server_key
    _check_keys(public, secret)
    contents = _contents(public, secret)
    for name in contents:
        if os.path.lexists(directory / name):
            error = SettingsError(f"{directory / name} exists already; nothing was written")
            error.hint = "Name an empty folder, or remove the file."
            raise error
    return _write_all(directory, contents)


def _check_keys(public: str, secret: str) -> None:
    for field, key in (("write_key", public), ("server_key", secret)):
        if not WRITE_KEY.fullmatch(key):
            rule = "must be 1 to 256 printable characters, no blank and no colon"
            raise SettingsError(f"{field}: {rule}", field)
    if public == secret:
        raise SettingsError("server_key: must differ from the write key", "server_key")


def _contents(public: str, secret: str) -> dict[str, tuple[int, str]]:
    templates = files("gateway.configuration") / "templates"
    contents = {
        name: (_PUBLIC, (templates / name).read_text(encoding="utf-8")) for name in _TEMPLATES
    }
    contents["secrets/backend.key"] = (_SECRET, f"{secret}\n")
    contents["secrets/meta.token"] = (_SECRET, _SANDBOX_TOKEN)
    contents["secrets/google.token"] = (_SECRET, _SANDBOX_TOKEN)
    # A JSON string of printable ASCII is a TOML basic string too.
    text = (templates / "einlass.toml").read_text(encoding="utf-8")
    contents["einlass.toml"] = (_PUBLIC, text.replace('"@WRITE_KEY@"', json.dumps(public)))
    return contents


def _write_all(directory: Path, contents: dict[str, tuple[int, str]]) -> list[Path]:
    folders: list[Path] = []
    written: list[Path] = []
    try:
        _make_folder(directory, _FOLDER, folders)
        for name, (mode, text) in contents.items():
            path = directory / name
            _make_folder(path.parent, _SECRET_FOLDER if mode == _SECRET else _FOLDER, folders)
            # O_EXCL: a file that appeared since the check is not overwritten either.
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            written.append(path)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        for path in written:
            path.unlink()
        for folder in reversed(folders):
            folder.rmdir()
        raise SettingsError(f"{directory}: cannot be written: {error.strerror}") from error
    return written


def _make_folder(folder: Path, mode: int, made: list[Path]) -> None:
    """Make a folder and those above it; note each that was not there before."""
    if not folder.exists():
        _make_folder(folder.parent, _FOLDER, made)
        folder.mkdir(mode)
        made.append(folder)
