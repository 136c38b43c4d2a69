"""Where settings come from: one reading for commands and daemon, and no misspelt name without a word."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from mv_pipeline.settings import PROJECT_ROOT, Settings
from mv_pipeline_tests.processes import free_port, running_dev

MAIN = "from mv_pipeline.cli.app import main; main()"


@pytest.fixture
def project(tmp_path):
    """A copy of the project, with a `.env` of its own; returns how to run its command in another folder."""
    folder = tmp_path / "project"
    shutil.copytree(PROJECT_ROOT / "mv_pipeline", folder / "mv_pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(PROJECT_ROOT / "sql", folder / "sql")
    for name in ("dagster.yaml", "workspace.yaml"):
        shutil.copy(PROJECT_ROOT / name, folder / name)
    return folder


@pytest.fixture
def run(project, tmp_path):
    clean = {name: v for name, v in os.environ.items() if not name.startswith(("MV_PIPELINE", "DAGSTER"))}

    def run(*arguments, **variables):
        return subprocess.run(
            [sys.executable, "-c", MAIN, *arguments],
            cwd=tmp_path,
            env={**clean, "PYTHONPATH": str(project), **variables},
            capture_output=True,
            text=True,
        )

    return run


def write_env(project, text, encoding="utf-8"):
    (project / ".env").write_text(text, encoding=encoding)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_commands_read_the_projects_env_file_wherever_they_are_run(project, run, encoding):
    write_env(project, "# 設定\nMV_PIPELINE_DATABASE_URL='postgresql://db.plant/x'\n", encoding)

    assert run("url").stdout == "postgresql://db.plant/x\n"
    assert run("url", MV_PIPELINE_DATABASE_URL="postgresql://db.other/x").stdout == "postgresql://db.other/x\n"
    assert run("url", MV_PIPELINE_DATABASE_URL="").stdout == "postgresql://db.plant/x\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("MV_PIPELINE_DATABSE_URL=postgresql://db/x", "MV_PIPELINE_DATABSE_URL in {env} is no setting. "
         "Write MV_PIPELINE_DATABASE_URL, or remove it."),
        ("MV_PIPELINE_METRIC_PORT=1", "Write MV_PIPELINE_METRICS_PORT"),
        ("mv_pipeline_hom=/x", "Write MV_PIPELINE_HOME"),
        ("MV_PIPELINE_HOME=data", "MV_PIPELINE_HOME in {env} has to be an absolute path."),
        ("MV_PIPELINE_MAX_FILE_MB=many", "MV_PIPELINE_MAX_FILE_MB: Input should be a valid integer"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_it_ends_every_command_with_one_line(project, run, text, told):
    write_env(project, text)

    done = run("url")

    assert (done.returncode, done.stdout) == (1, "")
    assert told.format(env=project / ".env") in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_env_file_that_cannot_be_read_is_one_line(project, run):
    (project / ".env").write_bytes("MV_PIPELINE_HOME=/データ".encode("cp932"))

    done = run("url")

    assert done.returncode == 1
    assert f"{project / '.env'} can't be read: " in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_misspelt_variable_of_the_environment_is_named(run):
    done = run("url", MV_PIPELINE_ALERT_URL="json://x")

    assert "MV_PIPELINE_ALERT_URL in the environment is no setting. Write MV_PIPELINE_ALERT_URLS" in done.stderr


def test_others_variables_are_left_alone(run):
    done = run("url", MV_PIPELINE_PROXY_BIND="x", MV_PIPELINE_TESTS_PROFILE="x", MV_PIPELINE_SOMETHING="x")

    assert done.returncode == 0, done.stderr


def test_doctor_says_where_each_value_comes_from(project, run, settings, storage):
    home = settings.home / "home"
    write_env(
        project,
        f"MV_PIPELINE_HOME={home}\nMV_PIPELINE_MAX_FILE_MB=7\nMV_PIPELINE_PROXY_BIND=x\nMV_PIPELINE_SOMETHING=x\n",
    )

    done = run(
        "doctor",
        "--json",
        MV_PIPELINE_MAX_FILE_MB="8",
        MV_PIPELINE_DATABASE_URL=settings.resolved_database_url(),
        MV_PIPELINE_DAGSTER_URL=storage,
    )

    said = [found["sentence"] for found in json.loads(done.stdout) if "MV_PIPELINE" in found["sentence"]]
    assert said == [
        "MV_PIPELINE_DAGSTER_URL comes from the environment.",
        "MV_PIPELINE_DATABASE_URL comes from the environment.",
        f"MV_PIPELINE_HOME comes from {project / '.env'}.",
        "MV_PIPELINE_MAX_FILE_MB comes from the environment.",
        f"MV_PIPELINE_SOMETHING in {project / '.env'} is no setting. Correct or remove it.",
    ]


def test_the_daemons_children_have_what_the_command_has(project, home):
    """What the environment says goes before `.env` for both, though Dagster reads that file too where it finds it."""
    settings, log = home
    write_env(
        project,
        f"MV_PIPELINE_HOME={settings.home}\nMV_PIPELINE_PORT={settings.port}\nMV_PIPELINE_MAX_FILE_MB=7\n"
        "MV_PIPELINE_ARCHIVE_DAYS=11\nSOMEBODYS=of the file\nOTHERS=of the file\n",
    )
    port = free_port()
    command = [sys.executable, "-P", "-c", MAIN, "dev"]  # not what the test's own folder holds
    variables = {"PYTHONPATH": str(project), "MV_PIPELINE_MAX_FILE_MB": "8", "OTHERS": "of the environment"}
    here = Settings(home=settings.home, database_url=None, dagster_url=None, port=port)

    with running_dev(here, log, command=command, **variables) as dev:
        code_server = next(
            process for process in dev.family() if "grpc" in " ".join(process.cmdline()) and process.is_running()
        )
        environment = code_server.environ()

    wanted = {
        "MV_PIPELINE_HOME": str(settings.home),
        "MV_PIPELINE_PORT": str(port),
        "MV_PIPELINE_MAX_FILE_MB": "8",
        "MV_PIPELINE_ARCHIVE_DAYS": "11",
        "SOMEBODYS": "of the file",
        "OTHERS": "of the environment",
    }
    assert {name: environment.get(name) for name in wanted} == wanted
