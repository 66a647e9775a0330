"""The configuration, frozen and typed; read once from one TOML file.

Unknown keys are errors with a suggestion; secrets are file references. No other module looks
into the environment or reads this file. Each key is explained in docs/settings.md.
"""

from pathlib import Path

from gateway.configuration.loader import read
from gateway.configuration.shapes import (
    AudienceSettings,
    ControllerSettings,
    DestinationSettings,
    Limits,
    NoticeSettings,
    Settings,
    SourceSettings,
)

__all__ = [
    "AudienceSettings",
    "ControllerSettings",
    "DestinationSettings",
    "Limits",
    "NoticeSettings",
    "Settings",
    "SourceSettings",
    "load",
]


def load(path: Path) -> Settings:
    """Read and check a configuration file; paths in it are relative to its folder.

    Raises:
        SettingsError: the first thing that is wrong, with file, line, field, reason and hint.
    """
    reading = read(path)
    if reading.settings is None:
        raise reading.problems[0].error(path)
    return reading.settings
