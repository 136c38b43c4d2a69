"""The one settings class: every `MV_PIPELINE_*` variable, its default and its meaning; and the operator's error.

Values come from here only: from the environment, or from `.env` in the project's folder where that has none. Where each
came from is said in `cli.variables`; what a setting does is where it is used.
"""

import functools
import os
import re
import socket
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

import psycopg2
from dotenv import dotenv_values
from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from psycopg2.extensions import parse_dsn
from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

PROJECT_ROOT = Path(__file__).resolve().parent.parent
ENV_FILE = PROJECT_ROOT / ".env"
# Some editors put a mark before the first variable.
_ENCODING = "utf-8-sig"
TIME_ZONE = ZoneInfo("Asia/Tokyo")
# What listens, listens here only; who else may reach it is the proxy's business.
HOST = "127.0.0.1"
_LOCAL = ("", "localhost", HOST, "::1")

PREFIX = "MV_PIPELINE_"
_UNREADABLE = "PostgreSQL can't read this URL; write special characters in it as %xx"


class OperatorError(Exception):
    """Something that the operator can put right; the message is one line that says what, where and what to do.

    Args:
        message: the line.
        problems: where several things have to be put right, a sentence about each; they belong below the message.
    """

    def __init__(self, message: str, problems: tuple[str, ...] = ()) -> None:
        super().__init__("\n".join([message, *problems]))
        self.problems = problems


class SettingsError(OperatorError):
    """A setting has a value that can't be used; the message is one line for the operator."""


def _postgres_url(value: str) -> str:
    if not value.startswith(("postgresql://", "postgres://")):
        raise ValueError("a URL that begins with postgresql:// is needed")
    authority, _, path = value.partition("://")[2].partition("?")[0].partition("/")
    try:
        ports = str(conninfo_to_dict(value).get("port", "")).split(",")
        parse_dsn(value)
    except ProgrammingError:
        # The driver's own message repeats the URL, and with it the password.
        raise ValueError(_UNREADABLE) from None
    except psycopg2.ProgrammingError:
        raise ValueError("Dagster's driver is older than ours and doesn't know every parameter of this URL") from None
    # The driver would take a piece of an unquoted password for host, port or database, and show it as such.
    if authority.count("@") > 1 or "@" in path or any(port and not port.isdecimal() for port in ports):
        raise ValueError(_UNREADABLE)
    return value


def _alert_urls(value: str) -> str:
    if not all(re.match(r"[a-z][a-z0-9+.-]*://\S", url, re.IGNORECASE) for url in _split_urls(value)):
        raise ValueError("URLs as apprise takes them are needed, as in mailto://… or slack://…, separated by blanks")
    return value


def _split_urls(value: str) -> list[str]:
    # A comma inside a URL, as between two mail addresses, isn't followed by a scheme.
    return re.split(r"[\s,]+(?=[a-z][a-z0-9+.-]*://)", value.strip(" ,\t\n"), flags=re.IGNORECASE)


def _web_url(value: str) -> str:
    if not value.startswith(("http://", "https://")):
        raise ValueError("a URL that begins with http:// or https:// is needed")
    return value.rstrip("/")


PostgresUrl = Annotated[str, AfterValidator(_postgres_url)]
AlertUrls = Annotated[str, AfterValidator(_alert_urls)]
WebUrl = Annotated[str, AfterValidator(_web_url)]
AbsolutePath = Annotated[Path, AfterValidator(lambda path: path.expanduser().absolute())]
Port = Annotated[int, Field(ge=1, le=65535)]
Days = Annotated[int, Field(ge=0)]


