"""The lint: every violation in every SQL file, with its line, its message and its fix."""

import re
import shutil

import pytest

from mv_pipeline.catalog.sql_file import Rule
from mv_pipeline.catalog.sql_folder import CatalogError, lint, load_catalog
from mv_pipeline.defs.pictures import picture_names
from mv_pipeline.settings import PROJECT_ROOT

HEADER = """\
/*
description: 試験
description_en: A test.
owner: team:data-platform
key: [ddate]
criticality: optional
*/
"""
PLAIN = HEADER.replace("key: [ddate]\ncriticality: optional\n", "")
ROLLUP = HEADER.replace("criticality: optional", "day: ddate")
PER_DAY = "SELECT slip_date AS ddate, count(*) AS n\nFROM stg.v_active_shogun_final_receive\nGROUP BY slip_date\n"
QUERY = "SELECT ddate, y\nFROM ref.calendar_day\n"
SOUND = HEADER + QUERY
PICTURES = picture_names()


@pytest.fixture
def folder(tmp_path):
    """Write SQL files by name, and give the folder."""

    def write(files):
        for name, text in files.items():
            path = tmp_path / f"{name}.sql"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return tmp_path

    return write


def read(sql_dir):
    return lint(sql_dir, PICTURES)


def load(sql_dir):
    return load_catalog(sql_dir, PICTURES)


def rules(found):
    return [(violation.line, violation.rule) for violation in found]


def changed(old, new, text=SOUND):
    assert old in text
    return text.replace(old, new)


def test_the_projects_own_files_have_no_violation():
    assert read(PROJECT_ROOT / "sql") == []


