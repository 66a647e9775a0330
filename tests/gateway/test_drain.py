"""The courier's socket: what it answers, and what its silence means."""

import asyncio
import json
import os
import stat
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from gateway.drain import drain, is_dead, lock, ping, serve, wake


async def at_once(position: int) -> int:
    return position


async def never(position: int) -> int:
    await asyncio.Event().wait()
    return position


def ask(
    folder: Path, on_drain: Callable[[int], Awaitable[int]], question: Callable[[], Awaitable[bool]]
) -> tuple[bool, int]:
    """Return the client's answer and how often the courier was woken."""
    woken = []

    async def both() -> bool:
        async with await serve(folder / "c.sock", on_drain, lambda: woken.append(1)):
            return await question()

    return asyncio.run(both()), len(woken)


def test_a_drained_position_is_true_and_wakes_the_courier(tmp_path: Path) -> None:
    answer = ask(tmp_path, at_once, lambda: drain(tmp_path / "c.sock", tmp_path / "c.lock", 7, 1.0))
    assert answer == (True, 1)


def test_an_older_position_is_not_drained(tmp_path: Path) -> None:
    async def behind(position: int) -> int:
        return position - 1

    answer = ask(tmp_path, behind, lambda: drain(tmp_path / "c.sock", tmp_path / "c.lock", 7, 1.0))
    assert answer[0] is False


def test_a_courier_that_lives_and_is_silent_is_not_drained(tmp_path: Path) -> None:
    holder = lock(tmp_path / "c.lock")
    assert holder is not None
    answer = ask(tmp_path, never, lambda: drain(tmp_path / "c.sock", tmp_path / "c.lock", 7, 0.05))
    os.close(holder)
    assert answer[0] is False


def test_no_socket_and_a_lock_that_is_held_is_not_drained(tmp_path: Path) -> None:
    holder = lock(tmp_path / "c.lock")
    assert holder is not None
    found = asyncio.run(drain(tmp_path / "c.sock", tmp_path / "c.lock", 7, 1.0))
    os.close(holder)
    assert found is False


def test_a_dead_courier_is_drained(tmp_path: Path) -> None:
    holder = lock(tmp_path / "c.lock")
    assert holder is not None
    os.close(holder)
    assert asyncio.run(drain(tmp_path / "c.sock", tmp_path / "c.lock", 7, 1.0)) is True


def test_a_courier_that_never_ran_is_dead(tmp_path: Path) -> None:
    assert is_dead(tmp_path / "c.lock")


def test_a_killed_process_lets_go_of_the_lock(tmp_path: Path) -> None:
    code = "import sys,time,gateway.drain as d,pathlib;"
    code += "print(d.lock(pathlib.Path(sys.argv[1])) is not None, flush=True);time.sleep(60)"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "c.lock")], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        assert not is_dead(tmp_path / "c.lock")
        other.kill()
    assert is_dead(tmp_path / "c.lock")


def test_a_second_courier_gets_no_lock(tmp_path: Path) -> None:
    holder = lock(tmp_path / "c.lock")
    assert holder is not None
    assert lock(tmp_path / "c.lock") is None
    os.close(holder)


def test_the_socket_is_for_the_owner_alone(tmp_path: Path) -> None:
    async def mode() -> bool:
        return stat.S_IMODE((tmp_path / "c.sock").stat().st_mode) == 0o600

    assert ask(tmp_path, at_once, mode)[0]


def test_a_socket_left_by_a_dead_courier_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "c.sock").touch()
    assert ask(tmp_path, at_once, lambda: ping(tmp_path / "c.sock", 1.0))[0]


def test_a_folder_too_deep_for_a_socket_address_works(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    assert ask(deep, at_once, lambda: ping(deep / "c.sock", 1.0))[0]


def test_nobody_answers_a_ping_where_no_courier_is(tmp_path: Path) -> None:
    assert asyncio.run(ping(tmp_path / "c.sock", 0.1)) is False


def test_a_wake_from_synchronous_code_arrives(tmp_path: Path) -> None:
    async def woken() -> bool:
        await asyncio.to_thread(wake, tmp_path / "c.sock", 3)
        await asyncio.sleep(0.05)
        return True

    assert ask(tmp_path, at_once, woken) == (True, 1)


def test_a_wake_nobody_hears_is_no_error(tmp_path: Path) -> None:
    wake(tmp_path / "c.sock", 3)


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        (b"{", {"error": "malformed"}),
        (b"[1]", {"error": "unknown_request"}),
        (b'{"drain": true}', {"error": "unknown_request"}),
        (b'{"drain": "7"}', {"error": "unknown_request"}),
        (b'{"fly": 1}', {"error": "unknown_request"}),
        (b'{"wake": 1}', {"pong": 1}),
    ],
)
def test_other_lines_are_answered_and_harmless(
    tmp_path: Path, line: bytes, answer: dict[str, object]
) -> None:
    async def raw() -> bool:
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "c.sock"))
        writer.write(line + b"\n")
        found = json.loads(await reader.readline())
        writer.close()
        return bool(found == answer)

    assert ask(tmp_path, at_once, raw)[0]


def test_a_line_without_end_closes_the_connection(tmp_path: Path) -> None:
    async def flood() -> bool:
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "c.sock"))
        writer.write(b"x" * 100_000)
        ended = await reader.read() == b""
        writer.close()
        return ended

    assert ask(tmp_path, at_once, flood)[0]


@pytest.mark.parametrize("answer", [b"[]", b"not json", b""])
def test_an_answer_that_cannot_be_read_is_not_drained(tmp_path: Path, answer: bytes) -> None:
    async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(answer + b"\n")
        writer.close()

    async def question() -> bool:
        async with await asyncio.start_unix_server(garbage, str(tmp_path / "c.sock")):
            return await drain(tmp_path / "c.sock", tmp_path / "c.lock", 7, 1.0)

    holder = lock(tmp_path / "c.lock")
    assert holder is not None
    found = asyncio.run(question())
    os.close(holder)
    assert found is False


def test_the_client_needs_the_standard_library_alone() -> None:
    code = "import gateway.drain, sys; print(*sorted(m.split('.')[0] for m in sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(found.stdout.split())
    assert not loaded & {"sqlalchemy", "sqlmodel", "httpx", "structlog", "duckdb", "pyarrow"}
