"""What the simulated platforms and the admin port say, read over HTTP.

Knows the sandbox's control routes and two admin routes; nothing behind them.
"""

import hashlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

__all__ = ["AdminPort", "Sandbox", "digest_of", "wait_until"]

_POLL_SECONDS = 0.02
_COUNTER = re.compile(r"einlass_events_total\{([^}]*)\} (\S+)")
_LABEL = re.compile(r'(\w+)="([^"]*)"')


def digest_of(email: str) -> str:
    """Return what both platforms are sent for an address that is in its normal form already."""
    return hashlib.sha256(email.encode()).hexdigest()


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Poll until something holds; return False if time ran out."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(_POLL_SECONDS)
    return condition()


@dataclass(frozen=True, slots=True)
class Sandbox:
    """The simulated platforms at ``url``."""

    url: str

    def people(self) -> dict[str, dict[str, int]]:
        """Return platform → audience → number of people."""
        found: dict[str, dict[str, int]] = self._get("audiences", {})
        return found

    def digests(self, platform: str, audience: str) -> frozenset[str]:
        """Return the digests that an audience holds now."""
        found = self._get("members", {"platform": platform, "audience": audience})
        return frozenset(found["digests"])

    def journal(self) -> list[dict[str, Any]]:
        """Return the requests that arrived."""
        found: list[dict[str, Any]] = self._get("journal", {})["requests"]
        return found

    def _get(self, path: str, query: dict[str, str]) -> Any:  # noqa: ANN401 - the JSON of any route
        answer = httpx.get(f"{self.url}/_sandbox/{path}", params=query, timeout=10, trust_env=False)
        return answer.raise_for_status().json()


@dataclass(frozen=True, slots=True)
class AdminPort:
    """The admin port of the server that works in ``data``."""

    url: str
    data: Path

    def balance(self) -> dict[str, Any]:
        """Return the equation of what entered and what left."""
        found: dict[str, Any] = self._get("/v1/balance").json()
        return found

    def outcomes(self) -> dict[tuple[str, str], int]:
        """Return (outcome, reason) → events, over all sources."""
        found: dict[tuple[str, str], int] = {}
        for labels, count in _COUNTER.findall(self._get("/metrics").text):
            label = dict(_LABEL.findall(labels))
            key = (label["outcome"], label["reason"])
            found[key] = found.get(key, 0) + int(float(count))
        return found

    def _get(self, path: str) -> httpx.Response:
        token = (self.data / "admin.token").read_text(encoding="ascii").strip()
        bearer = {"Authorization": f"Bearer {token}"}
        answer = httpx.get(f"{self.url}{path}", headers=bearer, timeout=30, trust_env=False)
        return answer.raise_for_status()
