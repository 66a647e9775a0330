"""The `einlass` command: every subcommand in one place, each a few lines over the parts.

Results go to standard output (``--json`` for machines), everything else to standard error. Exit
codes: 0 done, 1 failed, 2 wrong use.
"""

import json
import os
import secrets
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from consent.errors import ConsentError
from gateway.errors import GatewayError, SettingsError

__all__ = [
    "app",
    "audiences_status",
    "audiences_sync",
    "demo",
    "doctor",
    "events_list",
    "import_",
    "init",
    "main",
    "sandbox",
    "segments_evaluate",
    "segments_explain",
    "segments_sizes",
    "serve",
    "subjects_resolve",
]

app = typer.Typer(
    name="einlass",
    help="Privacy-first tracking and consent gateway.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
_events = typer.Typer(help="Stored, consented events.", no_args_is_help=True)
_segments = typer.Typer(help="Segments over consented behaviour.", no_args_is_help=True)
_audiences = typer.Typer(help="Audiences kept in sync at ad platforms.", no_args_is_help=True)
_subjects = typer.Typer(help="Identifiers and pseudonyms.", no_args_is_help=True)
app.add_typer(_events, name="events")
app.add_typer(_segments, name="segments")
app.add_typer(_audiences, name="audiences")
app.add_typer(_subjects, name="subjects")

_Data = Annotated[Path, typer.Option("--data", help="The data directory.")]
_Config = Annotated[
    Path | None, typer.Option("--config", help="The configuration; default: noted in --data.")
]
_Keys = Annotated[
    Path | None, typer.Option("--keys", help="The key ring; default: noted in --data.")
]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
_At = Annotated[
    int | None, typer.Option("--at", help="Instant in epoch milliseconds; default: now.")
]


def main() -> None:
    """Run the command; errors become one clear line and exit code 1."""
    try:
        app()
    except (GatewayError, ConsentError) as error:
        _fail(error, error.hint)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _fail(error: Exception, hint: str) -> None:
    print(f"einlass: {error}\n  {hint}", file=sys.stderr)
    sys.exit(1)


@app.command()
def init(
    directory: Annotated[Path, typer.Argument(help="Folder for the configuration.")],
    write_key: Annotated[str | None, typer.Option(help="Public key of the browser source.")] = None,
    server_key: Annotated[str | None, typer.Option(help="Secret key of the server source.")] = None,
) -> None:
    """Write a commented einlass.toml for a shop."""
    from gateway.configuration.init import init as write

    for path in write(directory, write_key, server_key, secrets.token_bytes):
        print(path)
    print(f"next: einlass serve --config {directory / 'einlass.toml'} --data {directory / 'data'}")


@app.command()
def serve(
    config: Annotated[Path, typer.Option(help="The configuration.")],
    data: _Data,
    keys: _Keys = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Collector port; 0 takes any.")] = 8080,
    admin_port: Annotated[int, typer.Option(help="Admin port; 0 takes any.")] = 8081,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Front workers.")] = 1,
) -> None:
    """Serve in the foreground until SIGTERM; print one line when ready."""
    if not config.exists():
        raise SettingsError("no such configuration file: run `einlass init DIR`", "config")
    options = {
        "config": str(config),
        "data": str(data),
        "keys": str(keys or config.parent / "keys"),
        "host": host,
        "port": port,
        "admin_port": admin_port,
        "workers": workers,
    }
    # A fresh interpreter: what the command line imported stays out of every server process.
    command = [sys.executable, "-m", "gateway.serving", json.dumps(options)]
    os.execv(sys.executable, command)  # noqa: S606 - our own interpreter, no shell


@app.command()
def demo(
    *,
    exit_after: Annotated[bool, typer.Option("--exit", help="End instead of serving on.")] = False,
    folder: Annotated[Path | None, typer.Option(help="Working folder; made anew.")] = None,
) -> None:
    """Run a shop's week end to end against simulated platforms."""
    from rich.console import Console

    from gateway.demo.run import run_demo

    raise typer.Exit(run_demo(exit_after=exit_after, console=Console(), folder=folder))


@app.command()
def doctor(
    config: _Config = None,
    data: Annotated[Path | None, typer.Option("--data", help="The data directory.")] = None,
    keys: _Keys = None,
    *,
    as_json: _Json = False,
) -> None:
    """Explain what is wrong with a configuration or a data directory."""
    from gateway.doctor import Level, examine

    if config is None and data is not None:
        from gateway.datadir import DataDir

        config, noted = DataDir(data).recall()
        keys = keys or noted
    findings = examine(config, data, keys)
    if as_json:
        print(json.dumps([finding.to_dict() for finding in findings], indent=2))
    else:
        for finding in findings:
            place = f" {finding.file}:{finding.line}" if finding.file else ""
            print(f"{finding.level:7} {finding.code}{place}: {finding.message}")
            if finding.hint:
                print(f"        {finding.hint}")
    if any(finding.level is Level.ERROR for finding in findings):
        raise typer.Exit(1)


@_events.command("list")
def events_list(
    data: _Data, config: _Config = None, keys: _Keys = None, *, as_json: _Json = False
) -> None:
    """Print stored events in log order, one a line; works with the server up or down."""
    from gateway.commands import each_event

    for event in each_event(data, config, keys):
        if as_json:
            print(json.dumps(event, ensure_ascii=False))
        else:
            print(event["position"], event["t"], event["name"], event["subject"], event["source"])


@app.command("import")
def import_(
    kind: Annotated[str, typer.Argument(help="events, people, orders or consents.")],
    file: Annotated[Path, typer.Argument(help="CSV, JSON lines or Parquet.")],
    more: Annotated[list[str] | None, typer.Argument(help="With --replay: KIND FILE …")] = None,
    *,
    data: _Data,
    config: _Config = None,
    keys: _Keys = None,
    mapping: Annotated[Path | None, typer.Option(help="Column → our name (TOML or JSON).")] = None,
    source: Annotated[str | None, typer.Option(help="Source the rows belong to.")] = None,
    replay: Annotated[bool, typer.Option("--replay", help="Keep given receive times.")] = False,
    as_json: _Json = False,
) -> None:
    """Import rows through the same door as live events."""
    from gateway.commands import import_files

    with _progress("importing") as tell:
        summary = import_files(
            (data, config, keys),
            [kind, str(file), *(more or [])],
            mapping,
            source,
            replay=replay,
            progress=tell,
        )
    print(json.dumps(summary) if as_json else "\n".join(f"{k}: {v}" for k, v in summary.items()))


@_segments.command("evaluate")
def segments_evaluate(
    file: Annotated[Path, typer.Argument(help="Definitions in YAML.")],
    data: _Data,
    config: _Config = None,
    keys: _Keys = None,
    at: _At = None,
    engine: Annotated[str, typer.Option(help="duckdb, chdb or clickhouse.")] = "duckdb",
    *,
    as_json: _Json = False,
) -> None:
    """Print the members of each definition at one instant, as sorted pseudonyms."""
    from gateway.commands import ask_engine

    request = {"text": _text(file), "at": at, "engine": engine}
    found = ask_engine((data, config, keys), "evaluate", request)
    if as_json:
        print(json.dumps({name: one["members"] for name, one in found.items()}))
        return
    rows = [
        (name, str(len(one["members"])), one["version"][:12], one["engine"])
        for name, one in found.items()
    ]
    _print_table(("segment", "members", "version", "engine"), rows)


@_segments.command("explain")
def segments_explain(
    file: Annotated[Path, typer.Argument(help="Definitions in YAML.")],
    name: Annotated[str, typer.Option(help="Which definition.")],
    subject: Annotated[str, typer.Option(help="The person's pseudonym.")],
    data: _Data,
    config: _Config = None,
    keys: _Keys = None,
    at: _At = None,
    *,
    as_json: _Json = False,
) -> None:
    """Print every condition of one definition for one person, with its evidence."""
    from gateway.commands import ask_engine

    request = {"text": _text(file), "name": name, "subject": subject, "at": at}
    found = ask_engine((data, config, keys), "explain", request)
    print(json.dumps(found, indent=None if as_json else 2, ensure_ascii=False))


@_segments.command("sizes")
def segments_sizes(
    data: _Data,
    config: _Config = None,
    keys: _Keys = None,
    at: _At = None,
    *,
    as_json: _Json = False,
) -> None:
    """Print the size of every configured segment, protected against small numbers."""
    from gateway.commands import ask_engine

    found = ask_engine((data, config, keys), "sizes", {"at": at})
    print(json.dumps(found) if as_json else "\n".join(f"{k}: {v}" for k, v in found.items()))


@_audiences.command("sync")
def audiences_sync(
    name: Annotated[str, typer.Argument(help="The audience in the configuration.")],
    data: _Data,
    config: _Config = None,
    keys: _Keys = None,
    wait: Annotated[
        float, typer.Option(help="Seconds to wait for the platforms; 0: do not.")
    ] = 120,
    *,
    as_json: _Json = False,
) -> None:
    """Evaluate one audience now and bring it up to date at its destinations."""
    from gateway.commands import ask_engine, wait_for_audience

    with _progress("evaluating") as tell:
        changes = ask_engine((data, config, keys), "sync", {"audience": name}, tell)
    settled = True
    if wait:
        with _progress("syncing") as tell:
            settled = wait_for_audience(data, name, wait, tell)
    print(
        json.dumps({"changes": changes, "settled": settled})
        if as_json
        else _changes(changes, settled)
    )
    if not settled:
        raise typer.Exit(1)


def _changes(changes: dict[str, Any], settled: bool) -> str:  # noqa: FBT001 - a plain sentence
    lines = [
        f"{name}: {one['entering']} enter, {one['leaving']} leave" for name, one in changes.items()
    ]
    return "\n".join(
        [*lines, "settled" if settled else "not settled in time: see audiences status"]
    )


@_audiences.command("status")
def audiences_status(
    data: _Data, config: _Config = None, keys: _Keys = None, *, as_json: _Json = False
) -> None:
    """Print how each audience stands at each destination."""
    from gateway.commands import ask_engine

    found = ask_engine((data, config, keys), "status", {})
    if as_json:
        print(json.dumps(found))
        return
    rows = [
        (
            one["audience"],
            one["destination"],
            str(one["size"]),
            str(one["pending"]),
            str(one["states"]["removing"]),
            ", ".join(one["parked"]),
            one["last_error"],
        )
        for one in found
    ]
    titles = ("audience", "destination", "size", "pending", "removing", "parked", "last error")
    _print_table(titles, rows)


@_subjects.command("resolve")
def subjects_resolve(
    file: Annotated[Path, typer.Argument(help="Identifiers, one a line.")],
    id_type: Annotated[str, typer.Option("--type", help="user_id, anonymous_id, email or phone.")],
    data: _Data,
    config: _Config = None,
    keys: _Keys = None,
    *,
    as_json: _Json = False,
) -> None:
    """Print identifiers with their pseudonyms; forward only, and noted in the audit log."""
    from gateway.commands import resolve_subjects

    found = resolve_subjects((data, config, keys), _text(file).splitlines(), id_type)
    if as_json:
        print(json.dumps(found, ensure_ascii=False))
    else:
        for given, subject in found.items():
            print(f"{given}\t{subject or '-'}")


@app.command()
def sandbox(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 8089,
) -> None:
    """Serve simulated ad platforms that refuse what the real ones refuse."""
    from gateway.sandbox.runner import run

    run("127.0.0.1", port, lambda url: print(f"einlass sandbox is ready: {url}", flush=True))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path.name}: cannot be read as text", "file") from error


def _print_table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*titles)
    for row in rows:
        table.add_row(*row)
    Console().print(table)


@contextmanager
def _progress(label: str) -> Iterator[Callable[[int, int | None], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