# The text of mart/mv_x.sql, the line and rule of its one violation, and a part of its message and of its fix.
REFUSED = [
    (QUERY, 1, Rule.HEADER, "doesn't begin with a header", "mv-pipeline new"),
    (SOUND.encode("cp932"), None, Rule.HEADER, "isn't encoded in UTF-8", "Save it again"),
    (changed("description: 試験", "description: 試験: 二"), 2, Rule.HEADER, "no YAML", "into quotes"),
    (changed("description: 試験\n", ""), 1, Rule.FIELD, "`description` is missing", "Write `description: …`"),
    (changed("owner:", "equal: a\nowner:"), 4, Rule.FIELD, "no field `equal`", "Write `equals`."),
    (changed("team:data-platform", "platform"), 4, Rule.FIELD, "`owner` can't be used: a team", "adding-a-view.md"),
    (changed("key: [ddate]\n", ""), 1, Rule.KEY, "needs a key", "Write `key: [column, …]`"),
    (changed("key: [ddate]", "key: []"), 5, Rule.KEY, "needs a key", "Write `key: [column, …]`"),
    (changed("criticality: optional\n", ""), 1, Rule.CRITICALITY, "is missing", "criticality: optional"),
    (changed(": optional", ": vital"), 6, Rule.CRITICALITY, "should be 'critical' or 'optional'", "adding-a-view"),
    (changed("key: [ddate]", "key: [ddate, y]\ndays: calendar"), 6, Rule.FIELD, "needs a key of one column", "ddate"),
    (changed("key:", "picture: sunset\nkey:"), 5, Rule.PICTURE, "no picture “sunset”", "receive_tons"),
    (changed("key:", "equals: mart.v_gone\nkey:"), 5, Rule.UNKNOWN_RELATION, "`equals` names mart.v_gone", ""),
    (
        changed("key:", "anomaly: {days: mart.v_gone, tons: t, where: 'true'}\nkey:"),
        5,
        Rule.UNKNOWN_RELATION,
        "`anomaly` names mart.v_gone",
        "",
    ),
    (changed("ddate, y\n", "ddate y z\n"), 8, Rule.QUERY, "The SQL can't be parsed", "psql"),
    (HEADER + "DROP TABLE mart.a", 8, Rule.QUERY, "isn't one SELECT", "single SELECT"),
    (SOUND + "; " + QUERY, 8, Rule.QUERY, "isn't one SELECT", "single SELECT"),
    (changed("ref.calendar_day", "calendar_day"), 9, Rule.SCHEMA, "has no schema", "Write ref.calendar_day."),
    (changed("calendar_day", "calender_day"), 9, Rule.UNKNOWN_RELATION, "There is no ref.calender_day", "Did you mean"),
    (changed("calendar_day", "calendar_day JOIN mart.mv_x USING (y)"), None, Rule.CIRCLE, "mart.mv_x → mart.mv_x", ""),
    (changed("owner:", "owner: team:x\nowner:"), 5, Rule.FIELD, "`owner` is written twice", "Keep one"),
    (changed("[ddate]", "[day]"), 5, Rule.KEY, "“day” isn't in the SELECT", "Its columns are ddate, y."),
    (changed("[ddate]", "[ddate, ddate]"), 5, Rule.KEY, "names a column twice", "Name it once."),
    (changed("key:", "indexes: [[y], [m]]\nkey:"), 5, Rule.INDEX, "“m” isn't in the SELECT", "Its columns are"),
    (
        changed("key:", "balance: {csv_type: glass, tons: y}\nkey:"),
        5,
        Rule.UNKNOWN_RELATION,
        "the list “glass”",
        "receive, shipment, yard",
    ),
    (
        changed("key:", "balance: {csv_type: yard, tons: t}\nkey:"),
        5,
        Rule.FIELD,
        "`balance`'s column “t” isn't in the SELECT",
        "Its columns are",
    ),
    (
        changed("key:", "checks: {a: {description: a, sql: SELECT (}}\nkey:"),
        5,
        Rule.QUERY,
        "The SQL of the check `a` can't be parsed",
        "psql",
    ),
]
# The same, but the catalogue takes it: it would show in the data, or never.
FOUND = [
    (changed("key:", "indexes: [[y], [y]]\nkey:"), 5, Rule.INDEX, "[y] is the same as another", "Leave it out."),
    (changed("key:", "indexes: [[ddate]]\nkey:"), 5, Rule.INDEX, "the same as the key", "Leave it out."),
    (changed("ddate, y", "*"), 8, Rule.STAR, "SELECT *", "Name the columns."),
    (changed("ddate, y", "c.*").replace("_day", "_day AS c"), 8, Rule.STAR, "SELECT *", "Name the columns."),
    (
        changed("y\nFROM", "nullif(y, 1) AS y,\n now() AS t\nFROM"),
        9,
        Rule.CLOCK,
        "now is another clock",
        "ref.business_date()",
    ),
    (
        changed("y\nFROM", "y\n, 'today'::date AS t\nFROM"),
        9,
        Rule.CLOCK,
        "'today' is evaluated once",
        "ref.business_date()",
    ),
    (changed("y\nFROM", "y, age(ddate) AS t\nFROM"), 8, Rule.CLOCK, "age is another clock", "ref.business_date()"),
    (changed("y\nFROM", "y,\n\nrandom() AS t\nFROM"), 10, Rule.VOLATILE, "random gives another value", "Leave it out"),
    (changed("_day\n", "_day TABLESAMPLE BERNOULLI (1)\n"), 9, Rule.VOLATILE, "TABLESAMPLE gives", "Leave it out"),
    (changed("ddate, y", "ddate, now() AS n"), 8, Rule.CLOCK, "now is another clock", "changed_at of its source"),
    (
        changed("key:", "reads_lines: for fun\nkey:"),
        5,
        Rule.LINES,
        "`reads_lines` is written, but no lines are read",
        "Leave it out",
    ),
]


@pytest.mark.parametrize(("text", "line", "rule", "message", "fix"), [*REFUSED, *FOUND])
def test_a_violation_has_its_line_message_and_fix(folder, text, line, rule, message, fix):
    (violation,) = read(folder({"mart/mv_x": text}))

    assert (violation.line, violation.rule) == (line, rule)
    assert message in violation.message
    assert fix in violation.fix
    assert "\n" not in str(violation)
    assert str(violation).startswith(f"{violation.path}{f':{line}' if line else ''}: {rule}: ")


