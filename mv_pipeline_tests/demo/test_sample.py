"""The sample data: the same each time, and every file of it loads."""

from datetime import date, timedelta

from mv_pipeline.catalog.csv_kinds import KINDS, find_kind
from mv_pipeline.demo import sample
from mv_pipeline.intake.ingest import take_file
from mv_pipeline.intake.upload_log import missing_days

LAST_DAY = date(2025, 12, 10)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path):
    folders = [tmp_path / name for name in ("one", "two", "other")]
    files = [
        sample.write_files(folder, LAST_DAY, weeks=1, seed=seed)
        for folder, seed in zip(folders, (1, 1, 2), strict=True)
    ]
    contents = [[path.read_bytes() for path in paths] for paths in files]

    assert contents[0] == contents[1]
    assert contents[0] != contents[2]


def test_every_file_of_every_kind_loads(settings, connection):
    paths = sample.write_files(settings.inbox_dir, LAST_DAY)

    uploads = [take_file(connection, settings, find_kind(path.parent.name), path, "test") for path in paths]

    assert {upload.status for upload in uploads} == {"loaded"}
    assert {path.parent.name for path in paths} == {kind.name for kind in KINDS}


def test_the_quirks_of_real_exports_are_among_them(tmp_path):
    contents = [path.read_bytes() for path in sample.write_files(tmp_path, LAST_DAY)]

    def decoded(content):
        for encoding in ("utf-8-sig", "cp932"):
            try:
                return content.decode(encoding)
            except UnicodeDecodeError:
                continue
        raise AssertionError("neither encoding")

    texts = [decoded(content) for content in contents]
    assert any(content.startswith(b"\xef\xbb\xbf") for content in contents)
    assert any("(月)" in text for text in texts)
    assert any("合計" in text for text in texts)
    assert any("\r\n\r\n" in text or "\r\n,,," in text for text in texts)
    assert any("１" in text for text in texts)


def test_the_newest_days_have_only_flash_lines(settings, connection):
    for path in sample.write_files(settings.inbox_dir, LAST_DAY):
        take_file(connection, settings, find_kind(path.parent.name), path, "test")

    newest = connection.execute(
        "SELECT (SELECT max(slip_date) FROM stg.shogun_flash_receive), "
        "(SELECT max(slip_date) FROM stg.shogun_final_receive)"
    ).fetchone()

    assert newest[0] == LAST_DAY
    assert newest[1] < LAST_DAY


def test_inputs_are_filled_once(connection):
    first = sample.fill_inputs(connection, LAST_DAY)
    second = sample.fill_inputs(connection, LAST_DAY)

    assert all(first.values())
    assert not any(second.values())


# After a plain week, the year's end, a second Sunday, Golden Week, a Sunday, the summer closure and two holidays.
TODAYS = [
    date(2026, 1, 7),
    date(2026, 2, 9),
    date(2026, 5, 7),
    date(2026, 6, 8),
    date(2026, 8, 18),
    date(2026, 9, 24),
    date(2026, 11, 25),
]


def test_no_business_day_is_missing_on_whatever_day_the_demo_runs(settings, connection):
    """Else `doctor` would find something wrong right after the demo."""
    sample.fill_inputs(connection, TODAYS[0] - timedelta(days=1))
    for today in TODAYS:
        connection.execute("SELECT set_config('mv_pipeline.business_date', %s, false)", [today.isoformat()])
        paths = sample.write_files(settings.inbox_dir, today - timedelta(days=1))
        for path in (path for path in paths if path.parent.name == "shogun_flash_receive"):
            take_file(connection, settings, find_kind(path.parent.name), path, "test")

        assert missing_days(connection) == {"receive": []}, today
