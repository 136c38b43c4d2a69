"""What Prometheus and Grafana are given: valid, and about metrics that are really exported."""

import json
import re
import shutil
import subprocess
from itertools import combinations
from pathlib import Path

import dagster as dg
import pytest
import yaml

from mv_pipeline.operations.health import HEALTH_CHECKS
from mv_pipeline.operations.metrics import MetricsCollector
from mv_pipeline.operations.problem import DAEMON_SILENT_S, ProblemType
from mv_pipeline.refresh.counters import BUCKETS
from mv_pipeline.settings import PROJECT_ROOT, Settings
from mv_pipeline_tests.conftest import TODAY
from mv_pipeline_tests.factory import line, take
from mv_pipeline_tests.operations.scrape import collect

RULES = PROJECT_ROOT / "deploy" / "prometheus" / "alerts.yml"
SCRAPING = PROJECT_ROOT / "deploy" / "prometheus" / "prometheus.yml"
DASHBOARD = PROJECT_ROOT / "deploy" / "grafana" / "mv_pipeline.json"
PAGE = PROJECT_ROOT / "docs" / "metrics.md"
RULE_TESTS = Path(__file__).with_name("alerts_test.yml")
# Debian's package `prometheus` holds it; `make` can't install that.
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool isn't installed; it comes with Prometheus")


def alerts():
    return [rule for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]]


def panels():
    return json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]


def queries():
    """Every PromQL expression of rules and dashboard."""
    return [rule["expr"] for rule in alerts()] + [target["expr"] for panel in panels() for target in panel["targets"]]


def named_in(text):
    return set(re.findall(r"\bmv_[a-z_]+\b", text)) - {"mv_pipeline"}


@pytest.fixture
def exported(database, connection, settings, catalog, instance):
    """The names of everything that a scrape of a plant with data gives."""
    day = TODAY.replace("-", "/")
    take(connection, settings, [line(slip_date=day)])
    take(connection, settings, [line(net_weight="x")], name="bad.csv")
    found = collect(MetricsCollector(database, catalog, lambda: instance)).names()
    # An ephemeral instance has no daemon, and no check has run.
    return found | {"mv_daemon_heartbeat_age_seconds", "mv_check_passed", "mv_check_timestamp_seconds"}


def test_every_metric_that_is_asked_for_is_exported(exported):
    asked = set().union(*map(named_in, queries()))

    assert len(asked) > 15
    assert asked <= exported


def test_the_page_explains_every_exported_metric_and_no_other(exported):
    page = PAGE.read_text(encoding="utf-8")
    suffixes = r"_(bucket|count|sum)$"

    assert {re.sub(suffixes, "", name) for name in exported} == set(
        re.findall(r"^\| `(mv_[a-z_]+)`", page, re.MULTILINE)
    )


def test_every_alert_says_what_it_means_and_what_to_do():
    for rule in alerts():
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert {"summary", "action"} == set(rule["annotations"]), rule["alert"]
        assert f"`{rule['alert']}`" in PAGE.read_text(encoding="utf-8")
    names = [rule["alert"] for rule in alerts()]
    assert len(names) == len(set(names))


def test_prometheus_scrapes_the_port_that_is_served():
    (job,) = yaml.safe_load(SCRAPING.read_text(encoding="utf-8"))["scrape_configs"]

    assert job["static_configs"] == [{"targets": [f"127.0.0.1:{Settings.model_fields['metrics_port'].default}"]}]
    assert f'up{{job="{job["job_name"]}"}}' in RULES.read_text(encoding="utf-8")


def test_the_dashboards_panels_have_their_own_place_and_ask_the_chosen_prometheus():
    found = panels()

    assert len({panel["id"] for panel in found}) == len(found)
    for one, other in combinations([panel["gridPos"] for panel in found], 2):
        apart_x = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        apart_y = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert apart_x or apart_y
    for panel in found:
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        assert panel["title"]
        assert panel["description"]
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}


