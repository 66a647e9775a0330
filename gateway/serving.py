"""`einlass serve` after its options are read: makes what is missing, then supervises.

Started by its own interpreter call, so that forked front workers carry nothing of the command
line. Imports the front before it forks; engine and courier import their own after the fork.
"""

import gateway.lean  # noqa: F401, I001 - before all others
import gc
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from socket import socket

from consent.errors import ConsentError
from gateway.configuration.shapes import Settings
from gateway.datadir import DataDir
from gateway.errors import GatewayError
from gateway.settings import load
from gateway.supervisor import Child, Supervisor, bind
from gateway.telemetry import configure
from gateway.wiring import front
from gateway.wiring.stores import prepare_stores

gc.enable()  # `gateway.lean` had it off for the imports

__all__ = ["ServeOptions", "main", "serve"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """What `einlass serve` was told. Port 0 takes any free port."""

    config: Path
    data: Path
    keys: Path
    host: str = "127.0.0.1"
    port: int = 8080
    admin_port: int = 8081
    workers: int = 1


def serve(options: ServeOptions, announce: Callable[[str], None]) -> int:
    """Serve until told to stop; ``announce`` gets the one ready line. Returns the exit status.

    Raises:
        GatewayError: it cannot start; the message says why.
        ConsentError: the key ring cannot be used.
    """
    configure("supervisor")
    settings = load(options.config)
    data = DataDir(options.data)
    data.prepare()
    data.own()
    prepare_stores(data, options.keys)
    data.remember(options.config, options.keys)
    collect, admin = bind(options.host, options.port), bind(options.host, options.admin_port)
    line = (
        f"einlass is ready: collector http://{options.host}:{collect.getsockname()[1]}"
        f" admin http://{options.host}:{admin.getsockname()[1]}"
    )
    places = (settings, options.data, options.keys)
    children = [
        Child(
            "front",
            partial(front.run, *places, collect),
            count=options.workers,
            sockets=(collect,),
        ),
        Child("engine", partial(_engine, *places, admin), patient=True, sockets=(admin,)),
        Child("courier", partial(_courier, *places), patient=True),
    ]
    supervisor = Supervisor(children, sockets=(collect, admin), on_ready=partial(announce, line))
    return supervisor.run()


def _engine(
    settings: Settings, data: Path, keys: Path, sock: socket, ready: Callable[[], None]
) -> None:
    gc.disable()
    from gateway.wiring import engine  # noqa: PLC0415 - only this process carries the warehouse

    gc.enable()
    engine.run(settings, data, keys, sock, ready)


def _courier(settings: Settings, data: Path, keys: Path, ready: Callable[[], None]) -> None:
    gc.disable()
    from gateway.wiring import courier  # noqa: PLC0415 - only this process carries the ORM

    gc.enable()
    courier.run(settings, data, keys, ready)


def main() -> int:
    """Serve with the options given as one JSON argument."""
    given = json.loads(sys.argv[1])
    config, data, keys = (Path(given.pop(name)) for name in ("config", "data", "keys"))
    options = ServeOptions(config=config, data=data, keys=keys, **given)
    try:
        return serve(options, partial(print, flush=True))
    except (GatewayError, ConsentError) as error:
        print(f"einlass: {error}\n  {error.hint}", file=sys.stderr)  # noqa: T201 - it is a command
        return 1


if __name__ == "__main__":
    sys.exit(main())
