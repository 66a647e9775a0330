"""Starts the processes of one server, keeps them running, and takes them along when it ends.

It must not know what they do. It forks, so it runs before any thread or event loop exists, and
has neither itself. Sockets are bound once, here or by the caller, and inherited. A child cannot
outlive it: the kernel kills it. Specification: prctl(2), PR_SET_PDEATHSIG.
"""

import contextlib
import ctypes
import errno
import gc
import os
import select
import signal
import socket
import struct
import sys
import time
import traceback
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from types import FrameType
from typing import NoReturn

import structlog

from gateway.errors import PortTakenError, SettingsError

__all__ = ["Child", "Supervisor", "bind"]

_PR_SET_PDEATHSIG = 1
_BACKLOG = 2_048
_PID = struct.Struct("=i")  # what a ready child writes; shorter than PIPE_BUF, so never torn
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_HANDLED = (*_STOP_SIGNALS, signal.SIGCHLD)
_FIRST_DELAY_SECONDS = 0.1
_MAX_DELAY_SECONDS = 5.0
_MAX_READY_DELAY_SECONDS = 0.5
_SHORT_LIFE_SECONDS = 1.0
_LONG_LIFE_SECONDS = 10.0
_FAILED = 1
_NOT_YET = float("inf")

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Child:
    """A kind of process. ``target`` runs in it and calls its argument once it is ready.

    ``essential`` ones must be ready before the server is. ``patient`` ones start when the others
    are ready, so that these have the machine to themselves. A child keeps only ``sockets`` of
    those that the supervisor holds.
    """

    name: str
    target: Callable[[Callable[[], None]], None]
    count: int = 1
    essential: bool = True
    patient: bool = False
    sockets: tuple[socket.socket, ...] = ()


@dataclass(slots=True)
class _Place:
    """One process of a kind, past and present; instants are monotonic seconds."""

    child: Child
    pid: int = 0
    started: float = 0.0
    due: float = 0.0
    early_deaths: int = 0
    ready: bool = False


class _Stage(Enum):
    """How far a stop has come."""

    RUNNING = auto()
    STOPPING = auto()
    KILLING = auto()


@dataclass(slots=True)
class _Pipe:
    """Both ends of a pipe, neither blocking."""

    read: int = field(init=False)
    write: int = field(init=False)

    def __post_init__(self) -> None:
        self.read, self.write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def close(self) -> None:
        os.close(self.read)
        os.close(self.write)


