"""A relay between the courier and the platforms whose way up can be made slow.

Its receive buffer is small, so that what a platform has not read yet still lies with the sender:
cutting such a send takes it back.
"""

import contextlib
import select
import socket
import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Self

__all__ = ["Network"]

_BUFFER = 4_096
_SLOW_BYTES, _SLOW_SECONDS = 256, 0.1
_FAST_BYTES = 65_536
_LINGER_OFF = b"\x01\x00\x00\x00\x00\x00\x00\x00"


class Network:
    """The relay; while ``slow`` is set it takes about 2 KB a second from the sender."""

    def __init__(self, port: int) -> None:
        self.slow = threading.Event()
        self._target = ("127.0.0.1", port)
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(64)
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError):  # wakes the thread that accepts
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed: the test is over
            while True:
                sender, _ = self._listener.accept()
                platform = socket.create_connection(self._target, timeout=60)
                for way in ((sender, platform, True), (platform, sender, False)):
                    threading.Thread(target=self._carry, args=way, daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, up: bool) -> None:  # noqa: FBT001 - a thread's argument
        with contextlib.suppress(OSError):
            for piece in self._pieces(source, up=up):
                sink.sendall(piece)
        for end in (source, sink):  # a cut on one side is a cut on the other
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_OFF)
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _pieces(self, source: socket.socket, *, up: bool) -> Iterator[bytes]:
        cut = select.poll()
        cut.register(source, 0)  # a reset is told without being asked for
        while True:
            slow = up and self.slow.is_set()
            if slow:
                time.sleep(_SLOW_SECONDS)
                if cut.poll(0):
                    return  # what lies in our buffer was taken back
            piece = source.recv(_SLOW_BYTES if slow else _FAST_BYTES)
            if not piece:
                return
            yield piece