@pytest.mark.parametrize(("text", "line", "rule", "message", "fix"), REFUSED)
def test_what_cant_work_is_refused_by_the_catalogue_too(folder, text, line, rule, message, fix):
    sql_dir = folder({"mart/mv_x": text})

    with pytest.raises(CatalogError) as caught:
        load(sql_dir)
    assert caught.value.problems == tuple(map(str, read(sql_dir)))


@pytest.mark.parametrize(("text", "line", "rule", "message", "fix"), FOUND)
def test_what_the_catalogue_takes_is_a_violation_all_the_same(folder, text, line, rule, message, fix):
    load(folder({"mart/mv_x": text}))


@pytest.mark.parametrize(
    "clock",
    [
        "now()",
        "NOW()",
        "pg_catalog.now()",
        "current_timestamp",
        "CURRENT_DATE",
        "current_time",
        "localtimestamp",
        "LOCALTIME",
        "clock_timestamp()",
        "statement_timestamp()",
        "transaction_timestamp()",
        "timeofday()",
        "date 'now'",
        "'yesterday'::timestamptz",
    ],
)
@pytest.mark.parametrize("place", ["SELECT ddate, {} AS t FROM ref.calendar_day", "{} IS NULL"])
def test_every_clock_is_found_wherever_it_is(folder, clock, place):
    query = place if place.startswith("SELECT") else f"SELECT ddate FROM ref.calendar_day WHERE {place}"

    found = read(folder({"ref/v_x": PLAIN + query.format(clock)}))

    assert rules(found) == [(6, Rule.CLOCK)]


@pytest.mark.parametrize("call", ["random()", "gen_random_uuid()", "nextval('stg.ids')", "uuidv7()", "current_user"])
def test_every_volatile_function_is_found(folder, call):
    (violation,) = read(folder({"ref/v_x": f"{PLAIN}SELECT ddate, {call} AS t FROM ref.calendar_day"}))

    assert violation.rule == Rule.VOLATILE


@pytest.mark.parametrize(
    "query",
    [
        "SELECT ddate, ref.business_date() AS today FROM ref.calendar_day",
        "SELECT ddate, 'now' AS word, age(ddate, '2020-01-01') AS age FROM ref.calendar_day",
        "WITH days AS (SELECT ddate FROM ref.calendar_day) SELECT d.ddate FROM (SELECT *, 1 AS one FROM days) AS d",
        "SELECT ddate, (SELECT count(*) FROM ref.holiday_jp) AS n FROM ref.calendar_day",
        "SELECT g.ddate::date AS ddate FROM generate_series(date '2021-01-01', '2022-01-01', '1 day') AS g (ddate)",
        "SELECT ddate FROM ref.calendar_day UNION ALL SELECT hdate FROM ref.holiday_jp",
    ],
)
def test_what_is_right_is_left_alone(folder, query):
    assert read(folder({"mart/mv_x": HEADER + query, "mart/v_y": PLAIN + query})) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mart/receive", "is no name of a view"),
        ("mart/mv_Receive", "is no name of a view"),
        ("log/v_receive", "“log” is no schema that holds views"),
        ("mart/mv_" + "a" * 60, "has 63 letters"),
        ("mart/old/v_receive", "is in no schema's folder"),
        ("v_receive", "is in no schema's folder"),
        ("mart/v_receive_source", "is made from the CSV kinds already"),
    ],
)
def test_a_name_that_cant_be_used_is_a_violation(folder, name, message):
    text = SOUND if "mv_" in name else PLAIN + QUERY

    sql_dir = folder({name: text})

    (violation,) = read(sql_dir)

    assert (violation.rule, violation.line) == (Rule.FILE_NAME, None)
    assert message in violation.message
    with pytest.raises(CatalogError, match=re.escape(message)):
        load(sql_dir)


def test_a_field_without_effect_on_a_plain_view_is_a_violation(folder):
    found = read(folder({"mart/v_x": SOUND}))

    assert rules(found) == [(5, Rule.FIELD), (6, Rule.FIELD)]


