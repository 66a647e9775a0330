"""A whole einlass in a test: init, serve as a subprocess, read back, stop.

It knows the fixed interface (command line, health, admin token) and nothing behind it.
"""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

__all__ = ["Server", "free_ports", "run"]

_EINLASS = str(Path(sys.executable).with_name("einlass"))
_POLL_SECONDS = 0.02
_END_SECONDS = 5


def free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 that nobody listens on now, all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def run(*arguments: str, timeout_seconds: float = 60) -> str:
    """Run one `einlass` command and return its output; fail with its error output."""
    done = subprocess.run(
        [_EINLASS, *arguments], capture_output=True, text=True, timeout=timeout_seconds, check=False
    )
    assert done.returncode == 0, f"einlass {arguments[0]}: {done.returncode}\n{done.stderr[-4000:]}"
    return done.stdout


class Server:
    """`einlass serve` in a process group of its own, on free ports, in ``folder``.

    Use it as a context manager: it is ready inside the block and gone after it. ``configure``
    may rewrite the text of the configuration before the first start. ``options`` are added to
    ``serve`` (say ``("--workers", "2")``). The configuration and the key ring lie beside the data
    directory, as they must. Everything the server prints goes to ``log``. ``program`` is started
    instead of the `einlass` command (a build that was altered on purpose), ``environment`` given
    instead of this process's own.
    """

    def __init__(
        self,
        folder: Path,
        *,
        configure: Callable[[str], str] | None = None,
        options: Sequence[str] = (),
        ready_seconds: float = 20,
        program: Sequence[str] = (_EINLASS,),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.config = folder / "einlass.toml"
        self.data = folder / "data"
        self.log = folder / "server.log"
        self.write_key = f"wk_{secrets.token_hex(8)}"
        self.server_key = f"sk_{secrets.token_hex(16)}"
        self.port, self.admin_port = free_ports(2)
        self.url = f"http://127.0.0.1:{self.port}"
        self.admin_url = f"http://127.0.0.1:{self.admin_port}"
        self._configure = configure
        self._options = tuple(options)
        self._ready_seconds = ready_seconds
        self._program = tuple(program)
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        keys = ("--write-key", self.write_key, "--server-key", self.server_key)
        run("init", str(self.folder), *keys)
        if self._configure is not None:
            self.config.write_text(self._configure(self.config.read_text()))
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Process id of the supervisor; it is also the process group."""
        assert self._process is not None, "the server was not started"
        return self._process.pid

    @property
    def admin_token(self) -> str:
        """Bearer token of the admin API."""
        return (self.data / "admin.token").read_text().strip()

    def start(self, *, wait: bool = True) -> None:
        """Start it on the same ports and, unless told not to, wait until both say ready."""
        assert self._process is None, "the server runs already"
        ports = ("--port", str(self.port), "--admin-port", str(self.admin_port))
        command = [
            *self._program,
            *("serve", "--config", str(self.config), "--data", str(self.data)),
            *("--host", "127.0.0.1", *ports, *self._options),
        ]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env=self._environment,
            )
        if not wait:
            return
        try:
            self.wait_ready()
        except BaseException:
            self.stop()
            raise

    def wait_ready(self, seconds: float | None = None) -> float:
        """Wait until both health endpoints answer 200; return the seconds it took.

        Fails with the tail of the log when the process ends or the time is over.
        """
        began = time.monotonic()
        limit = began + (self._ready_seconds if seconds is None else seconds)
        while time.monotonic() < limit:
            if self._process is None or self._process.poll() is not None:
                raise AssertionError(f"the server ended early\n{self.tail()}")
            if _is_ready(self.url) and _is_ready(self.admin_url):
                return time.monotonic() - began
            time.sleep(_POLL_SECONDS)
        raise AssertionError(f"the server was not ready in time\n{self.tail()}")

    def stop(self, seconds: float = 15) -> int | None:
        """End it with SIGTERM, after ``seconds`` with SIGKILL; return its exit code."""
        if self._process is None:
            return None
        process, self._process = self._process, None
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        finally:
            _end_group(process)

    def kill(self) -> None:
        """End it as a power cut of the program would: SIGKILL to every process of it."""
        assert self._process is not None, "the server was not started"
        process, self._process = self._process, None
        _end_group(process)

    def kill_supervisor(self) -> None:
        """SIGKILL the supervisor alone; its children have to notice and go by themselves."""
        assert self._process is not None, "the server was not started"
        process, self._process = self._process, None
        process.kill()
        process.wait()

    def restart(self) -> None:
        """Stop and start again, same folder and ports."""
        self.stop()
        self.start()

    def pids(self) -> list[int]:
        """Return the ids of its living processes, the supervisor first."""
        return sorted(_members(self.pid), key=lambda pid: (pid != self.pid, pid))

    def events(self) -> list[dict[str, Any]]:
        """Return the stored events in log order, as `einlass events list` prints them."""
        printed = run("events", "list", "--data", str(self.data), "--json")
        return [json.loads(line) for line in printed.splitlines() if line]

    def admin(self, path: str) -> Any:  # noqa: ANN401 - the JSON of any admin endpoint
        """GET a path of the admin API and return its JSON."""
        bearer = {"Authorization": f"Bearer {self.admin_token}"}
        answer = httpx.get(self.admin_url + path, headers=bearer, timeout=10)
        answer.raise_for_status()
        return answer.json()

    def tail(self, lines: int = 40) -> str:
        """Return the last lines that it printed."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/ready", timeout=2).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of the group and wait until none of it runs: locks and ports are free."""
    with suppress(ProcessLookupError):  # everything may have ended by itself
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    limit = time.monotonic() + _END_SECONDS
    while _members(process.pid) and time.monotonic() < limit:
        time.sleep(_POLL_SECONDS)


def _members(group: int) -> list[int]:
    found = [each for each in map(_group_member, Path("/proc").glob("[0-9]*")) if each]
    return [pid for pid, its in found if its == group]


def _group_member(folder: Path) -> tuple[int, int] | None:
    """Return (pid, process group) of a living process, None for zombies and the gone."""
    try:
        # The name in parentheses may hold anything: read after the last one (proc(5)).
        state, _, group = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
    except (OSError, ValueError):
        return None
    return None if state == "Z" else (int(folder.name), int(group))
