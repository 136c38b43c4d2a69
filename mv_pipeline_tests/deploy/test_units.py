"""What service managers are given: unit files that run what there is, and example settings that are settings."""

import shlex
from configparser import RawConfigParser
from pathlib import Path

import pytest

from mv_pipeline.cli.services import Service
from mv_pipeline.settings import PROJECT_ROOT, Settings
from mv_pipeline_tests.deploy.conftest import CADDYFILE

DEPLOY = PROJECT_ROOT / "deploy"
INSTALLED = Path("/opt/mv_pipeline")


def unit(name):
    parser = RawConfigParser()
    parser.optionxform = str
    parser.read(DEPLOY / "systemd" / name)
    return parser


@pytest.mark.parametrize("service", Service)
def test_each_service_can_be_a_unit(service):
    command = shlex.split(unit("mv-pipeline@.service")["Service"]["ExecStart"].replace("%i", service))

    assert command == [str(INSTALLED / ".venv/bin/mv-pipeline"), "serve", service]
    assert f"mv-pipeline@{service}" in (PROJECT_ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")


def test_the_proxys_unit_runs_the_shipped_file():
    command = shlex.split(unit("mv-pipeline-proxy.service")["Service"]["ExecStart"])

    assert command[0] == "/usr/bin/caddy"
    assert PROJECT_ROOT / Path(command[command.index("--config") + 1]).relative_to(INSTALLED) == CADDYFILE


def test_the_watch_is_started_by_its_timer():
    command = shlex.split(unit("mv-pipeline-watch.service")["Service"]["ExecStart"])

    assert command == [str(INSTALLED / ".venv/bin/mv-pipeline"), "watch"]
    assert unit("mv-pipeline-watch.timer")["Install"]["WantedBy"] == "timers.target"
    assert "mv-pipeline-watch.timer" in (PROJECT_ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["mv-pipeline@.service", "mv-pipeline-proxy.service", "mv-pipeline-watch.service"])
def test_a_unit_has_neither_root_nor_the_disk(name):
    service = unit(name)["Service"]

    assert service["User"] not in ("", "root")
    assert (service["NoNewPrivileges"], service["ProtectSystem"]) == ("yes", "strict")


def test_the_pipeline_may_ask_who_writes_to_the_files_of_others_and_nothing_else_that_root_may():
    service = unit("mv-pipeline@.service")["Service"]

    assert service["CapabilityBoundingSet"] == service["AmbientCapabilities"] == "CAP_LEASE"


def test_the_example_of_the_pipelines_settings_is_one():
    path = DEPLOY / "pipeline.env.example"
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]

    named = {line.split("=")[0] for line in lines} - {"PGPASSFILE"}
    assert {name.removeprefix("MV_PIPELINE_").lower() for name in named} <= set(Settings.model_fields)
    assert not Settings(_env_file=path).embedded


def test_the_example_of_the_proxys_settings_is_valid(proxy, monkeypatch):
    for name in ("OPERATOR_URL", "VIEWER_URL", "BIND"):
        monkeypatch.delitem(proxy.environment, f"MV_PIPELINE_PROXY_{name}")

    done = proxy.caddy("validate", "--config", str(CADDYFILE), "--envfile", str(DEPLOY / "proxy.env.example"))

    assert done.returncode == 0, done.stderr


def test_the_caddyfile_asks_for_nothing_that_the_examples_do_not_name():
    text = (DEPLOY / "proxy.env.example").read_text(encoding="utf-8")
    asked = {part.split("}")[0].split(":")[0] for part in CADDYFILE.read_text(encoding="utf-8").split("{$")[1:]}

    assert {name for name in asked if name not in text} == {"MV_PIPELINE_PROXY_HTTP_PORT"}
