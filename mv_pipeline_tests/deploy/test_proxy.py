"""Who gets through to Dagster's web UI: anyone without the proxy; with it, who is listed and asks from its own pages.

docs/deployment.md claims what is tested here. Whether a change got through is looked up in Dagster's storage.
"""

import contextlib
import http.server
import json
import re
import socket
import ssl
import threading
from itertools import count
from urllib.parse import quote

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from mv_pipeline_tests.deploy.conftest import CADDYFILE, OPERATOR, VIEWER, Site, basic
from mv_pipeline_tests.processes import TIMEOUT_S, free_port, listening_addresses

EVIL = "https://evil.example"
_numbers = count(1)


@pytest.fixture
def pool():
    """The name of a pool that no other test has given a limit."""
    return f"pool_{next(_numbers)}"


def mutation(pool):
    return f'mutation {{ setConcurrencyLimit(concurrencyKey: "{pool}", limit: 7) }}'


def as_link(pool, path="/graphql"):
    return f"{path}?query={quote(mutation(pool))}"


def open_websocket(site: Site, origin, login=None):
    """Open the UI's websocket and say hello; return the kind of the answer, or the status of the refusal."""
    with contextlib.ExitStack() as stack:
        try:
            websocket = stack.enter_context(
                connect(
                    f"ws://{site.netloc}/graphql",
                    sock=stack.enter_context(site.connect()),
                    origin=origin,
                    subprotocols=["graphql-ws"],
                    additional_headers={"Authorization": basic(login)} if login else {},
                    proxy=None,
                )
            )
        except InvalidStatus as refusal:
            return refusal.response.status_code
        websocket.send(json.dumps({"type": "connection_init"}))
        return json.loads(websocket.recv(timeout=TIMEOUT_S))["type"]


class TestWithoutTheProxy:
    """The open-source web server as it is. If one of these fails, it has become better; then correct the docs."""

    def test_a_link_on_any_page_changes_things(self, dagster_servers, pool):
        answer = dagster_servers.web.ask("GET", as_link(pool), host="evil.example", Origin=EVIL)

        assert (answer.status, dagster_servers.limit(pool)) == (200, 7)

    def test_so_does_a_link_with_a_line_feed_behind_the_path(self, dagster_servers, pool):
        answer = dagster_servers.web.ask("GET", as_link(pool, "/graphql%0A"), Origin=EVIL)

        assert (answer.status, dagster_servers.limit(pool)) == (200, 7)

    def test_so_does_a_form(self, dagster_servers, pool):
        answer = dagster_servers.web.ask(
            "POST", as_link(pool), Origin=EVIL, Content_Type="application/x-www-form-urlencoded", body="a=b"
        )

        assert (answer.status, dagster_servers.limit(pool)) == (200, 7)

    def test_any_page_may_claim_that_an_asset_was_made(self, dagster_servers):
        answer = dagster_servers.web.ask("POST", "/report_asset_materialization/canary/bare", Origin=EVIL)

        assert (answer.status, answer.text) == (200, "{}")

    def test_any_page_may_open_a_websocket(self, dagster_servers):
        assert open_websocket(dagster_servers.web, EVIL) == "connection_ack"

    def test_only_this_machine_reaches_it_whatever_the_environment_asks_for(self, dagster_servers):
        for port, pid in dagster_servers.pids.items():
            assert listening_addresses(pid) == {("127.0.0.1", port)}

    def test_the_read_only_one_refuses_changes(self, dagster_servers, pool):
        answer = dagster_servers.viewer.post(mutation(pool))

        assert "UnauthorizedError" in answer.text
        assert dagster_servers.limit(pool) is None