def test_all_violations_of_all_files_are_found_in_order(folder):
    found = read(
        folder(
            {
                "mart/mv_a": changed("optional", "vital").replace("ddate, y", "now() AS n"),
                "mart/mv_b": QUERY,
                "ref/v_c": PLAIN
                + "SELECT ddate FROM mart.mv_a JOIN mart.mv_b USING (ddate) JOIN mart.v_d USING (ddate)",
            }
        )
    )

    assert [(violation.path.stem, violation.line, violation.rule) for violation in found] == [
        ("mv_a", 5, Rule.KEY),
        ("mv_a", 6, Rule.CRITICALITY),
        ("mv_a", 8, Rule.CLOCK),
        ("mv_b", 1, Rule.HEADER),
        ("v_c", 6, Rule.UNKNOWN_RELATION),
    ]


LINES = "SELECT id, slip_date FROM stg.v_active_shogun_final_receive"
BY_DAY = HEADER + "SELECT slip_date AS ddate FROM {} WHERE slip_date IS NOT NULL GROUP BY slip_date"


def test_a_materialized_view_that_reads_lines_is_a_violation_where_it_does(folder):
    files = {"mart/v_lines": PLAIN + LINES, "mart/mv_x": BY_DAY.format("mart.v_lines")}
    (through,) = read(folder(files))
    (direct,) = read(folder({**files, "mart/mv_x": BY_DAY.format("\nraw.shogun_final_yard")}))

    assert (through.path.stem, through.line, through.rule) == ("mv_x", 8, Rule.LINES)
    assert "every line of stg.shogun_final_receive, through mart.v_lines," in through.message
    assert "mart.v_<list>_source" in through.fix
    assert (direct.line, direct.rule) == (9, Rule.LINES)
    assert "every line of raw.shogun_final_yard," in direct.message


def test_a_view_may_read_lines_that_says_why(folder):
    text = BY_DAY.format("mart.v_lines").replace("key:", "reads_lines: the rollup knows no customers\nkey:")

    assert read(folder({"mart/v_lines": PLAIN + LINES, "mart/mv_x": text})) == []


def test_reading_another_materialized_view_or_the_rollup_is_reading_no_lines(folder):
    lines = BY_DAY.format("stg.shogun_final_receive").replace("key:", "reads_lines: a test\nkey:")
    above = HEADER + "SELECT ddate FROM mart.mv_lines"
    rollup = HEADER + "SELECT ddate FROM mart.v_receive_source"

    assert read(folder({"mart/mv_lines": lines, "mart/mv_a": above, "mart/mv_b": rollup})) == []


def test_relations_that_read_each_other_are_one_violation(folder):
    files = {
        "mart/mv_a": SOUND.replace("ref.calendar_day", "mart.mv_b"),
        "mart/mv_b": SOUND.replace("ref.calendar_day", "mart.mv_a"),
    }
    files["mart/rollup_king_receive"] = ROLLUP.replace(
        "day: ddate", "day: ddate\nsource_of: {csv_type: receive, source: king, priority: 3}"
    ) + PER_DAY.replace("stg.v_active_shogun_final_receive", "mart.v_receive_source").replace("slip_date", "ddate")

    (violation,) = read(folder({name: files[name] for name in ("mart/mv_a", "mart/mv_b")}))
    (through_a_rollup,) = read(folder({"mart/mv_a": SOUND, "mart/mv_b": SOUND, **dict([files.popitem()])}))

    assert (violation.rule, through_a_rollup.rule) == (Rule.CIRCLE, Rule.CIRCLE)
    assert "mart.mv_a" in violation.message
    assert "mart.rollup_king_receive" in through_a_rollup.message


