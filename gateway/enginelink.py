"""The command line's way to a running engine: one JSON object a line over ``engine.sock``.

A request names what to ``do``; the engine answers with any number of ``progress`` lines and then
``result`` or ``error``. Standard library only.
"""

import json
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gateway.errors import EngineError, NotRunningError

__all__ = ["ask"]

_SECONDS = 600.0

_Progress = Callable[[int, int], None]


def ask(path: Path, request: Mapping[str, Any], progress: _Progress | None = None) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Ask a running engine and return its result.

    Raises:
        NotRunningError: no engine listens.
        EngineError: it refused or failed.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.connect(str(path))
        except OSError as error:
            raise NotRunningError("no engine is running for this data directory") from error
        connection.settimeout(_SECONDS)
        connection.sendall(json.dumps(request).encode() + b"\n")
        with connection.makefile("rb") as lines:
            for line in lines:
                answer = json.loads(line)
                if "progress" in answer:
                    if progress is not None:
                        progress(*answer["progress"])
                elif "error" in answer:
                    raise EngineError(answer["error"]["message"], answer["error"]["code"])
                else:
                    return answer["result"]
    raise EngineError("the engine ended before it answered", "engine_ended")
