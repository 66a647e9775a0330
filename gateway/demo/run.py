"""Runs the demo: server and sandbox up, a week in, real purchases, segments, a sync, withdrawals.

Uses the command line and the HTTP interfaces only, as a user would. Anything that is not as it
must be is named on the screen and makes the exit status 1.
"""

import secrets
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

import httpx
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from gateway.demo.chance import seeded
from gateway.demo.people import Shopper, Story, shoppers
from gateway.demo.platforms import AdminPort, Sandbox, digest_of, wait_until
from gateway.demo.programs import Programs, free_port, fresh_folder
from gateway.demo.purchases import write_orders
from gateway.demo.screen import Report, show
from gateway.demo.sending import send
from gateway.demo.week import week
from gateway.errors import GatewayError

__all__ = ["run_demo"]

_SEED, _PEOPLE = 20240519, 2_000
_PORTS = (8080, 8081, 8089)
_AUDIENCE, _WITHDRAWALS = "high_interest", 3
_PLATFORMS = {"meta": "5678", "google": "6667"}  # the audiences of the generated configuration
_AGREE = (Story.GRANTED, Story.WITHDRAWN)  # the latter until the middle of the week
_REMOVAL_SECONDS = 30.0
_FOLDER = Path("demo-data")


def _free_ports() -> tuple[int, int, int]:
    return free_port(_PORTS[0]), free_port(_PORTS[1]), free_port(_PORTS[2])


@dataclass(slots=True)
class _Shop:
    """Where everything is, and what was found so far."""

    folder: Path
    programs: Programs
    console: Console
    count: int
    ports: tuple[int, int, int] = field(default_factory=_free_ports)
    write_key: str = field(default_factory=lambda: f"wk_{secrets.token_hex(16)}", repr=False)
    server_key: str = field(default_factory=lambda: f"sk_{secrets.token_hex(32)}", repr=False)
    people: list[Shopper] = field(default_factory=list, repr=False)
    report: Report = field(default_factory=Report)

    @property
    def config(self) -> Path:
        return self.folder / "shop" / "einlass.toml"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports[0]}"

    @property
    def admin(self) -> AdminPort:
        return AdminPort(f"http://127.0.0.1:{self.ports[1]}", self.data)

    @property
    def sandbox(self) -> Sandbox:
        return Sandbox(f"http://127.0.0.1:{self.ports[2]}")


