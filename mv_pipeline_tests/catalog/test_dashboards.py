"""The file of dashboards: what is read from it, and how a wrong one is refused."""

import pytest

from mv_pipeline.catalog.dashboards import DashboardError, read_dashboards

CARD = "card: {title: 目標カード, description: 試験, description_en: A test., owner: team:x, reads: [mart.mv_x]}"


def test_a_dashboard_has_a_name_and_reads_views(tmp_path):
    (tmp_path / "dashboards.yaml").write_text(CARD, encoding="utf-8")

    (name,), (card,) = zip(*read_dashboards(tmp_path).items(), strict=True)
    assert (name, card.title, card.reads) == ("card", "目標カード", ("mart.mv_x",))


def test_without_a_file_there_is_no_dashboard(tmp_path):
    assert read_dashboards(tmp_path) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("card: [", "is no YAML"),
        (CARD.replace("title", "name"), "card.title: Field required; card.name: Extra inputs"),
        ("card", "Input should be a valid dictionary"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path, text, message):
    (tmp_path / "dashboards.yaml").write_text(text, encoding="utf-8")

    with pytest.raises(DashboardError, match=message):
        read_dashboards(tmp_path)