class TestLogin:
    @pytest.mark.parametrize("login", [None, ("operator", "wrong"), ("nobody", OPERATOR[1]), VIEWER, ("operator", "")])
    def test_without_an_operators_password_nothing_is_shown_or_done(self, sites, dagster_servers, pool, login):
        site = sites.operator

        page = site.ask("GET", "/", login=login)

        assert page.status == 401
        assert page.headers["WWW-Authenticate"] == 'Basic realm="mv_pipeline"'
        assert site.ask("GET", "/server_info", login=login).status == 401
        assert site.post(mutation(pool), login).status == 401
        assert open_websocket(site, site.origin, login) == 401
        assert dagster_servers.limit(pool) is None

    @pytest.mark.parametrize("login", [None, ("viewer", "wrong"), OPERATOR])
    def test_the_viewers_site_has_passwords_of_its_own(self, sites, login):
        assert sites.viewer.ask("GET", "/", login=login).status == 401
        assert sites.viewer.post("{ version }", login).status == 401

    def test_the_password_stays_at_the_proxy_and_out_of_its_log_which_has_the_name(self, proxy):
        seen = []

        class Recorder(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                seen.append(dict(self.headers))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                """Nothing: the tests' output is for failures."""

        port = free_port()
        site = Site("http", "operator.localhost", port)
        with http.server.HTTPServer(("127.0.0.1", 0), Recorder) as recorder:
            thread = threading.Thread(target=recorder.serve_forever, kwargs={"poll_interval": 0.05})
            thread.start()
            with proxy.serving(
                port,
                PROXY_HTTP_PORT=port,
                PROXY_OPERATOR_URL=site.origin,
                PROXY_VIEWER_URL=f"http://viewer.localhost:{port}",
                PORT=recorder.server_port,
            ):
                assert site.ask("GET", "/", login=OPERATOR, Remote_User="root", X_Forwarded_User="root").status == 204
            recorder.shutdown()
            thread.join()

        (headers,) = seen
        assert headers["X-Forwarded-Host"] == site.netloc
        assert not {"authorization", "remote-user", "x-forwarded-user"} & {name.lower() for name in headers}
        log = (proxy.folder / "caddy.log").read_text(encoding="utf-8")
        assert '"user_id":"operator"' in log
        assert OPERATOR[1] not in log
        assert basic(OPERATOR) not in log

    def test_an_empty_users_file_lets_nobody_in(self, proxy):
        port = free_port()
        site = Site("http", "operator.localhost", port)
        with proxy.serving(
            port,
            PROXY_HTTP_PORT=port,
            PROXY_OPERATOR_URL=site.origin,
            PROXY_VIEWER_URL=f"http://viewer.localhost:{port}",
            PROXY_OPERATORS=proxy.folder / "nobody",
        ):
            assert [site.ask("GET", "/", login=login).status for login in (None, OPERATOR, ("", ""))] == [401] * 3


class TestOperator:
    @pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8"])
    def test_the_uis_own_pages_change_things(self, sites, dagster_servers, pool, content_type):
        answer = sites.operator.post(mutation(pool), OPERATOR, Content_Type=content_type)

        assert (answer.status, dagster_servers.limit(pool)) == (200, 7)

    @pytest.mark.parametrize(
        "path", ["/graphql", "/graphql/", "//graphql", "/%67raphql", "/GraphQL", "/graphql%0A", "/x/../graphql"]
    )
    @pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "OPTIONS"])
    def test_a_link_changes_nothing(self, sites, dagster_servers, pool, method, path):
        answer = sites.operator.ask(method, as_link(pool, path), login=OPERATOR, Origin=sites.operator.origin)

        assert answer.status == 403
        assert dagster_servers.limit(pool) is None

    @pytest.mark.parametrize(
        "content_type",
        [
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "text/plain",
            "text/plain; application/json",
            "application/jsonx",
            "application/graphql",
            "",
        ],
    )
    def test_a_form_or_text_changes_nothing(self, sites, dagster_servers, pool, content_type):
        site = sites.operator
        body = json.dumps({"query": mutation(pool)})

        answers = [
            site.ask("POST", path, login=OPERATOR, body=body, Origin=site.origin, Content_Type=content_type)
            for path in ("/graphql", as_link(pool))
        ]

        assert [answer.status for answer in answers] == [403, 403]
        assert dagster_servers.limit(pool) is None

    @pytest.mark.parametrize(
        "origin",
        [
            EVIL,
            "null",
            "",
            "https://operator.localhost:{port}",
            "http://operator.localhost",
            "http://operator.localhost:{port}1",
            "http://operator.localhost:{port}.evil.example",
            "http://viewer.localhost:{port}",
        ],
    )
    def test_another_sites_page_changes_nothing(self, sites, dagster_servers, pool, origin):
        origin = origin.format(port=sites.operator.port)

        answer = sites.operator.post(mutation(pool), OPERATOR, Origin=origin)

        assert answer.status == 403
        assert dagster_servers.limit(pool) is None
        assert open_websocket(sites.operator, origin, OPERATOR) == 403

    def test_who_has_no_origin_changes_nothing(self, sites, dagster_servers, pool):
        answer = sites.operator.ask(
            "POST",
            "/graphql",
            login=OPERATOR,
            body=json.dumps({"query": mutation(pool)}),
            Content_Type="application/json",
        )

        assert answer.status == 403
        assert dagster_servers.limit(pool) is None
        assert open_websocket(sites.operator, None, OPERATOR) == 403

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"Upgrade": "websocket"},
            {"Upgrade": "websocket", "Connection": "Upgrade"},
            {"Upgrade": "h2c", "Connection": "Upgrade"},
        ],
    )
    def test_an_upgrade_carries_no_question(self, sites, dagster_servers, pool, headers):
        site = sites.operator

        answer = site.ask("GET", as_link(pool), login=OPERATOR, Origin=site.origin, **headers)

        assert answer.status == 403
        assert dagster_servers.limit(pool) is None

    @pytest.mark.parametrize("path", ["/", "/graphql%0A", "/server_info"])
    def test_a_websocket_has_one_place(self, sites, path):
        answer = sites.operator.ask(
            "GET", path, login=OPERATOR, Origin=sites.operator.origin, Upgrade="websocket", Connection="Upgrade"
        )

        assert answer.status == 403

    @pytest.mark.parametrize("kind", ["materialization", "check", "observation"])
    def test_nobody_claims_that_an_asset_was_made(self, sites, kind):
        answer = sites.operator.ask(
            "POST",
            f"/report_asset_{kind}/canary",
            login=OPERATOR,
            body="{}",
            Origin=sites.operator.origin,
            Content_Type="application/json",
        )

        assert answer.status == 403

    def test_the_uis_own_pages_get_live_events(self, sites):
        assert open_websocket(sites.operator, sites.operator.origin, OPERATOR) == "connection_ack"


