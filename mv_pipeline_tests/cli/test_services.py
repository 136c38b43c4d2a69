"""`dev` and `serve` as real processes: who may start, and what is left when one of them is killed."""

import contextlib
import os
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from functools import partial

import psutil
import psycopg
import pytest

from mv_pipeline.settings import Settings
from mv_pipeline_tests.conftest import LONG
from mv_pipeline_tests.processes import COMMAND, TIMEOUT_S, free_port, run_command, running_dev, wait_for


@contextlib.contextmanager
def serving(service: str, **variables: str) -> Iterator[tuple[subprocess.Popen[bytes], list[psutil.Process]]]:
    """Run `mv-pipeline serve`; gives the command and its children, once there are some."""
    # As a terminal starts it, also where nohup has started the tests.
    heeding = partial(signal.signal, signal.SIGHUP, signal.SIG_DFL)
    environment = {**os.environ, **variables}
    command = [COMMAND, "serve", service]
    process = subprocess.Popen(command, env=environment, start_new_session=True, preexec_fn=heeding)
    children: list[psutil.Process] = []
    try:
        children = wait_for("it has a child", lambda: psutil.Process(process.pid).children(recursive=True))
        yield process, children
    finally:
        for one in (*children, psutil.Process(process.pid)) if process.poll() is None else children:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        process.wait(TIMEOUT_S)


def gone(processes: list[psutil.Process]) -> bool:
    return psutil.wait_procs(processes, timeout=TIMEOUT_S)[1] == []


@pytest.fixture
def port(settings: Settings) -> dict[str, str]:
    return {"MV_PIPELINE_METRICS_PORT": str(free_port())}


def test_when_the_command_is_killed_its_children_end(port):
    with serving("metrics", **port) as (process, children):
        process.kill()

        assert gone(children)


SIGNALS = [signal.SIGHUP, signal.SIGTERM, signal.SIGINT] if LONG else [signal.SIGHUP]


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_signal_stops_it_in_order(port, number):
    with serving("metrics", **port) as (process, children):
        url = f"http://127.0.0.1:{port['MV_PIPELINE_METRICS_PORT']}/metrics"
        wait_for("it answers", lambda: answers(url))
        process.send_signal(number)

        assert process.wait(TIMEOUT_S) == 0
        assert gone(children)


def test_one_that_shall_outlive_its_terminal_does(port):
    ignoring = f"trap '' HUP; exec {COMMAND} serve metrics"
    with subprocess.Popen(["sh", "-c", ignoring], env={**os.environ, **port}, start_new_session=True) as process:
        url = f"http://127.0.0.1:{port['MV_PIPELINE_METRICS_PORT']}/metrics"
        wait_for("it answers", lambda: answers(url))
        process.send_signal(signal.SIGHUP)
        assert answers(url)
        process.send_signal(signal.SIGINT)
        assert process.wait(TIMEOUT_S) == 0


def answers(url: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
        return bool(answer.read())
    return False


@pytest.mark.parametrize("arguments", [("dev",), ("serve", "daemon")], ids=" ".join)
def test_a_home_has_one_daemon(settings, arguments):
    """The second one says who holds the home, and starts nothing: neither a server nor a migration."""
    variables = {"MV_PIPELINE_PORT": str(free_port())}
    with serving("daemon") as (process, _):
        refused = run_command(*arguments, **variables, MV_PIPELINE_DATABASE_URL="postgresql://nobody@127.0.0.1:1/x")

        assert (refused.returncode, refused.stdout) == (1, "")
        assert f"{settings.home} has a daemon: process {process.pid} (" in refused.stderr
        assert "serve daemon) or what it has left running. Stop it, or set MV_PIPELINE_HOME." in refused.stderr
        assert process.poll() is None


def test_the_homes_lock_is_the_daemons_own_too(settings):
    """Where no system ends it with its parent, it is found."""
    with serving("daemon") as (_, children):
        held = [file.path for file in children[0].open_files()]

    assert str(settings.home / "daemon.lock") in held


def test_a_taken_port_is_said_before_an_address_is_printed_and_before_anything_starts(tmp_path):
    home = tmp_path / "home"
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        number = taken.getsockname()[1]
        refused = run_command("dev", MV_PIPELINE_HOME=str(home), MV_PIPELINE_PORT=str(number))

    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == (
        f"mv-pipeline: Port {number} on 127.0.0.1 is taken. Stop what uses it, or set MV_PIPELINE_PORT.\n"
    )
    assert not home.exists()


@pytest.mark.skipif(not LONG, reason="to start `dev` three times takes a minute")
def test_dev_is_killed_started_again_and_hung_up(home):
    settings, log = home
    with running_dev(settings, log) as dev:
        family = dev.family()
        dev.process.kill()
        dev.process.wait(TIMEOUT_S)
        assert gone(family)
    with running_dev(settings, log) as dev:
        again = run_command("dev", MV_PIPELINE_HOME=str(settings.home), MV_PIPELINE_PORT=str(free_port()))
        assert again.returncode == 1
        assert "has a daemon: process" in again.stderr
        with psycopg.connect(settings.resolved_database_url()) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        family = dev.family()
        dev.process.send_signal(signal.SIGHUP)
        assert dev.process.wait(TIMEOUT_S) == 0
        assert gone(family)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(settings.resolved_database_url())