def test_each_label_in_a_query_is_one_of_its_metric(database, connection, settings, catalog, instance, tmp_path):
    take(connection, settings, [line()])
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        samples = collect(MetricsCollector(database, catalog, lambda: instance)).samples
    labels = {}
    for name, found in samples:
        labels.setdefault(name, set()).update(label for label, _ in found)
    labels["mv_check_passed"] = {"asset", "check", "severity"}

    for query in queries():
        for name, matchers in re.findall(r"\b(mv_[a-z_]+)\{([^}]*)\}", query):
            assert {re.split("[=!]", matcher)[0].strip() for matcher in matchers.split(",")} <= labels[name], query

    shown = [(rule["expr"], " ".join(rule["annotations"].values())) for rule in alerts()]
    shown += [(target["expr"], target["legendFormat"]) for panel in panels() for target in panel["targets"]]
    for query, text in shown:
        known = set().union(*(labels[name] for name in named_in(query) & labels.keys()))
        named = {label for pair in re.findall(r"\$labels\.(\w+)|\{\{(\w+)\}\}", text) for label in pair if label}
        assert named <= known, text


def promtool(*arguments):
    return subprocess.run([PROMTOOL, *map(str, arguments)], capture_output=True, text=True)


@needs_promtool
def test_promtool_takes_rules_and_configuration():
    for arguments in (("check", "rules", RULES), ("check", "config", SCRAPING)):
        done = promtool(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_promtool_takes_every_query_of_the_dashboard(tmp_path):
    rules = [{"record": f"panel:query{number}", "expr": query} for number, query in enumerate(queries())]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))

    done = promtool("check", "rules", tmp_path / "rules.yml")

    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_alerts_fire_when_they_should_and_not_before():
    done = promtool("test", "rules", RULE_TESTS)

    assert done.returncode == 0, done.stdout + done.stderr
    assert {rule["alert"] for rule in alerts()} == set(re.findall(r'alertname="(\w+)"', RULE_TESTS.read_text()))


def test_every_problem_that_is_told_has_a_rule_and_no_rule_names_another():
    told = {problem_type for problem_type, check in HEALTH_CHECKS.items() if check.is_told}

    assert {rule["labels"]["problem"] for rule in alerts() if "problem" in rule["labels"]} == told
    for rule in alerts():
        if "mv_problems_open" in rule["expr"]:
            assert f'type="{rule["labels"]["problem"]}"' in rule["expr"]


SLOW_S = Settings.model_fields["slow_refresh_seconds"].default
# The numbers that the expressions of a problem's rules compare with; 0 and 1 mean no and yes.
THRESHOLDS = {
    ProblemType.DAEMON_GONE: {DAEMON_SILENT_S},
    ProblemType.REFRESH_SLOW: {SLOW_S},
}


def test_the_thresholds_of_the_rules_are_those_of_the_code():
    for rule in alerts():
        numbers = {float(number) for number in re.findall(r"[<>=] (\d+)", rule["expr"])}
        expected = THRESHOLDS.get(rule["labels"].get("problem"), set())
        if "problem" in rule["labels"]:
            assert numbers <= expected | {0, 1}, rule["alert"]
            assert expected <= numbers, rule["alert"]
    (slow,) = [rule for rule in alerts() if rule["alert"] == "RefreshSlow"]
    assert re.findall(r'le="([0-9.]+)"', slow["expr"]) == [str(SLOW_S)]
    assert f"more than {SLOW_S / 60:g} minutes" in slow["annotations"]["summary"]
    assert SLOW_S in BUCKETS


def test_a_summary_that_says_for_how_long_says_it_as_the_rule():
    for rule in alerts():
        for said in re.findall(r"newest data for (.+)\.", rule["annotations"]["summary"]):
            assert {"15 minutes": "15m", "an hour": "1h"}[said] == rule["for"], rule["alert"]


def test_a_panel_turns_red_where_an_alert_begins():
    limits = {}
    for rule in alerts():
        limits.update(re.findall(r"^(mv_[a-z_]+)(?:\{[^}]*\})? >=? (\d+)$", rule["expr"]))
    red = {}
    for panel in panels():
        for step in panel["fieldConfig"]["defaults"].get("thresholds", {}).get("steps", ()):
            if step["color"] == "red":
                red.update({name: str(step["value"]) for name in named_in(panel["targets"][0]["expr"]) & set(limits)})

    assert {"mv_daemon_heartbeat_age_seconds", "mv_change_notes_oldest_age_seconds", "mv_business_days_behind"} == set(
        red
    )
    assert red == {name: limits[name] for name in red}