class TestViewer:
    def test_a_viewer_reads(self, sites):
        answer = sites.viewer.post(
            "{ repositoriesOrError { ... on RepositoryConnection { nodes { location { name } } } } }", VIEWER
        )

        assert answer.status == 200
        assert json.loads(answer.text)["data"]["repositoriesOrError"]["nodes"] == [
            {"location": {"name": "mv_pipeline"}}
        ]

    def test_a_viewer_gets_live_events(self, sites):
        assert open_websocket(sites.viewer, sites.viewer.origin, VIEWER) == "connection_ack"

    def test_the_web_server_refuses_a_viewers_changes(self, sites, dagster_servers, pool):
        answer = sites.viewer.post(mutation(pool), VIEWER)

        assert "UnauthorizedError" in answer.text
        assert dagster_servers.limit(pool) is None

    def test_a_viewer_starts_no_run(self, sites):
        selector = '{repositoryLocationName: "mv_pipeline", repositoryName: "__repository__", jobName: "nightly"}'

        answer = sites.viewer.post(
            f"mutation {{ launchRun(executionParams: {{selector: {selector}}}) {{ __typename }} }}", VIEWER
        )

        assert json.loads(answer.text)["data"] == {"launchRun": {"__typename": "UnauthorizedError"}}


class TestPages:
    @pytest.mark.parametrize(("name", "login"), [("operator", OPERATOR), ("viewer", VIEWER)])
    def test_the_page_and_everything_that_it_names_load(self, sites, name, login):
        site = getattr(sites, name)

        page = site.ask("GET", "/", login=login)

        assert (page.status, page.headers.get_content_type()) == (200, "text/html")
        named = set(re.findall(r'(?:src|href)="(/[^"]+)"', page.text))
        assert any(path.endswith(".js") for path in named)
        for path in named:
            assert site.ask("GET", path, login=login).status == 200, path
        assert site.ask("GET", "/assets/mart/mv_receive_daily", login=login).text.startswith("<!DOCTYPE html>")

    def test_no_other_page_may_frame_it(self, sites):
        headers = sites.operator.ask("GET", "/", login=OPERATOR).headers

        assert "frame-ancestors 'none'" in headers.get_all("Content-Security-Policy")
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["X-Content-Type-Options"] == "nosniff"

    def test_the_uis_own_policy_stays(self, sites):
        policies = sites.operator.ask("GET", "/", login=OPERATOR).headers.get_all("Content-Security-Policy")

        assert any("script-src 'nonce-" in policy for policy in policies)

    @pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "localhost", "evil.operator.localhost"])
    def test_another_name_is_no_site(self, sites, host):
        answer = sites.operator.ask("GET", "/", login=OPERATOR, host=f"{host}:{sites.operator.port}")

        assert (answer.status, answer.text) == (421, "There is no such site here.")


