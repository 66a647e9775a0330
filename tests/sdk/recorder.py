"""Records the requests of a tracker on 127.0.0.1 and answers as told: what SDKs really send."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

__all__ = ["Recorded", "Recorder", "recorder"]


@dataclass(frozen=True, slots=True)
class Recorded:
    """One request; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Recorder:
    """``requests`` in order of arrival; ``statuses`` are answered first, then always 200."""

    url: str
    statuses: list[int]
    requests: list[Recorded] = field(default_factory=list)


@contextmanager
def recorder(statuses: Sequence[int] = ()) -> Iterator[Recorder]:
    """Yield a running recorder on a free port."""
    made = Recorder("", list(statuses))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            headers = {name.lower(): value for name, value in self.headers.items()}
            made.requests.append(Recorded(self.command, self.path, headers, body))
            answer = b'{"success":true}'
            self.send_response(made.statuses.pop(0) if made.statuses else 200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_arguments: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
