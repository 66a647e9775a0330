"""Starts the simulated platforms as a process of their own, on a free port."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import httpx
import msgspec

__all__ = ["JournalEntry", "RunningSandbox", "sandbox"]

Setting = str | int | float


class JournalEntry(msgspec.Struct, frozen=True):
    """One request that arrived; times are ``time.monotonic()`` of this machine, in seconds."""

    number: int
    platform: str
    kind: str
    method: str
    path: str
    arrived: float
    received: float
    complete: bool
    size: int
    status: int
    audience: str = ""
    code: str = ""
    fault: str = ""
    rows: int = 0
    refused: int = 0
    plaintext: int = 0
    digests: list[str] = []


class _Journal(msgspec.Struct, frozen=True):
    now: float
    requests: list[JournalEntry]


class _Members(msgspec.Struct, frozen=True):
    people: int
    digests: set[str]


@dataclass(frozen=True, slots=True)
class RunningSandbox:
    """A running sandbox: ``url`` is the base address that destinations are given."""

    url: str

    def reset(self, **settings: Setting) -> None:
        """Forget everything; settings are those of ``SandboxSettings``."""
        self._post("reset", settings)

    def fault(self, platform: str, fault: str, **more: Setting) -> None:
        """Script a fault for the next ``count`` requests (default 1; 0 until a reset)."""
        self._post("faults", {"platform": platform, "fault": fault, **more})

    def journal(self, **query: Setting) -> list[JournalEntry]:
        """Return the requests so far; ``digest``, ``platform``, ``since``, ``digests=1``."""
        return msgspec.json.decode(self._get("journal", query), type=_Journal).requests

    def audiences(self) -> dict[str, dict[str, int]]:
        """Return the number of people, platform → audience → count."""
        return msgspec.json.decode(self._get("audiences", {}), type=dict[str, dict[str, int]])

    def digests(self, platform: str, audience: str) -> set[str]:
        """Return the digests that an audience holds now."""
        query = {"platform": platform, "audience": audience}
        return msgspec.json.decode(self._get("members", query), type=_Members).digests

    def _get(self, path: str, query: Mapping[str, Setting]) -> bytes:
        with httpx.Client(trust_env=False, timeout=30) as client:
            answer = client.get(f"{self.url}/_sandbox/{path}", params=query)
        return answer.raise_for_status().content

    def _post(self, path: str, body: Mapping[str, Setting]) -> None:
        with httpx.Client(trust_env=False, timeout=30) as client:
            client.post(f"{self.url}/_sandbox/{path}", json=body).raise_for_status()


@contextlib.contextmanager
def sandbox() -> Iterator[RunningSandbox]:
    """Run the sandbox for the length of a with block."""
    with subprocess.Popen(
        [sys.executable, "-m", "gateway.sandbox", "0"], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert url.startswith("http://127.0.0.1:"), "the sandbox did not start"
            yield RunningSandbox(url)
        finally:
            process.terminate()
            assert process.wait(timeout=10) == 0, "the sandbox did not end cleanly"