# The SELECT of mart/rollup_x.sql, the rule of its one violation, and a part of its message.
NOT_STORED = [
    ("SELECT slip_date AS ddate FROM stg.v_active_shogun_final_receive", Rule.QUERY, "doesn't group"),
    ("SELECT * FROM (SELECT slip_date AS ddate FROM stg.shogun_final_yard) AS y GROUP BY 1", Rule.STAR, "A star hides"),
    (PER_DAY.replace("AS n", "AS changed_at"), Rule.QUERY, "which every rollup gets by itself"),
    (PER_DAY.replace("slip_date", "created_at::date"), Rule.ROLLUP, "isn't made of slip_date, the day"),
    (PER_DAY.replace("slip_date", "max(slip_date)", 1), Rule.ROLLUP, "isn't made of one row's day"),
    (PER_DAY.replace("slip_date", "ref.business_date()", 1), Rule.CLOCK, "when they were stored"),
    (PER_DAY.replace("count(*)", "sum(count(*)) OVER ()"), Rule.ROLLUP, "depend on other days: WINDOW"),
    (PER_DAY + "LIMIT 3", Rule.ROLLUP, "depend on other days: LIMIT"),
    (PER_DAY.replace("SELECT", "SELECT DISTINCT ON (n)"), Rule.ROLLUP, "depend on other days: DISTINCT"),
    (PER_DAY.replace("GROUP BY slip_date", "GROUP BY ROLLUP (slip_date)"), Rule.ROLLUP, "depend on other days: ROLLUP"),
    (
        PER_DAY.replace("stg.v_active_", "raw.").replace("slip_date AS", "slip_date::date AS"),
        Rule.ROLLUP,
        "no day of the rows of raw.shogun_final_receive is logged",
    ),
    (
        "SELECT ddate, count(*) AS n FROM ref.calendar_day GROUP BY ddate",
        Rule.ROLLUP,
        "no day of the rows of ref.calendar_day is logged",
    ),
    ("SELECT ddate, count(*) AS n FROM mart.mv_y GROUP BY ddate", Rule.ROLLUP, "may be older than the lines"),
    ("SELECT ddate, count(*) AS n FROM mart.v_today GROUP BY ddate", Rule.CLOCK, ", through mart.v_today"),
    ("SELECT ddate, count(*) AS n FROM mart.v_window GROUP BY ddate", Rule.ROLLUP, ", through mart.v_window"),
]


@pytest.mark.parametrize(("query", "rule", "message"), NOT_STORED)
def test_a_rollup_whose_stored_rows_could_differ_is_refused(folder, query, rule, message):
    files = {
        "mart/mv_y": ROLLUP.replace("day: ddate", "criticality: optional\nreads_lines: why not") + PER_DAY,
        "mart/v_today": PLAIN + "SELECT slip_date AS ddate FROM stg.v_active_shogun_final_receive "
        "WHERE slip_date < ref.business_date()",
        "mart/v_window": PLAIN + "SELECT slip_date AS ddate, row_number() OVER (ORDER BY slip_date) AS n "
        "FROM stg.v_active_shogun_final_receive",
        "mart/rollup_x": ROLLUP + query,
    }
    found = [violation for violation in read(folder(files)) if violation.path.stem == "rollup_x"]

    assert [(violation.rule, message in violation.message) for violation in found if message in violation.message] == [
        (rule, True)
    ]
    with pytest.raises(CatalogError, match="rollup_x"):
        load(folder(files))