def bind(host: str, port: int) -> socket.socket:
    """Return a listening TCP socket; port 0 means any free one.

    Raises:
        PortTakenError: somebody else listens there, or we may not.
        SettingsError: the host is no address of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)  # close-on-exec: Python's default
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            raise PortTakenError(f"port {port} of {host} is taken") from error
        if error.errno == errno.EACCES:
            raise PortTakenError(f"port {port} of {host} is not allowed for this user") from error
        raise SettingsError(f"cannot listen on {host}: {error.strerror}", "host") from error
    return sock


class Supervisor:
    """Runs children until SIGTERM or SIGINT. ``on_ready`` is called once.

    ``sockets`` are closed when the stop begins, so that newcomers are refused, not left waiting.
    """

    def __init__(
        self,
        children: Sequence[Child],
        *,
        sockets: Sequence[socket.socket] = (),
        on_ready: Callable[[], None] | None = None,
        grace_seconds: float = 20.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._places = [
            _Place(child, due=_NOT_YET if child.patient else 0.0)
            for child in children
            for _ in range(child.count)
        ]
        self._sockets = list(sockets)
        self._on_ready = on_ready
        self._grace_seconds = grace_seconds
        self._clock = clock
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._stage = _Stage.RUNNING
        self._stage_ends = float("inf")
        self._announced = False
        self._status = 0

    def run(self) -> int:
        """Start, watch, restart, stop; return the exit status.

        The status is 0 after a stop that was asked for, 1 when an essential child refused to
        start (it ended by itself with an error before the server was ever ready).
        """
        wakeups, readiness = _Pipe(), _Pipe()
        gc.freeze()  # what was imported so far stays shared between the processes
        try:
            with _signals_to(wakeups.write):
                while self._has_work():
                    self._turn(wakeups, readiness)
        finally:
            gc.unfreeze()
            wakeups.close()
            readiness.close()
        return self._status

    def _has_work(self) -> bool:
        return self._stage is _Stage.RUNNING or any(place.pid for place in self._places)

    def _turn(self, wakeups: _Pipe, readiness: _Pipe) -> None:
        """Start what is due, wait until something happens, and deal with it."""
        self._start_due(wakeups, readiness)
        select.select([wakeups.read, readiness.read], [], [], self._patience())
        self._note_ready(_read_all(readiness.read))
        for number in _read_all(wakeups.read):
            if number in _STOP_SIGNALS:
                self._escalate()
        self._reap()
        if self._clock() >= self._stage_ends:
            self._escalate()

    def _start_due(self, wakeups: _Pipe, readiness: _Pipe) -> None:
        now = self._clock()
        for place in self._places:
            if self._stage is _Stage.RUNNING and place.pid == 0 and place.due <= now:
                place.started = now
                place.ready = False
                place.pid = self._fork(place.child, wakeups, readiness)
                _log.info("child_started", name=place.child.name, pid=place.pid)

    def _fork(self, child: Child, wakeups: _Pipe, readiness: _Pipe) -> int:
        parent = os.getpid()
        sys.stdout.flush()
        # A signal between fork and settling in would be told to the wrong process.
        signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
        pid = os.fork()
        if pid == 0:
            wakeups.close()
            os.close(readiness.read)
            self._become(child, parent, readiness.write)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
        return pid

    def _become(self, child: Child, parent: int, ready: int) -> NoReturn:
        status = _FAILED
        try:
            self._settle_in(child, parent)
            status = _run(child, ready)
        finally:
            os._exit(status)

    def _settle_in(self, child: Child, parent: int) -> None:
        """Undo what is the supervisor's own, and bind this process's life to it."""
        # SIGKILL, for nothing acknowledged needs a last word, and a hung child must not stay.
        self._libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:  # it died before the line above
            os._exit(_FAILED)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor passes Ctrl-C on as TERM
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
        for sock in self._sockets:
            if sock not in child.sockets:
                sock.close()

    def _patience(self) -> float | None:
        """Return for how long nothing is due; None is for ever."""
        nearest = self._stage_ends
        if self._stage is _Stage.RUNNING:
            nearest = min((place.due for place in self._places if not place.pid), default=nearest)
        return None if nearest == float("inf") else max(0.0, nearest - self._clock())

    def _note_ready(self, message: bytes) -> None:
        pids = {pid for (pid,) in _PID.iter_unpack(message)}
        for place in self._places:
            place.ready = place.ready or place.pid in pids
        essential = [place for place in self._places if place.child.essential]
        if all(place.ready for place in essential if not place.child.patient):
            for place in self._places:
                if place.due == _NOT_YET:
                    place.due = self._clock()
        is_ready = all(place.ready for place in essential)
        if is_ready and not self._announced and self._stage is _Stage.RUNNING:
            self._announced = True
            if self._on_ready is not None:
                self._on_ready()

    def _reap(self) -> None:
        for place in self._places:
            pid, status = os.waitpid(place.pid, os.WNOHANG) if place.pid else (0, 0)
            if not pid:
                continue
            code = os.waitstatus_to_exitcode(status)
            _log.info("child_exited", name=place.child.name, pid=pid, code=code)
            place.pid = 0
            self._plan_restart(place)
            refused = code > 0 and place.child.essential and not self._announced
            if refused and self._stage is _Stage.RUNNING:
                self._status = _FAILED
                self._escalate()

    def _plan_restart(self, place: _Place) -> None:
        now = self._clock()
        lived = now - place.started
        if lived >= _LONG_LIFE_SECONDS:
            place.early_deaths = 0
        delay = 0.0
        if lived < _SHORT_LIFE_SECONDS:
            if place.early_deaths:
                # One that had become ready was killed, not misconfigured: it comes back soon.
                longest = _MAX_READY_DELAY_SECONDS if place.ready else _MAX_DELAY_SECONDS
                delay = min(longest, _FIRST_DELAY_SECONDS * 2**place.early_deaths)
            place.early_deaths = min(place.early_deaths + 1, 10)
        place.due = now + delay

    def _escalate(self) -> None:
        """Ask all to stop; asked again, or after the grace, make them."""
        now = self._clock()
        if self._stage is _Stage.RUNNING:
            self._stage, self._stage_ends = _Stage.STOPPING, now + self._grace_seconds
            for sock in self._sockets:
                sock.close()
            self._signal_all(signal.SIGTERM)
        elif self._stage is _Stage.STOPPING:
            self._stage, self._stage_ends = _Stage.KILLING, float("inf")
            self._signal_all(signal.SIGKILL)

    def _signal_all(self, number: signal.Signals) -> None:
        for place in self._places:
            if place.pid:
                os.kill(place.pid, number)


def _run(child: Child, ready: int) -> int:
    """Run a child's target in its own process; return the exit status."""
    try:
        child.target(lambda: _tell(ready))
    except SystemExit as leave:
        return leave.code if isinstance(leave.code, int) else int(leave.code is not None)
    except Exception as error:  # noqa: BLE001 - the process boundary
        hint = getattr(error, "hint", "")
        # Our own errors hold no values; of others only the kind and the place are safe to print.
        _log.error(
            "child_failed",
            name=child.name,
            error=type(error).__name__,
            message=str(error) if hint else "",
            hint=hint,
            where=_where(error),
        )
        return _FAILED
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
    return 0


def _where(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}"


def _tell(write: int) -> None:
    # A supervisor that is gone or does not read needs no news.
    with contextlib.suppress(BlockingIOError, BrokenPipeError):
        os.write(write, _PID.pack(os.getpid()))


def _read_all(read: int) -> bytes:
    found = b""
    with contextlib.suppress(BlockingIOError):
        while piece := os.read(read, 4_096):
            found += piece
    return found


@contextlib.contextmanager
def _signals_to(write: int) -> Generator[None]:
    """Turn the handled signals into bytes of a pipe, and ignore SIGHUP."""
    fd = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    before = {number: signal.signal(number, _note) for number in _HANDLED}
    before[signal.SIGHUP] = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(fd)


def _note(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: that a handler exists makes Python write to the pipe."""
