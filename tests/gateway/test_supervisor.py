import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest
import structlog

from gateway.errors import PortTakenError, SettingsError, StoreLockedError
from gateway.supervisor import Child, Supervisor, _Place, bind
from tests.gateway.program import Program, is_alive, running, until

Ready = Callable[[], None]


def _calm(ready: Ready) -> None:
    ready()
    signal.pause()


def _stop_self() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture(name="calm")
def _start_calm() -> Iterator[Program]:
    with running("calm") as program:
        program.read("ready")
        yield program


# Whole programs


def test_killed_child_is_replaced_and_readiness_said_once(calm: Program) -> None:
    os.kill(calm.pids()[0], signal.SIGKILL)
    assert calm.read_pid() not in calm.pids()[:-1]
    calm.send(signal.SIGTERM)
    assert calm.wait() == 0
    assert calm.lines.count("ready") == 1


def test_stop_ends_all_children_and_exits_0(calm: Program) -> None:
    calm.send(signal.SIGTERM)
    assert calm.wait() == 0
    assert not any(map(is_alive, calm.pids()))


def test_interrupt_from_the_terminal_stops_too(calm: Program) -> None:
    calm.send(signal.SIGINT)
    assert calm.wait() == 0


def test_hangup_is_ignored(calm: Program) -> None:
    calm.send(signal.SIGHUP)
    os.kill(calm.pids()[0], signal.SIGKILL)
    assert calm.read_pid() > 0


def test_children_die_with_a_killed_supervisor(calm: Program) -> None:
    calm.send(signal.SIGKILL)
    assert until(lambda: not any(map(is_alive, calm.pids())))


def test_child_that_will_not_stop_is_killed_after_the_grace() -> None:
    with running("stubborn") as program:
        program.read("ready")
        start = time.monotonic()
        program.send(signal.SIGTERM)
        assert program.wait() == 0
        assert time.monotonic() - start < 5
        assert not any(map(is_alive, program.pids()))


def test_second_stop_kills_at_once() -> None:
    with running("patient") as program:
        program.read("ready")
        program.send(signal.SIGTERM)
        assert not until(lambda: program.process.poll() is not None, 0.3)
        program.send(signal.SIGTERM)
        assert program.wait() == 0
        assert not any(map(is_alive, program.pids()))


# In this process


def test_ready_children_make_the_server_ready() -> None:
    assert Supervisor([Child("one", _calm, count=2)], on_ready=_stop_self).run() == 0


def test_children_that_are_not_essential_are_not_waited_for() -> None:
    idle = Child("idle", lambda _ready: signal.pause(), essential=False)
    assert Supervisor([Child("one", _calm), idle], on_ready=_stop_self).run() == 0


def _stubborn(ready: Ready) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ready()
    while True:
        time.sleep(60)


def test_readiness_is_said_once_however_often_a_child_comes_back() -> None:
    read, write = os.pipe()
    os.write(write, b"first, second")
    said: list[str] = []

    def comes_back(ready: Ready) -> None:
        ready()
        if os.read(read, 7) == b"second":
            time.sleep(0.2)  # so that the supervisor hears it before it hears the stop
            os.kill(os.getppid(), signal.SIGTERM)
            signal.pause()

    assert Supervisor([Child("one", comes_back)], on_ready=lambda: said.append("ready")).run() == 0
    os.close(read)
    os.close(write)
    assert said == ["ready"]


def test_grace_has_an_end() -> None:
    supervisor = Supervisor([Child("mule", _stubborn)], on_ready=_stop_self, grace_seconds=0.1)
    assert supervisor.run() == 0


def test_nobody_need_be_told_of_readiness() -> None:
    def stops_all(ready: Ready) -> None:
        ready()
        os.kill(os.getppid(), signal.SIGTERM)
        signal.pause()

    assert Supervisor([Child("one", stops_all)]).run() == 0