ACTIVE, YARD = "stg.v_active_shogun_final_receive", "stg.shogun_flash_yard"
BY_DAY_AND_ITEM = f"SELECT slip_date AS ddate, item_cd AS item, count(*) AS n FROM {ACTIVE} "
WITH_CALENDAR = f"SELECT r.slip_date AS ddate, count(*) AS n FROM {ACTIVE} AS r "
WITH_CALENDAR += "INNER JOIN ref.v_calendar_classified AS c ON c.ddate = r.slip_date "
TWO_LISTS = f"SELECT slip_date AS ddate, 'receive' AS list, count(*) AS n FROM {ACTIVE} GROUP BY slip_date "
TWO_LISTS += f"UNION ALL SELECT slip_date, 'yard', count(*) FROM {YARD} GROUP BY slip_date"
MONTH = "date_trunc('month', slip_date)"
# The SELECT of mart/rollup_x.sql, its key, and what the key leaves out of what the SELECT groups by.
KEYS = [
    (BY_DAY_AND_ITEM + "GROUP BY slip_date, item_cd", "ddate, item", None),
    (BY_DAY_AND_ITEM + "GROUP BY slip_date, item_cd", "ddate", "item_cd"),
    (BY_DAY_AND_ITEM + "GROUP BY 1, 2", "ddate", "item_cd"),
    (BY_DAY_AND_ITEM + "GROUP BY ddate, item", "ddate", "item_cd"),
    (BY_DAY_AND_ITEM + "GROUP BY ddate, item", "item, ddate", None),
    (BY_DAY_AND_ITEM + "GROUP BY (slip_date, item_cd)", "ddate", "item_cd"),
    (BY_DAY_AND_ITEM + "GROUP BY slip_date, item_cd, item_name", "ddate, item", "item_name"),
    # More than the grouping tells a row too.
    (BY_DAY_AND_ITEM + "GROUP BY slip_date, item_cd", "ddate, item, n", None),
    # Expressions: the same one, another one of the same column, and what gathers several.
    (BY_DAY_AND_ITEM.replace("item_cd", "item_cd + 1") + "GROUP BY slip_date, item_cd + 1", "ddate, item", None),
    (BY_DAY_AND_ITEM.replace("item_cd", "item_cd::text") + "GROUP BY slip_date, item_cd", "ddate, item", None),
    (BY_DAY_AND_ITEM + f"GROUP BY slip_date, item_cd, {MONTH}", "ddate, item", None),
    (f"SELECT {MONTH}::date AS ddate, count(*) AS n FROM {ACTIVE} GROUP BY {MONTH}", "ddate", None),
    (f"SELECT {MONTH}::date AS ddate, count(*) AS n FROM {ACTIVE} GROUP BY slip_date", "ddate", "slip_date"),
    # Its own column is meant, not the alias of the same name.
    (f"SELECT {MONTH}::date AS slip_date, count(*) AS n FROM {ACTIVE} GROUP BY slip_date", "slip_date", "slip_date"),
    (f"SELECT DISTINCT slip_date AS ddate, item_cd AS item FROM {ACTIVE}", "ddate", "item_cd"),
    (f"SELECT DISTINCT slip_date AS ddate, item_cd AS i FROM {ACTIVE} GROUP BY 1, 2, item_name", "ddate, i", None),
    # Through views, CTEs and subqueries.
    ("SELECT sales_date AS ddate, customer_id, count(*) AS n FROM mart.v_sales_tree_detail_base GROUP BY 1, 2, rep_id",
     "ddate, customer_id", "sales_staff_cd"),
    (f"WITH x AS (SELECT slip_date AS d, item_cd AS i FROM {ACTIVE}) SELECT d AS ddate FROM x GROUP BY d, i",
     "ddate", "item_cd"),
    # What has rows by day and customer may well have one name for each of them.
    ("SELECT sales_date AS ddate, customer, sum(visit_count) AS n FROM mart.rollup_customer_sales "
     "GROUP BY sales_date, customer, customer_name", "ddate, customer", None),
    (f"SELECT d AS ddate, n FROM (SELECT slip_date AS d, item_cd AS i, count(*) AS n FROM {ACTIVE} GROUP BY 1, 2) AS x "
     "GROUP BY d, i, n", "ddate", None),
    # A condition can leave a column one value, or tie it to another one.
    (BY_DAY_AND_ITEM + "WHERE item_cd = 3 GROUP BY slip_date, item_cd", "ddate", None),
    (BY_DAY_AND_ITEM + "WHERE item_cd IN (3) GROUP BY slip_date, item_cd", "ddate", None),
    (WITH_CALENDAR + "GROUP BY r.slip_date, c.day_type", "ddate", None),
    (WITH_CALENDAR + "GROUP BY r.slip_date, c.day_type, r.item_cd", "ddate", "item_cd"),
    # Whether the branches share rows, no text says; each of them is judged.
    (TWO_LISTS, "ddate, list", None),
    (TWO_LISTS, "ddate", None),
    (TWO_LISTS + ", vendor_cd", "ddate, list", "vendor_cd"),
]  # fmt: skip


