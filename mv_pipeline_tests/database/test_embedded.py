"""The embedded server: it is refused where starting it would open directories, and stops with its last holder."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import psycopg
import pytest

from mv_pipeline.database.embedded import EmbeddedServerError, running_server
from mv_pipeline.settings import Settings

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root's server runs under another user")


@pytest.fixture
def home():
    path = Path(tempfile.mkdtemp(prefix="mvp-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def is_running(settings):
    """True if the server answers."""
    try:
        psycopg.connect(settings.resolved_database_url()).close()
    except psycopg.OperationalError:
        return False
    return True


def settings_for(home):
    return Settings(home=home, database_url=None, dagster_url=None)


def test_it_runs_while_held_and_stops_afterwards(home):
    settings = settings_for(home)

    with running_server(settings), psycopg.connect(settings.resolved_database_url()) as connection:
        assert connection.info.server_version >= 160000
        assert is_running(settings)

    assert not is_running(settings)


def test_it_brings_both_databases(home):
    settings = settings_for(home)

    with running_server(settings):
        for url in (settings.resolved_database_url(), settings.resolved_dagster_url()):
            psycopg.connect(url).close()


def test_only_its_owner_can_enter_the_folder_of_its_socket(home):
    settings = settings_for(home)

    with running_server(settings):
        assert settings.server_dir.stat().st_mode & 0o077 == 0
        assert (settings.server_dir / ".s.PGSQL.5432").is_socket()


def test_the_folder_belongs_to_the_user_that_the_server_runs_under(home):
    settings = settings_for(home)

    with running_server(settings):
        server = psutil.Process(int((settings.server_dir / "postmaster.pid").read_text().split()[0]))
        owners = {server.uids().real, settings.server_dir.stat().st_uid}

    assert len(owners) == 1
    assert os.geteuid() != 0 or owners != {0}


@as_root
def test_another_user_does_not_reach_the_socket(home):
    settings = settings_for(home)
    nobody = 65534

    with running_server(settings), socket.socket(socket.AF_UNIX) as client:
        os.seteuid(nobody)
        try:
            with pytest.raises(PermissionError):
                client.connect(str(settings.server_dir / ".s.PGSQL.5432"))
        finally:
            os.seteuid(0)


def test_a_folder_that_others_can_enter_is_refused(home):
    settings = settings_for(home)
    with running_server(settings):
        pass
    settings.server_dir.chmod(0o750)  # as open as PostgreSQL itself lets it be

    with pytest.raises(EmbeddedServerError, match="chmod 700"), running_server(settings):
        pass

    assert not is_running(settings)


def test_it_listens_on_no_network_address(home):
    settings = settings_for(home)

    with running_server(settings), psycopg.connect(settings.resolved_database_url()) as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)


def test_a_holder_that_was_killed_does_not_keep_it_running(home):
    settings = settings_for(home)
    code = (
        "import os, signal\n"
        "from mv_pipeline.settings import load_settings\n"
        "from mv_pipeline.database.embedded import running_server\n"
        "with running_server(load_settings()): os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {**os.environ, "MV_PIPELINE_HOME": str(home)}
    environment.pop("MV_PIPELINE_DATABASE_URL", None)
    killed = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    assert is_running(settings)

    with running_server(settings):
        pass

    assert not is_running(settings)


def test_a_server_of_ones_own_is_left_alone(home):
    with running_server(Settings(home=home / "never", database_url="postgresql://db/plant")):
        assert not (home / "never").exists()


def test_a_path_too_long_for_a_socket_is_refused(home):
    long = home / ("x" * 100)

    with (
        pytest.raises(EmbeddedServerError, match=r"too long for a Unix socket .* MV_PIPELINE_HOME"),
        running_server(settings_for(long)),
    ):
        pass

    assert not (long / "postgres").exists()


@as_root
def test_as_root_a_closed_parent_is_refused_and_stays_closed(home):
    closed = home / "closed"
    closed.mkdir(mode=0o700)

    with (
        pytest.raises(EmbeddedServerError, match=f"can't enter {closed}, .* ordinary user"),
        running_server(settings_for(closed / "home")),
    ):
        pass

    assert closed.stat().st_mode & 0o777 == 0o700


@as_root
def test_as_root_no_parent_is_opened_wider(home):
    before = {path: path.stat().st_mode for path in (home, *home.parents)}

    with running_server(settings_for(home)):
        pass

    assert {path: path.stat().st_mode for path in before} == before
