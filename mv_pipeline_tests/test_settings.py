"""Settings: defaults, what follows from what, and one clear line for a wrong value."""

import os

import pytest
from psycopg.conninfo import conninfo_to_dict

from mv_pipeline.settings import PROJECT_ROOT, Settings, SettingsError, load_settings


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch):
    for name in [name for name in os.environ if name.startswith("MV_PIPELINE_")]:
        monkeypatch.delenv(name)


def test_everything_lies_in_the_home_by_default():
    settings = load_settings()

    assert settings.home == PROJECT_ROOT / ".mv_pipeline"
    assert {settings.inbox_dir, settings.archive_dir, settings.rejected_dir} == {
        settings.home / name for name in ("inbox", "archive", "rejected")
    }
    assert settings.embedded


def test_the_embedded_servers_url_names_its_socket_folder():
    settings = Settings(home="/plant")

    assert settings.resolved_database_url() == "postgresql://postgres@/mv_pipeline?host=/plant/postgres"
    assert conninfo_to_dict(settings.resolved_dagster_url()) == {
        "user": "postgres",
        "host": "/plant/postgres",
        "dbname": "dagster",
    }
    assert conninfo_to_dict(Settings(home="/my plant/100%&?#").resolved_database_url()) == {
        "user": "postgres",
        "host": "/my plant/100%&?#/postgres",
        "dbname": "mv_pipeline",
    }


@pytest.mark.parametrize(
    ("url", "dagster"),
    [
        ("postgresql://u:p@db:5433/plant", "postgresql://u:p@db:5433/dagster"),
        ("postgresql://db/plant?sslmode=require", "postgresql://db/dagster?sslmode=require"),
        ("postgresql://db", "postgresql://db/dagster"),
        ("postgresql://u@/plant?host=/run/pg", "postgresql://u@/dagster?host=/run/pg"),
        (
            "postgres://u@/plant?host=/run/pg,/run/other&port=1,2",
            "postgres://u@/dagster?host=/run/pg,/run/other&port=1,2",
        ),
        ("postgresql://a:1,b:2/plant", "postgresql://a:1,b:2/dagster"),
        ("postgresql://db/other?dbname=plant", "postgresql://db/dagster"),
        # pragma: allowlist nextline secret
        ("postgresql://u:%40%2F%20%25@db/plant", "postgresql://u:%40%2F%20%25@db/dagster"),
        ("postgresql://?service=plant", "postgresql://?service=plant&dbname=dagster"),
        ("postgresql://db/plant?options=-c%20x.y%3D1", "postgresql://db/dagster?options=-c%20x.y%3D1"),
    ],
)
def test_dagster_gets_a_database_on_the_same_server(url, dagster):
    assert conninfo_to_dict(Settings(database_url=url).resolved_dagster_url()) == conninfo_to_dict(dagster)


def test_the_environment_gives_a_child_process_the_same_settings(monkeypatch, tmp_path):
    settings = Settings(home=tmp_path, database_url="postgresql://u:p@db/plant", max_file_mb=5, inbox=tmp_path / "in")
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)

    child = load_settings()

    assert child == settings.model_copy(update={"dagster_url": settings.resolved_dagster_url()})


def test_a_relative_path_is_relative_to_where_it_was_said(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MV_PIPELINE_HOME", "here")

    assert load_settings().home == tmp_path / "here"


@pytest.mark.parametrize(
    "value",
    [
        "slack://a/b/c mailto://u@x?to=a@x,b@x",
        "slack://a/b/c,mailto://u@x?to=a@x,b@x",
        " slack://a/b/c , mailto://u@x?to=a@x,b@x,",
    ],
)
def test_alert_urls_are_separated_by_blanks_or_commas(value):
    settings = Settings(alert_urls=value)

    assert settings.operator_alert_urls() == ["slack://a/b/c", "mailto://u@x?to=a@x,b@x"]
    assert settings.office_alert_urls() == settings.operator_alert_urls()


def test_the_office_may_have_receivers_of_its_own():
    settings = Settings(alert_urls="json://a", alert_office_urls="json://b")

    assert (settings.operator_alert_urls(), settings.office_alert_urls()) == (["json://a"], ["json://b"])
    assert "json" not in f"{settings!r} {settings}"


def test_links_lead_to_the_ui_by_default_on_its_port():
    assert Settings(port=4000).resolved_ui_url() == "http://127.0.0.1:4000"
    assert Settings(ui_url="https://plant.internal/").resolved_ui_url() == "https://plant.internal"


def test_an_empty_variable_counts_as_unset(monkeypatch):
    monkeypatch.setenv("MV_PIPELINE_DATABASE_URL", "")

    assert load_settings().embedded


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("MAX_FILE_MB", "many", "MV_PIPELINE_MAX_FILE_MB: Input should be a valid integer"),
        ("MAX_FILE_MB", "0", "MV_PIPELINE_MAX_FILE_MB: Input should be greater than or equal to 1"),
        ("PORT", "99999", "MV_PIPELINE_PORT: Input should be less than or equal to 65535"),
        (
            "DATABASE_URL",
            "mysql://db/plant",
            "MV_PIPELINE_DATABASE_URL: a URL that begins with postgresql:// is needed",
        ),
        ("UI_URL", "plant.internal", "MV_PIPELINE_UI_URL: a URL that begins with http:// or https:// is needed"),
        ("ALERT_URLS", "canary", "MV_PIPELINE_ALERT_URLS: URLs as apprise takes them are needed"),
        (
            "DATABASE_URL",
            "postgresql://u:canary@db/plant?oauth_scope=x",  # pragma: allowlist secret
            "MV_PIPELINE_DATABASE_URL: Dagster's driver is older than ours and doesn't know every parameter",
        ),
        # pragma: allowlist nextline secret
        ("DAGSTER_URL", "postgresql://u:canary@db:x y/p", "MV_PIPELINE_DAGSTER_URL: PostgreSQL can't read this URL"),
    ],
)
def test_a_wrong_value_is_one_clear_line_without_the_value(monkeypatch, name, value, message):
    monkeypatch.setenv(f"MV_PIPELINE_{name}", value)

    with pytest.raises(SettingsError, match="^" + message) as error:
        load_settings()

    assert "\n" not in str(error.value)
    assert "canary" not in str(error.value)
    assert error.value.__suppress_context__
