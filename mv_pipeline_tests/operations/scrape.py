"""Reading what a scrape gave."""

import urllib.request
from collections.abc import Iterable, Iterator

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from mv_pipeline.operations.metrics import MetricsCollector
from mv_pipeline_tests.processes import TIMEOUT_S


class Scrape:
    """The samples of one scrape, by name and labels."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self.samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in families
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float:
        return self.samples[name, frozenset(labels.items())]

    def by(self, label: str, name: str, **labels: str) -> dict[str, float]:
        """The values of one name that carry these labels, by another of their labels."""
        return {
            dict(found)[label]: value
            for (sample, found), value in self.samples.items()
            if sample == name and labels.items() <= dict(found).items()
        }

    def names(self) -> set[str]:
        return {name for name, _ in self.samples}

    def steady(self) -> Iterator[tuple[tuple[str, frozenset[tuple[str, str]]], float]]:
        """The samples that don't grow by themselves from second to second."""
        return ((key, value) for key, value in self.samples.items() if not key[0].endswith("_age_seconds"))


def collect(collector: MetricsCollector) -> Scrape:
    return Scrape(collector.collect())


def scrape(port: int) -> Scrape:
    """Scrape over HTTP, as Prometheus does, and parse it with the library's parser."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=TIMEOUT_S) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        return Scrape(text_string_to_metric_families(answer.read().decode()))