@pytest.mark.parametrize(("query", "key", "grouped"), KEYS)
def test_a_key_that_leaves_out_what_a_rollup_groups_by_is_refused(folder, query, key, grouped):
    header = ROLLUP.replace("key: [ddate]\nday: ddate", f"key: [{key}]\nday: {'ddate' if 'ddate' in key else key}")
    sql_dir = shutil.copytree(PROJECT_ROOT / "sql", folder({}), dirs_exist_ok=True)
    folder({"mart/rollup_x": header + query})

    found = [violation for violation in read(sql_dir) if violation.rule is Rule.KEY]

    assert [(violation.path.stem, violation.line) for violation in found] == ([("rollup_x", 5)] if grouped else [])
    assert all(f".{grouped}, which the key leaves out" in violation.message for violation in found)
    assert all("Put its column into the key" in violation.fix for violation in found)


@pytest.mark.parametrize("header", [HEADER, ROLLUP.replace("day: ddate", "day: n"), ROLLUP.replace("day: ddate\n", "")])
def test_a_rollup_needs_its_day_in_its_key(folder, header):
    found = read(folder({"mart/rollup_x": header + PER_DAY}))

    assert "A rollup needs the column that is the day, in a key that identifies a row." in [
        one.message for one in found
    ]


def test_fields_that_have_no_effect_on_a_rollup_are_said(folder):
    found = read(folder({"mart/rollup_x": ROLLUP.replace("day: ddate", "day: ddate\ncriticality: critical") + PER_DAY}))

    (violation,) = found
    assert (violation.rule, violation.message) == (Rule.FIELD, "`criticality` has no effect on a rollup.")


def test_a_critical_view_that_reads_an_optional_one_is_a_violation(folder):
    critical = changed("optional", "critical")
    files = {
        "mart/mv_a": SOUND,
        "mart/v_b": PLAIN + "SELECT ddate FROM mart.mv_a",
        "mart/mv_c": critical.replace("ref.calendar_day", "mart.mv_a"),
        "mart/mv_d": critical.replace("ddate, y", "ddate").replace("ref.calendar_day", "mart.v_b"),
    }

    direct, through = read(folder(files))

    assert (direct.path.stem, direct.line, direct.rule) == ("mv_c", 6, Rule.CRITICALITY)
    assert "reads mart.mv_a, which is optional" in direct.message
    assert "reads mart.mv_a through mart.v_b" in through.message
    with pytest.raises(CatalogError):
        load(folder(files))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("card: {title: t, description: d, description_en: e, owner: team:x, reads: [mart.mv_y]}", "reads mart.mv_y"),
        ("card: {title: t}", "can't be used"),
        ("card: [", "no YAML"),
    ],
)
def test_a_violation_in_the_dashboards_file_is_found(folder, text, message):
    sql_dir = folder({"mart/mv_x": SOUND})
    (sql_dir / "dashboards.yaml").write_text(text, encoding="utf-8")

    (violation,) = read(sql_dir)

    assert (violation.path.name, violation.rule) == ("dashboards.yaml", Rule.DASHBOARD)
    assert message in violation.message
    with pytest.raises(CatalogError):
        load(sql_dir)


def test_a_byte_order_mark_is_no_violation(folder):
    sql_dir = folder({"mart/mv_x": b"\xef\xbb\xbf" + SOUND.encode()})

    assert read(sql_dir) == []
    assert "mart.mv_x" in load(sql_dir).relations


def test_loading_raises_every_violation_of_every_file_at_once(folder):
    sql_dir = folder(
        {
            "mart/mv_a": changed("optional", "vital").replace("ddate, y", "ddate, now() AS n"),
            "mart/mv_b": QUERY,
            "ref/v_c": PLAIN + "SELECT ddate FROM mart.mv_a JOIN mart.v_d USING (ddate)",
        }
    )

    with pytest.raises(CatalogError) as caught:
        load(sql_dir)
    refused = [str(violation) for violation in read(sql_dir) if violation.rule != Rule.CLOCK]
    assert caught.value.problems == tuple(refused)
    assert len(refused) == 3


def test_without_pictures_handed_in_none_is_judged(folder):
    sql_dir = folder({"mart/mv_x": changed("key:", "picture: sunset\nkey:")})

    assert lint(sql_dir) == []
    assert load_catalog(sql_dir).relations["mart.mv_x"].header.picture == "sunset"
