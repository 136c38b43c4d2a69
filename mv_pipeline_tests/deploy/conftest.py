"""A real web server, a real read-only one and the real proxy before them, once for all tests of `deploy/`."""

import contextlib
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from mv_pipeline.settings import PROJECT_ROOT, Settings
from mv_pipeline_tests.conftest import create_database, drop_database
from mv_pipeline_tests.processes import TIMEOUT_S, free_port, wait_for

CADDYFILE = PROJECT_ROOT / "deploy" / "Caddyfile"
OPERATOR = ("operator", "an operator's password")
VIEWER = ("viewer", "a viewer's password")


def binary(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


@dataclass(frozen=True)
class Answer:
    """What came back for one request."""

    status: int
    headers: http.client.HTTPMessage
    text: str


@dataclass(frozen=True)
class Site:
    """A site as a browser sees it: a URL whose name needs no DNS here, because everything is on 127.0.0.1."""

    scheme: str
    host: str
    port: int
    certificates: ssl.SSLContext | None = field(default=None, compare=False)

    @property
    def netloc(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def origin(self) -> str:
        return f"{self.scheme}://{self.netloc}"

    def connect(self) -> socket.socket:
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT_S)
        if self.certificates is None:
            return plain
        return self.certificates.wrap_socket(plain, server_hostname=self.host)

    def ask(
        self,
        method: str,
        path: str,
        *,
        login: tuple[str, str] | None = None,
        host: str | None = None,
        body: str | None = None,
        **headers: str,
    ) -> Answer:
        """Send one request; a header's name is written with underscores."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        sent["Host"] = host or self.netloc
        if login:
            sent["Authorization"] = basic(login)
        with contextlib.closing(http.client.HTTPConnection(self.host, self.port)) as connection:
            connection.sock = self.connect()
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read().decode(errors="replace"))

    def post(self, query: str, login: tuple[str, str] | None = None, **headers: str) -> Answer:
        """Ask as the UI's own pages do; headers given here replace theirs."""
        usual = {"Origin": self.origin, "Content_Type": "application/json"}
        return self.ask("POST", "/graphql", login=login, body=json.dumps({"query": query}), **(usual | headers))


def basic(login: tuple[str, str]) -> str:
    return "Basic " + b64encode(":".join(login).encode()).decode()


@contextlib.contextmanager
def running(command: list[str], environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is told to stop at the end of the block, and does."""
    with log.open("ab") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(TIMEOUT_S)


def wait_until_listening(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    def poll() -> bool:
        assert process.poll() is None, log.read_text(encoding="utf-8")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        return False

    wait_for(f"port {port}", poll)


@dataclass(frozen=True)
class Dagster:
    """The two web servers, without a proxy, and the storage in which their changes show."""

    web: Site
    viewer: Site
    storage: str
    pids: dict[int, int]

    def limit(self, pool: str) -> int | None:
        """The limit that a mutation gave a pool; nothing if none got through."""
        with psycopg.connect(self.storage) as connection:
            row = connection.execute(
                'SELECT "limit" FROM concurrency_limits WHERE concurrency_key = %s', [pool]
            ).fetchone()
        return row and row[0]


@pytest.fixture(scope="session")
def dagster_servers(server: Settings, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dagster]:
    """`mv-pipeline serve web` and `serve viewer`, in an environment that asks for the whole network."""
    home = tmp_path_factory.mktemp("home")
    settings = Settings(
        home=home,
        database_url=create_database(server, template),
        dagster_url=create_database(server),
        port=free_port(),
        viewer_port=free_port(),
    )
    environment = {**os.environ, **settings.environment(), "DAGSTER_WEBSERVER_HOST": "0.0.0.0"}
    ports = {"web": settings.port, "viewer": settings.viewer_port}
    with contextlib.ExitStack() as stack:
        processes = {
            service: stack.enter_context(
                running([binary("mv-pipeline"), "serve", service], environment, home / f"{service}.log")
            )
            for service in ports
        }
        for service, process in processes.items():
            wait_until_listening(process, ports[service], home / f"{service}.log")
        yield Dagster(
            web=Site("http", "127.0.0.1", settings.port),
            viewer=Site("http", "127.0.0.1", settings.viewer_port),
            storage=settings.resolved_dagster_url(),
            pids={ports[service]: process.pid for service, process in processes.items()},
        )
    for url in (settings.resolved_database_url(), settings.resolved_dagster_url()):
        drop_database(server, url)


@dataclass(frozen=True)
class Proxy:
    """The shipped Caddyfile and what differs from plant to plant: environment variables, users' files."""

    folder: Path
    environment: dict[str, str]

    def caddy(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([binary("caddy"), *arguments], env=self.environment, capture_output=True, text=True)

    @contextlib.contextmanager
    def serving(self, port: int, **variables: object) -> Iterator[None]:
        """Run Caddy until the end of the block; `variables` are MV_PIPELINE_… settings of the Caddyfile."""
        environment = self.environment | {f"MV_PIPELINE_{name}": str(value) for name, value in variables.items()}
        log = self.folder / "caddy.log"
        command = [binary("caddy"), "run", "--config", str(CADDYFILE), "--adapter", "caddyfile"]
        with running(command, environment, log) as process:
            wait_until_listening(process, port, log)
            yield


@pytest.fixture(scope="session")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Proxy:
    folder = tmp_path_factory.mktemp("proxy")
    for file, (name, password) in {"operators": OPERATOR, "viewers": VIEWER}.items():
        hashed = subprocess.run(
            [binary("caddy"), "hash-password", "--algorithm", "argon2id", "--argon2id-memory", "1024"],
            input=f"{password}\n",
            capture_output=True,
            text=True,
            check=True,
        )
        (folder / file).write_text(f"{name} {hashed.stdout}", encoding="utf-8")
    (folder / "nobody").touch()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MV_PIPELINE")} | {
        "HOME": str(folder),
        "XDG_DATA_HOME": str(folder / "data"),
        "XDG_CONFIG_HOME": str(folder / "config"),
        "MV_PIPELINE_PROXY_BIND": "127.0.0.1",
        "MV_PIPELINE_PROXY_OPERATORS": str(folder / "operators"),
        "MV_PIPELINE_PROXY_VIEWERS": str(folder / "viewers"),
        "MV_PIPELINE_PROXY_OPERATOR_URL": "https://mv-pipeline.internal",
        "MV_PIPELINE_PROXY_VIEWER_URL": "https://mv-pipeline-view.internal",
    }
    return Proxy(folder, environment)


@dataclass(frozen=True)
class Sites:
    """The two sites that the proxy serves, and where it sends those to https who come without."""

    operator: Site
    viewer: Site
    plain: Site | None = None


@pytest.fixture(scope="session")
def sites(proxy: Proxy, dagster_servers: Dagster) -> Iterator[Sites]:
    """The proxy before the web servers, over plain HTTP."""
    port = free_port()
    sites = Sites(Site("http", "operator.localhost", port), Site("http", "viewer.localhost", port))
    with proxy.serving(
        port,
        PROXY_HTTP_PORT=port,
        PROXY_OPERATOR_URL=sites.operator.origin,
        PROXY_VIEWER_URL=sites.viewer.origin,
        PORT=dagster_servers.web.port,
        VIEWER_PORT=dagster_servers.viewer.port,
    ):
        yield sites


@pytest.fixture(scope="session")
def secure_sites(proxy: Proxy, dagster_servers: Dagster) -> Iterator[Sites]:
    """The same over https, as in production, with certificates of the proxy's own authority."""
    plain, port = free_port(), free_port()
    with proxy.serving(
        port,
        PROXY_HTTP_PORT=plain,
        PROXY_OPERATOR_URL=f"https://mv-pipeline.internal:{port}",
        PROXY_VIEWER_URL=f"https://mv-pipeline-view.internal:{port}",
        PORT=dagster_servers.web.port,
        VIEWER_PORT=dagster_servers.viewer.port,
    ):
        root = proxy.folder / "data" / "caddy" / "pki" / "authorities" / "local" / "root.crt"
        trust = ssl.create_default_context(cafile=root)
        yield Sites(
            operator=Site("https", "mv-pipeline.internal", port, trust),
            viewer=Site("https", "mv-pipeline-view.internal", port, trust),
            plain=Site("http", "mv-pipeline.internal", plain),
        )