def run_demo(
    *, exit_after: bool, console: Console, folder: Path | None = None, people: int = _PEOPLE
) -> int:
    """Run the demo for so many people and return the exit status: 1 when anything is amiss.

    Without ``exit_after`` the server runs on after the last screen, until Ctrl-C.
    """
    folder = folder or _FOLDER
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        fresh_folder(folder)
        with Programs(folder) as programs:
            shop = _Shop(folder, programs, console, people)
            return _run(shop, exit_after=exit_after)
    except (GatewayError, httpx.HTTPError, OSError) as error:
        console.print(f"[bold red]the demo stopped:[/] {error}", highlight=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("stopped")
        return 1
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _run(shop: _Shop, *, exit_after: bool) -> int:
    columns = (
        SpinnerColumn(finished_text="[green]✓"),
        TextColumn("{task.description}"),
        BarColumn(bar_width=10),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    began = time.monotonic()
    with Progress(*columns, console=shop.console) as bar:
        for step in (_start, _send_week, _import_purchases, _evaluate, _sync, _withdraw, _settle):
            step(shop, bar)
    show(shop.report, shop.console)
    took = time.monotonic() - began
    shop.console.print(f"took {took:.0f} s; everything is in {shop.folder}/")
    if not exit_after and not shop.report.problems:
        _serve_on(shop)
    return 1 if shop.report.problems else 0


@contextmanager
def _step(bar: Progress, title: str, total: int = 1) -> Iterator[TaskID]:
    task = bar.add_task(title, total=total)
    yield task
    bar.update(task, completed=total)


def _start(shop: _Shop, bar: Progress) -> None:
    collector, admin, sandbox = map(str, shop.ports)
    with _step(bar, "start server and simulated platforms"):
        keys = ("--write-key", shop.write_key, "--server-key", shop.server_key)
        shop.programs.run("init", str(shop.config.parent), *keys)
        text = shop.config.read_text(encoding="utf-8")
        text = text.replace(f"port = {_PORTS[2]}", f"port = {sandbox}")
        shop.config.write_text(text, encoding="utf-8")
        shop.programs.start("sandbox", "sandbox", "--port", sandbox)
        places = ("--config", str(shop.config), "--data", str(shop.data))
        shop.programs.start("server", "serve", *places, "--port", collector, "--admin-port", admin)
        shop.programs.wait_for("sandbox", f"{shop.sandbox.url}/_sandbox/audiences")
        shop.programs.wait_for("server", f"{shop.url}/health/ready")
        shop.programs.wait_for("server", f"{shop.admin.url}/health/ready")


def _send_week(shop: _Shop, bar: Progress) -> None:
    random = seeded(_SEED)
    shop.people = shoppers(shop.count, random)
    calls = week(shop.people, datetime.now(UTC), random)  # noqa: TID251 - the story ends today
    title = f"send a week of {shop.count:,} people by Segment SDK"
    with _step(bar, title, len(calls)) as task:
        send(calls, shop.url, (shop.write_key, shop.server_key), _teller(bar, task))
    shop.report.entered += len(calls)


def _teller(bar: Progress, task: TaskID) -> Callable[[int], None]:
    return lambda done: bar.update(task, completed=done)


def _import_purchases(shop: _Shop, bar: Progress) -> None:
    path = shop.folder / "cdnow-orders.csv"
    today = datetime.now(UTC).date()  # noqa: TID251 - purchases are moved to the present
    written = write_orders(path, today, seeded(_SEED))
    with _step(bar, f"import {written.rows:,} real purchases (CDNOW)"):
        found = shop.programs.ask("import", "orders", str(path), "--data", str(shop.data))
    shop.console.print(
        f"  CDNOW: purchases of {written.people:,} real customers, 1997 to 1998. For this demo the"
        f" dates were moved by {written.days:,} days, the amounts read as euros,"
        " and the consent columns made up from a seed.",
        highlight=False,
    )
    if found["rows"] != written.rows:
        shop.report.problems.append(f"{found['rows']} of {written.rows} purchases were imported")
    shop.report.entered += written.rows


def _evaluate(shop: _Shop, bar: Progress) -> None:
    definitions = str(shop.config.parent / "segments" / "shop.yaml")
    with _step(bar, "evaluate four segments"):
        members = shop.programs.ask("segments", "evaluate", definitions, "--data", str(shop.data))
        shop.report.sizes = shop.programs.ask("segments", "sizes", "--data", str(shop.data))
    for name, found in members.items():
        if not found:
            shop.report.problems.append(f"nobody is in the segment {name}")


def _sync(shop: _Shop, bar: Progress) -> None:
    with _step(bar, f"sync {_AUDIENCE} to both platforms"):
        shop.programs.ask("audiences", "sync", _AUDIENCE, "--data", str(shop.data))
        shop.report.before = {
            platform: sum(audiences.values())
            for platform, audiences in shop.sandbox.people().items()
        }
    unasked = {digest_of(one.email) for one in shop.people if one.story not in _AGREE}
    for platform in _PLATFORMS:
        if not shop.report.before.get(platform):
            shop.report.problems.append(f"{platform} received nobody")
        if _emails_held(shop, platform) & unasked:
            shop.report.problems.append(f"{platform} received somebody who never agreed")


def _emails_held(shop: _Shop, platform: str) -> frozenset[str]:
    return shop.sandbox.digests(platform, _PLATFORMS[platform])


def _withdraw(shop: _Shop, bar: Progress) -> None:
    held = _emails_held(shop, "meta") & _emails_held(shop, "google")
    leaving = [
        one for one in shop.people if one.story is Story.GRANTED and digest_of(one.email) in held
    ][:_WITHDRAWALS]
    if len(leaving) < _WITHDRAWALS:
        shop.report.problems.append("fewer than three members are at both platforms")
        return
    gone = {digest_of(one.email) for one in leaving}
    bearer = {"Authorization": f"Bearer {shop.server_key}"}
    with _step(bar, "three members withdraw", _WITHDRAWALS) as task:
        for number, one in enumerate(leaving, 1):
            answer = httpx.post(
                f"{shop.url}/v1/consent/withdraw",
                json={"user_id": one.user_id, "purposes": "all"},
                headers=bearer,
                timeout=10,
                trust_env=False,
            )
            answer.raise_for_status()
            bar.update(task, completed=number)
    acknowledged = time.monotonic()
    with _step(bar, "both platforms remove them"):
        removed = wait_until(
            lambda: not any(gone & _emails_held(shop, each) for each in _PLATFORMS),
            _REMOVAL_SECONDS,
        )
    if removed:
        shop.report.removal_ms = round((time.monotonic() - acknowledged) * 1000)
    else:
        shop.report.problems.append("a platform still holds a member who withdrew")


def _settle(shop: _Shop, bar: Progress) -> None:
    report = shop.report
    with _step(bar, "balance the books"):
        wait_until(lambda: not shop.admin.balance()["residue"], 5.0)
        report.balance, report.outcomes = shop.admin.balance(), shop.admin.outcomes()
        report.received = shop.sandbox.people()
        requests: dict[str, int] = {}
        for entry in shop.sandbox.journal():
            requests[entry["platform"]] = requests.get(entry["platform"], 0) + 1
        report.requests = requests
    if report.balance["residue"]:
        report.problems.append(f"the balance has a residue of {report.balance['residue']}")
    counted = sum(report.outcomes.values())
    if counted != report.entered:
        report.problems.append(f"{report.entered} events went in, {counted} have an outcome")


def _serve_on(shop: _Shop) -> None:
    console = shop.console
    console.print(f"\nThe server runs on. Collector: {shop.url}  admin: {shop.admin.url}")
    console.print(f"Look around with: einlass audiences status --data {shop.data}")
    console.print("Ctrl-C ends it.")
    try:
        while True:
            signal.pause()
    except KeyboardInterrupt:
        console.print("stopped")
