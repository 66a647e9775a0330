"""Reads a secret from its file, and refuses one that others on the machine can read.

Errors name the file and never its content. Mode 0400 or 0600 is what passes.
"""

import os
import re
from pathlib import Path

from gateway.errors import SettingsError

__all__ = ["WRITE_KEY", "check_mode", "read_secret"]

WRITE_KEY = re.compile(r"[!-9;-~]{1,256}")
"""Printable ASCII without blanks; no colon, since some SDKs send the key as a Basic user name."""

_OTHERS = 0o077
_MAX_BYTES = 4_096


def check_mode(path: Path, mode: int) -> None:
    """Accept a file mode that shuts out group and others.

    Raises:
        SettingsError: it does not.
    """
    if mode & _OTHERS:
        error = SettingsError(f"{path.name} is open to others (mode {mode & 0o777:04o})")
        error.hint = f"chmod 0400 {path}"
        raise error


def read_secret(path: Path) -> str:
    """Return the text of a secret file without the blanks around it.

    Raises:
        SettingsError: the file is missing, open to others, empty, or not a short text.
    """
    try:
        with path.open("rb") as file:
            check_mode(path, os.fstat(file.fileno()).st_mode)
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        wrong = SettingsError(f"{path.name} cannot be read: {error.strerror}")
        wrong.hint = f"Write the key to {path} with mode 0400."
        raise wrong from error
    text = content.decode("utf-8", "replace").strip()
    if not WRITE_KEY.fullmatch(text):
        raise SettingsError(f"{path.name} must hold one key: 1 to 256 printable characters")
    return text