class Settings(BaseSettings):
    """Where things are and how they run; each field is the environment variable `MV_PIPELINE_<NAME>`.

    The text below a field is its description, which the documentation shows.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=ENV_FILE,
        env_file_encoding=_ENCODING,
        env_ignore_empty=True,
        frozen=True,
        # An environment file holds other programs' variables too.
        extra="ignore",
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )

    home: AbsolutePath = PROJECT_ROOT / ".mv_pipeline"
    """Embedded server, inbox, archive, rejected files and logs."""
    database_url: PostgresUrl | None = Field(None, repr=False)
    """A PostgreSQL server (16 or later) to use instead of the embedded one."""
    dagster_url: PostgresUrl | None = Field(None, repr=False)
    """Dagster's own storage; default: database `dagster` on the same server."""
    inbox: AbsolutePath | None = None
    """The drop folder; default: `inbox` in the home."""
    sql_dir: AbsolutePath = PROJECT_ROOT / "sql"
    """The folder with one SQL file per view."""
    max_file_mb: int = Field(100, ge=1)
    """A larger CSV file is rejected (MB)."""
    settle_seconds: float = Field(3.0, ge=0)
    """A file that hasn't changed for this long (s) has come to rest."""
    unfinished_seconds: float = Field(300.0, ge=0)
    """An empty file, or one with zeros instead of text, is rejected after it hasn't changed for this long (s)."""
    watch_seconds: float = Field(4.0, ge=0, le=30)
    """For how long (s) a tick of the sensor watches the inbox for files."""
    lock_timeout_seconds: float = Field(30.0, gt=0)
    """For how long (s) a file, rollup, refresh or migration waits for a lock before it is tried again."""
    statement_timeout_seconds: float = Field(1800.0, gt=0)
    """A statement of a rollup or refresh that takes longer (s) is cancelled."""
    shrunk_share: float = Field(0.5, ge=0, le=1)
    """A day that an upload leaves with less than this share of its lines or kg is told to the office; 0: none is."""
    files_due_hour: int = Field(9, ge=0, le=24)
    """The hour (Asia/Tokyo) by which a business day's files are there, on the next day."""
    port: Port = 3000
    """The port of the web UI on 127.0.0.1."""
    viewer_port: Port = 3001
    """The port of the read-only web UI on 127.0.0.1."""
    ui_url: WebUrl | None = None
    """Where people reach the web UI, for links in messages; default: its port on 127.0.0.1."""
    alert_urls: AlertUrls | None = Field(None, repr=False)
    """Who is told of trouble: apprise URLs; default: nobody, it is only logged."""
    alert_office_urls: AlertUrls | None = Field(None, repr=False)
    """Who is told of rejected files and missing days; default: as other trouble."""
    slow_refresh_seconds: float = Field(600.0, gt=0)
    """A refresh that has run for longer than this (s) is reported while it still runs."""
    metrics_port: Port = 9130
    """The port of the metrics on 127.0.0.1."""
    archive_days: Days = 730
    """A loaded file is deleted from the archive after so many days; 0: never."""
    rejected_days: Days = 90
    """A rejected file and its error report are deleted after so many days; 0: never."""
    log_days: Days = 400
    """Refreshes, failures and closed incidents are deleted from the log after so many days; 0: never."""
    history_days: Days = 90
    """A finished run is deleted from Dagster's history after so many days; 0: never."""
    log_format: Literal["text", "json"] = "text"
    """How services write their logs."""

    @property
    def embedded(self) -> bool:
        """True if the embedded server is used, because no database URL is given."""
        return self.database_url is None

    @property
    def server_dir(self) -> Path:
        """The embedded server's data directory; its Unix socket is in it too."""
        return self.home / "postgres"

    @property
    def inbox_dir(self) -> Path:
        """The folder that the sensor watches, with one folder per CSV kind."""
        return self.inbox or self.home / "inbox"

    @property
    def archive_dir(self) -> Path:
        """Where loaded files go."""
        return self.home / "archive"

    @property
    def rejected_dir(self) -> Path:
        """Where rejected files go, with their error reports."""
        return self.home / "rejected"

    @property
    def dagster_home(self) -> Path:
        """The folder for Dagster's logs, with a link to the committed dagster.yaml."""
        return self.home / "dagster"

    def resolved_database_url(self) -> str:
        """The URL of the warehouse database."""
        return self.database_url or f"postgresql://postgres@/mv_pipeline?host={quote(str(self.server_dir))}"

    def resolved_dagster_url(self) -> str:
        """The URL of Dagster's storage."""
        return self.dagster_url or with_database(self.resolved_database_url(), "dagster")

    @property
    def installation(self) -> str:
        """What tells this installation from others: where its warehouse database is, without user and password."""
        place = conninfo_to_dict(self.resolved_database_url())
        host = str(place.get("host") or place.get("hostaddr") or "")
        here = socket.gethostname() if host.startswith("/") or host in _LOCAL else ""
        return f"{here}{host}:{place.get('port', 5432)}/{place.get('dbname', '')}"

    def resolved_ui_url(self) -> str:
        """The URL of the web UI, without a slash at its end."""
        return self.ui_url or f"http://127.0.0.1:{self.port}"

    def operator_alert_urls(self) -> list[str]:
        """The apprise URLs of those who operate the pipeline."""
        return _split_urls(self.alert_urls) if self.alert_urls else []

    def office_alert_urls(self) -> list[str]:
        """The apprise URLs of those who drop files."""
        return _split_urls(self.alert_office_urls) if self.alert_office_urls else self.operator_alert_urls()

    def environment(self) -> dict[str, str]:
        """The environment variables that give a child process these very settings."""
        values = {name: value for name, value in read_env_file().items() if name not in os.environ}
        values |= {f"{PREFIX}{name.upper()}": str(value) for name, value in self.model_dump(exclude_none=True).items()}
        values[f"{PREFIX}DAGSTER_URL"] = self.resolved_dagster_url()
        values["DAGSTER_HOME"] = str(self.dagster_home)
        # A backfill marks thousands of days; written one by one they cost more than deriving them.
        values["DAGSTER_EVENT_BATCH_SIZE"] = "1000"
        return values


def with_database(url: str, name: str) -> str:
    """The URL of another database on the same server, for the same user."""
    parameters = {**conninfo_to_dict(url), "dbname": name}
    return f"postgresql:///?{urlencode(parameters, quote_via=quote)}"


def read_env_file() -> dict[str, str]:
    """The variables of `.env` that have a value."""
    return {name: value for name, value in dotenv_values(ENV_FILE, encoding=_ENCODING).items() if value}


def load_settings() -> Settings:
    """Read the settings from the environment and `.env`, anew only if the environment has changed.

    Raises:
        SettingsError: a value can't be used; one line that names the variable and says why.
    """
    return _read(frozenset(os.environ.items()))


@functools.lru_cache(maxsize=1)
def _read(environment: frozenset[tuple[str, str]]) -> Settings:  # noqa: ARG001  # what the settings depend on
    try:
        return Settings()
    except ValidationError as error:
        reasons = (
            f"{PREFIX}{str(issue['loc'][0]).upper()}: {issue['msg'].removeprefix('Value error, ')}"
            for issue in error.errors()
        )
        raise SettingsError("; ".join(reasons)) from None