class TestEncrypted:
    """As in production: https sites with certificates, of the proxy's own authority here."""

    def test_the_same_rules_hold(self, secure_sites, dagster_servers, pool):
        site = secure_sites.operator

        refused = [
            site.ask("GET", "/").status,
            site.post(mutation(pool), OPERATOR, Origin=site.origin.replace("https", "http")).status,
            site.ask("GET", as_link(pool), login=OPERATOR, Origin=site.origin).status,
        ]

        assert (refused, dagster_servers.limit(pool)) == ([401, 403, 403], None)
        assert (site.post(mutation(pool), OPERATOR).status, dagster_servers.limit(pool)) == (200, 7)

    def test_browsers_are_told_to_stay_with_https(self, secure_sites):
        site = secure_sites.operator

        assert site.ask("GET", "/").headers["Strict-Transport-Security"] == "max-age=31536000"

    def test_plain_http_is_sent_to_https_before_anyone_sends_a_password(self, secure_sites):
        answer = secure_sites.plain.ask("GET", "/runs")

        assert (answer.status, answer.headers["Location"]) == (308, f"{secure_sites.operator.origin}/runs")

    @pytest.mark.parametrize("host", ["evil.example", "mv-pipeline-view.internal"])
    def test_a_connection_made_for_one_name_is_not_used_for_another(self, secure_sites, host):
        site = secure_sites.operator

        assert site.ask("GET", "/", login=OPERATOR, host=f"{host}:{site.port}").status == 421

    def test_another_name_gets_no_certificate(self, secure_sites):
        site = secure_sites.operator
        stranger = Site("https", "evil.example", site.port, site.certificates)

        with pytest.raises(ssl.SSLError):
            stranger.ask("GET", "/")


class TestCaddyfile:
    def test_it_is_formatted(self, proxy):
        done = proxy.caddy("fmt", "--diff", str(CADDYFILE))

        assert done.returncode == 0, done.stdout

    @pytest.mark.parametrize("certificates", ["", "tls internal"])
    def test_it_is_valid(self, proxy, monkeypatch, certificates):
        monkeypatch.setitem(proxy.environment, "MV_PIPELINE_PROXY_TLS", certificates)

        done = proxy.caddy("validate", "--config", str(CADDYFILE), "--adapter", "caddyfile")

        assert done.returncode == 0, done.stderr
        assert "Valid configuration" in done.stdout

    @pytest.mark.parametrize("name", ["OPERATOR_URL", "VIEWER_URL"])
    def test_without_a_site_it_does_not_start(self, proxy, monkeypatch, name):
        monkeypatch.delitem(proxy.environment, f"MV_PIPELINE_PROXY_{name}")

        assert proxy.caddy("validate", "--config", str(CADDYFILE), "--adapter", "caddyfile").returncode == 1

    def test_nothing_may_change_it_while_it_runs(self, sites):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", 2019), timeout=1)