def test_child_that_stops_on_its_own_is_started_again() -> None:
    read, write = os.pipe()

    def counts(_ready: Ready) -> None:
        os.write(write, b"x")
        if len(os.read(read, 10)) == 1 and os.getppid():
            os.write(write, b"xx")
            return
        os.kill(os.getppid(), signal.SIGTERM)
        signal.pause()

    with structlog.testing.capture_logs() as logs:
        assert Supervisor([Child("one", counts)]).run() == 0
    os.close(read)
    os.close(write)
    assert [log["event"] for log in logs].count("child_started") == 2
    assert next(log for log in logs if log["event"] == "child_exited")["code"] == 0


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StoreLockedError("locked"), 1),
        (ValueError("canary"), 1),
        (SystemExit(3), 3),
        (SystemExit("text"), 1),
    ],
)
def test_child_that_refuses_to_start_ends_the_server(error: BaseException, code: int) -> None:
    def refuses(_ready: Ready) -> None:
        raise error

    with structlog.testing.capture_logs() as logs:
        assert Supervisor([Child("one", refuses), Child("two", _calm)]).run() == 1
    exited = next(log for log in logs if log["event"] == "child_exited" and log["name"] == "one")
    assert exited["code"] == code


def test_signals_are_as_they_were_afterwards() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)]
    Supervisor([Child("one", _calm)], on_ready=_stop_self).run()
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)] == before


def test_child_keeps_only_its_own_sockets_and_newcomers_are_refused_at_the_stop() -> None:
    kept, other = bind("127.0.0.1", 0), bind("127.0.0.1", 0)

    def checks(ready: Ready) -> None:
        assert kept.fileno() >= 0
        assert other.fileno() == -1
        ready()
        signal.pause()

    supervisor = Supervisor(
        [Child("one", checks, sockets=(kept,))], sockets=(kept, other), on_ready=_stop_self
    )
    assert supervisor.run() == 0
    assert (kept.fileno(), other.fileno()) == (-1, -1)


def _delays(*lives: float, ready: bool = False) -> list[float]:
    """Return the delay before each restart of a child that lives so long."""
    now = [0.0]
    supervisor = Supervisor([], clock=lambda: now[0])
    place = _Place(Child("one", _calm), ready=ready)
    found = []
    for life in lives:
        place.started = now[0]
        now[0] += life
        supervisor._plan_restart(place)
        found.append(round(place.due - now[0], 3))
    return found


def test_first_restart_is_immediate_and_early_deaths_slow_it_to_five_seconds() -> None:
    assert _delays(*[0.5] * 8) == [0, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5]


def test_long_life_is_forgiven() -> None:
    assert _delays(0.5, 0.5, 0.5, 10, 0.5) == [0, 0.2, 0.4, 0, 0]


def test_middling_life_restarts_at_once_but_is_not_forgiven() -> None:
    assert _delays(0.5, 0.5, 3, 0.5) == [0, 0.2, 0, 0.4]


def test_one_that_had_become_ready_comes_back_within_half_a_second() -> None:
    assert _delays(*[0.5] * 6, ready=True) == [0, 0.2, 0.4, 0.5, 0.5, 0.5]


def test_patient_children_start_when_the_others_are_ready() -> None:
    read, write = os.pipe()

    def starts(name: str, ready: Ready) -> None:
        os.write(write, name.encode())
        ready()
        signal.pause()

    def starts_slowly(ready: Ready) -> None:
        time.sleep(0.1)
        starts("o", ready)

    children = [
        Child("patient", partial(starts, "p"), patient=True),
        Child("other", starts_slowly, count=2),
    ]
    assert Supervisor(children, on_ready=_stop_self).run() == 0
    began = os.read(read, 10)
    os.close(read)
    os.close(write)
    assert began == b"oop"


# Sockets


def test_bound_socket_listens_and_does_not_survive_exec() -> None:
    with bind("127.0.0.1", 0) as sock:
        assert not sock.get_inheritable()
        socket.create_connection(sock.getsockname(), timeout=5).close()


def test_taken_port_is_a_clear_error() -> None:
    with bind("127.0.0.1", 0) as sock:
        port = sock.getsockname()[1]
        with pytest.raises(PortTakenError, match=f"port {port} of 127.0.0.1 is taken"):
            bind("127.0.0.1", port)


@pytest.mark.parametrize("host", ["203.0.113.1", "2001:db8::1"])
def test_foreign_address_is_a_mistake_in_the_settings(host: str) -> None:
    with pytest.raises(SettingsError):
        bind(host, 0)
