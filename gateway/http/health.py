"""Liveness and readiness: small JSON answers without login."""

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

__all__ = ["live", "ready"]


async def live(_request: Request) -> Response:
    """``GET /health/live``: this process answers."""
    return JSONResponse({"status": "live"})


def ready(check: Callable[[], str]) -> Callable[[Request], Response]:
    """Return the answer to ``GET /health/ready``; ``check`` returns what is amiss, or nothing."""

    def answer(_request: Request) -> Response:
        amiss = check()
        if amiss:
            return JSONResponse({"status": "not ready", "reason": amiss}, status_code=503)
        return JSONResponse({"status": "ready"})

    return answer
