"""What must hold of each table and view; made from the catalogue.

Nothing is repaired here but by the proof, and nothing of Dagster is known: asset checks and commands run these checks.
"""

import functools
import math
from collections.abc import Callable

from psycopg import sql

from mv_pipeline.catalog.csv_kinds import KINDS, LISTS, CsvList, FileKind
from mv_pipeline.catalog.relations import Catalog, Relation
from mv_pipeline.catalog.sql_file import Anomaly, Balance
from mv_pipeline.catalog.tables import ROLLUPS, SOURCES
from mv_pipeline.checks.check import Check, CheckResult, first_of, sql_check
from mv_pipeline.checks.recompute import Proof, fresh_rollup, proofs
from mv_pipeline.database.connection import Connection, identifier
from mv_pipeline.intake import cells
from mv_pipeline.intake.upload_log import MISSING_SINCE_DAYS, missing_days
from mv_pipeline.migrate.state import read_decision
from mv_pipeline.refresh.views import has_concurrent_index, last_refresh

DEFINITION = "definition"
PROOF = "full_recompute"
UPLOAD_CALENDAR = "overview.upload_calendar"
_SHOWN_HASH = 12
_UPLOADS = 20
_UNUSUAL_Z = 3.0
_LEAST_DAYS = 3
# A view that changes wholly at each refresh needs twice its rows; autovacuum comes once a minute at the soonest.
_BLOAT_TIMES = 4
_BLOAT_FROM_BYTES = 10_000_000


@functools.cache
def all_checks(catalog: Catalog) -> dict[str, list[Check]]:
    """Every check by the name of the table or view that it is of; made once for a catalogue."""
    checks: dict[str, list[Check]] = {
        **{f"raw.{kind.name}": [_last_upload(kind)] for kind in KINDS},
        **{f"stg.{kind.name}": _uploads(kind) for kind in KINDS},
        **{table.name: [_change_log(csv_type)] for csv_type, table in ROLLUPS.items()},
        UPLOAD_CALENDAR: [_missing_files(csv_list) for csv_list in LISTS if csv_list.daily],
    }
    for name, relation in catalog.relations.items():
        checks[name] = [definition_check(relation)]
        if relation.materialized:
            checks[name] += view_checks(catalog, relation)
    for name, prove in proofs(catalog).items():
        checks[name].append(_proof(prove))
    return checks


def view_checks(catalog: Catalog, view: Relation) -> list[Check]:
    """The quick checks of a materialized view: those that hold for all, and those that its header asks for."""
    header = view.header
    return [
        _row_count(view),
        _key_unique(view),
        _up_to_date(catalog, view),
        _concurrent_index(view),
        _bloat(view),
        *([_newest_day(view)] if header.days else []),
        *([_mass_balance(view, header.balance)] if header.balance else []),
        *([_equals(view, header.equals)] if header.equals else []),
        *([_yesterday_usual(view, header.anomaly)] if header.anomaly else []),
        *(_no_rows(view, name, check.description, check.sql) for name, check in header.checks.items()),
    ]


def definition_check(relation: Relation) -> Check:
    """The check that a view in the database is what its file says; it finds an edited file and a change by hand."""

    def run(connection: Connection) -> CheckResult:
        wanted = relation.definition_hash[:_SHOWN_HASH]
        row = connection.execute(
            "SELECT definition_hash FROM log.relation WHERE name = %s AND to_regclass(name) IS NOT NULL",
            [relation.name],
        ).fetchone()
        found = row[0][:_SHOWN_HASH] if row else "none"
        decision = read_decision(connection, relation)
        by_hand = decision.action == "swap" and found == wanted
        return CheckResult(
            decision.action == "keep",
            f"Definition {found} found in the database, {wanted} of the file expected"
            f"{': ' + decision.reason if decision.reason else ''}.",
            {"found": found, "expected": wanted, "changed_by_hand": by_hand},
        )

    return Check(
        DEFINITION,
        "What the database holds is what the SQL file says.",
        run,
        f"Run `mv-pipeline diff {relation.name}`, then `mv-pipeline migrate`.",
        nightly=True,
    )


def _proof(prove: Callable[[Connection], Proof]) -> Check:
    description = "Every row is what a full recompute from the staging lines gives. Repairs what differs."
    return Check(
        PROOF, description, lambda connection: prove(connection).result(), "Run `mv-pipeline proof`.", nightly=True
    )


def _compose(view: Relation, text: str, **more: sql.Composable) -> sql.Composed:
    """A query on a view; `{day}` and `{key}` are its key."""
    key = sql.SQL(", ").join(map(sql.Identifier, view.header.key))
    until = "WHERE ddate < ref.business_date()" if view.header.days == "until_yesterday" else ""
    days = sql.SQL(f"SELECT ddate, true AS wanted FROM ref.calendar_day {until}")
    return sql.SQL(text).format(view=identifier(view.name), key=key, day=key, days=days, **more)


def _refresh(view: Relation) -> str:
    return f"Run `mv-pipeline refresh {view.name}`; if the check still fails, run `mv-pipeline doctor`."


def _row_count(view: Relation) -> Check:
    description = "The view has the rows that it must have, and is not empty."
    if not view.header.days:
        query = "SELECT count(*) > 0 AS passed, count(*) AS rows FROM {view}"
        message = "{rows} rows found, at least 1 expected."
        return sql_check("row_count", description, _compose(view, query), message, _refresh(view))
    query = """
        WITH found AS (SELECT {day} AS ddate, count(*) AS rows FROM {view} GROUP BY 1),
        compared AS (
            SELECT ddate, coalesce(rows, 0) AS rows, wanted, wanted IS TRUE AND rows IS NOT DISTINCT FROM 1 AS same
            FROM found FULL JOIN ({days}) AS days USING (ddate)
        )
        SELECT bool_and(same) AS passed, sum(rows)::bigint AS rows, count(wanted) AS expected,
            ARRAY(SELECT coalesce(ddate::text, 'no day') || ': ' || rows FROM compared WHERE NOT same ORDER BY ddate)
            AS wrong_days
        FROM compared
    """
    return sql_check(
        "row_count",
        description,
        _compose(view, query),
        "{rows} rows found, {expected} expected: one per calendar day{wrong_days}.",
        _refresh(view),
    )


def _key_unique(view: Relation) -> Check:
    key = ", ".join(view.header.key)
    query = """
        SELECT doubled = 0 AND "null" = 0 AS passed, * FROM (
            SELECT count(*) - count(DISTINCT ({key})) AS doubled, count(*) FILTER (WHERE num_nulls({key}) > 0) AS "null"
            FROM {view}
        ) AS keys
    """
    return sql_check(
        "key_unique",
        f"({key}) is unique and never NULL.",
        _compose(view, query),
        "{doubled} duplicate and {null} NULL keys found, 0 expected.",
        f"Correct the SELECT of {view.name} so that it gives one row for each ({key}), then run `mv-pipeline migrate`.",
    )


def _up_to_date(catalog: Catalog, view: Relation) -> Check:
    def run(connection: Connection) -> CheckResult:
        last = last_refresh(connection, catalog, view)
        if last is None:
            return CheckResult(False, "0 refreshes found, at least 1 expected.", {}, "Run `mv-pipeline migrate`.")
        reasons = [
            *(f"{name} changed" for name in last.news),
            *(["the business date moved"] if last.date_moved else []),
            *(["the database was restored on another server"] if last.restored else []),
        ]
        return CheckResult(
            last.fresh,
            f"{len(reasons)} changes found since the last refresh at {last.at:%Y-%m-%d %H:%M:%S} (Asia/Tokyo), "
            f"0 expected{': ' if reasons else ''}{', '.join(reasons)}.",
            {"last_refresh": last.at.isoformat(), "seconds": last.seconds, "news": ", ".join(reasons) or "none"},
        )

    return Check(
        "up_to_date",
        "Nothing upstream has changed since the last refresh, and the business date hasn't moved.",
        run,
        _refresh(view),
    )


def _concurrent_index(view: Relation) -> Check:
    def run(connection: Connection) -> CheckResult:
        passed = has_concurrent_index(connection, view)
        return CheckResult(passed, f"{'At least 1' if passed else 0} compatible index found, at least 1 expected.", {})

    return Check(
        "concurrent_index",
        "A unique index that REFRESH CONCURRENTLY can use exists.",
        run,
        f"Run `CREATE UNIQUE INDEX ON {view.name} ({', '.join(view.header.key)})` as the view's owner.",
    )


def _bloat(view: Relation) -> Check:
    # A row as a value has the same header as in the file; it begins at a multiple of 8 and has a pointer of 4 bytes.
    # A page of 8192 bytes has a header of 24. REFRESH … CONCURRENTLY leaves dead rows until a vacuum.
    query = """
        WITH measured AS (
            SELECT count(*) AS rows, sum((pg_column_size(v.*) + 7) / 8 * 8 + 4) AS bytes FROM {view} AS v
        ),
        sizes AS (
            SELECT rows, pg_relation_size(%(view)s::regclass) AS bytes,
                (ceil(coalesce(measured.bytes, 0) / 8168.0) * 8192)::bigint AS bytes_needed,
                coalesce(pg_stat_get_dead_tuples(%(view)s::regclass), 0) AS dead_rows
            FROM measured
        )
        SELECT bytes <= bytes_allowed AS passed, sizes.*, bytes_allowed
        FROM sizes CROSS JOIN LATERAL greatest(%(times)s * bytes_needed, %(least)s) AS bytes_allowed
    """
    return sql_check(
        "bloat",
        "The view's file isn't far larger than its rows need.",
        _compose(view, query),
        "{bytes:,} bytes found for {rows:,} rows that need {bytes_needed:,}; at most {bytes_allowed:,} expected.",
        "Find the old transaction that keeps dead rows, or enable autovacuum (docs/retention.md); then run "
        f"`VACUUM FULL {view.name}`, for which readers wait.",
        severity="WARN",
        params={"view": view.name, "times": _BLOAT_TIMES, "least": _BLOAT_FROM_BYTES},
    )


def _newest_day(view: Relation) -> Check:
    query = """
        SELECT newest IS NOT DISTINCT FROM expected AS passed, coalesce(newest::text, 'No day') AS newest_day, expected
        FROM (SELECT max({day}) AS newest FROM {view}) AS view,
            (SELECT max(ddate) AS expected FROM ({days}) AS d) AS days
    """
    return sql_check(
        "newest_day",
        "The newest day is the one it must be.",
        _compose(view, query),
        "{newest_day} found as the newest day, {expected} expected.",
        _refresh(view),
    )


def _mass_balance(view: Relation, balance: Balance) -> Check:
    query = """
        WITH recent AS MATERIALIZED (
            SELECT DISTINCT ddate FROM {rollup}
            WHERE changed_at > now() - interval '2 days' AND ddate < ref.business_date()
        ),
        counted AS (
            SELECT DISTINCT ON (ddate) ddate, net_weight_kg FROM ({fresh}) AS fresh
            WHERE ddate = ANY (ARRAY(SELECT ddate FROM recent)) ORDER BY ddate, priority
        ),
        compared AS (
            SELECT ddate, v.tons AS found, coalesce(round(net_weight_kg / 1000, 3), 0) AS expected
            FROM recent LEFT JOIN counted USING (ddate)
            LEFT JOIN (SELECT {day} AS ddate, {tons} AS tons FROM {view}) AS v USING (ddate)
        ),
        wrong AS (SELECT * FROM compared WHERE found IS DISTINCT FROM expected)
        SELECT NOT EXISTS (SELECT FROM wrong) AS passed, count(*) AS days,
            coalesce(sum(found), 0) AS found, coalesce(sum(expected), 0) AS expected,
            ARRAY(SELECT ddate || ': ' || coalesce(found::text, 'none') || ' / ' || expected FROM wrong ORDER BY ddate)
            AS wrong_days
        FROM compared
    """
    return sql_check(
        "mass_balance",
        "On every day that changed within two days, the tons are those of the active staging lines.",
        _compose(
            view,
            query,
            rollup=identifier(ROLLUPS[balance.csv_type].name),
            # The staging lines themselves, not the rollup: that is what the check is for.
            fresh=fresh_rollup(balance.csv_type),
            tons=sql.Identifier(balance.tons),
        ),
        "{found} tons found on the {days} days that changed lately, {expected} expected{wrong_days}.",
        "Run `mv-pipeline refresh --full`; if the check still fails, run `mv-pipeline doctor`.",
    )


def _equals(view: Relation, other: str) -> Check:
    query = """
        SELECT count(*) = 0 AS passed, count(*) AS differing
        FROM ((TABLE {view} EXCEPT ALL TABLE {other}) UNION ALL (TABLE {other} EXCEPT ALL TABLE {view})) AS wrong
    """
    return sql_check(
        "equals_live_view",
        f"Holds the same rows as {other}.",
        _compose(view, query, other=identifier(other)),
        f"{{differing}} rows found that differ from {other}, 0 expected.",
        _refresh(view),
    )


def _yesterday_usual(view: Relation, anomaly: Anomaly) -> Check:
    query = _compose(
        view,
        "SELECT ddate, {tons}, ave, sigma, n, quality FROM {of_days} JOIN {view} USING ({key}) "
        "WHERE ddate = ref.business_date() - 1 AND ({where})",
        tons=sql.Identifier(anomaly.tons),
        of_days=identifier(anomaly.days),
        where=sql.SQL(anomaly.where),  # the header's own SQL
    )

    def run(connection: Connection) -> CheckResult:
        row = connection.execute(query).fetchone()
        if row is None:
            return CheckResult(True, "Yesterday isn't one of the profile's days, or nothing has come for it yet.", {})
        ddate, tons, mean, sigma, count, quality = row
        # Yesterday itself is among the profile's few days; with it no z could ever exceed (n - 1) / √n.
        others = leave_one_out(float(tons), float(mean), float(sigma or 0), count)
        if quality == "LOW_SAMPLE" or others is None:
            return CheckResult(True, f"{count} days of this ISO week and weekday are too few to judge {ddate}.", {})
        expected, deviation = others
        distance = float(tons) - expected
        z = distance / deviation if deviation else None
        return CheckResult(
            abs(distance) <= _UNUSUAL_Z * deviation,
            f"{ddate}: {float(tons):,.1f} tons found, {expected:,.1f} ± {deviation:,.1f} expected from {count - 1} "
            f"days before{'' if z is None else f', z = {z:+.1f}'}.",
            {
                "found": float(tons),
                "expected": expected,
                "sigma": deviation,
                "days": count - 1,
                **({} if z is None else {"z": z}),
            },
        )

    return Check(
        "yesterday_usual",
        f"Yesterday's tons lie within {_UNUSUAL_Z:g} σ of the mean of the same ISO week and weekday before.",
        run,
        "Inspect the day's uploads (`mv-pipeline calendar`): has a list come in part or twice?",
        "WARN",
    )


def leave_one_out(value: float, mean: float, sigma: float, count: int) -> tuple[float, float] | None:
    """Mean and sample standard deviation of a sample after one of its values is taken out; None: too few are left.

    Args:
        value: the value to take out.
        mean: of the whole sample.
        sigma: of the whole sample.
        count: its size.
    """
    if count - 1 < _LEAST_DAYS:
        return None
    rest = count - 1
    squares = (count - 1) * sigma**2 - (value - mean) ** 2 * count / rest
    # The profile is rounded, so that a sum of squares of nothing may come out below zero.
    return (count * mean - value) / rest, math.sqrt(max(squares, 0) / (rest - 1))


def _no_rows(view: Relation, name: str, description: str, query: str) -> Check:
    # The header's own SQL may end in a semicolon, or in a comment, which goes on to the end of its line.
    rows = sql.SQL(query.strip().rstrip(";") + "\n")
    return sql_check(
        name,
        description,
        sql.SQL(
            "SELECT count(*) = 0 AS passed, count(*) AS rows, coalesce(array_agg(wrong::text), ARRAY[]::text[]) "
            "AS offending FROM ({}) AS wrong"
        ).format(rows),
        "{rows} offending rows found, 0 expected{offending}.",
        _refresh(view),
    )


def _last_upload(kind: FileKind) -> Check:
    """Whether a kind's newest file was loaded; if not, why, and where to put the corrected one."""
    query = """
        SELECT processing_status = 'success' AS passed, id AS upload_file_id,
            CASE WHEN processing_status = 'success'
                THEN format('「%%s」を取り込みました。 %%s lines of %%s found, 0 problems',
                    file_name, row_count, file_name)
                ELSE format('「%%s」を取り込めませんでした（問題%%s件）：%%s %%s problems found in %%s, 0 expected',
                    file_name, problems, error_message, problems, file_name)
            END AS said
        FROM log.upload_file, coalesce((metadata->>'problems')::int, 1) AS problems
        WHERE file_type = %(version)s AND csv_type = %(csv_type)s ORDER BY id DESC LIMIT 1
    """
    return sql_check(
        "last_upload_accepted",
        "The newest file was loaded.",
        sql.SQL(query),
        "{said}.",
        f"ファイルを直して inbox/{kind.name}/ に置き直してください。 Correct the file and drop it again.",
        severity="WARN",
        params={"version": kind.version.upper(), "csv_type": kind.list.csv_type},
        no_row="No file has come yet.",
    )


def _uploads(kind: FileKind) -> list[Check]:
    """Whether file, raw and stg hold the same lines, kg and yen, for each of a kind's newest uploads."""
    types = {column.name: column.type for column in kind.columns}

    def raw_sum(column: str) -> sql.Composable:
        value = cells.value(cells.trimmed(sql.Identifier(column)), types[column])
        return sql.SQL("coalesce(sum({}), 0)").format(value)

    query = """
        WITH upload AS (
            SELECT id, metadata FROM log.upload_file
            WHERE file_type = %(version)s AND csv_type = %(csv_type)s AND processing_status = 'success'
                AND metadata ? 'lines' ORDER BY id DESC LIMIT %(uploads)s
        ),
        compared AS (
            SELECT id, what, file, raw, stg, file = raw AND raw = stg AS same FROM upload
            CROSS JOIN LATERAL (
                SELECT count(*)::numeric AS n, {raw_kg} AS kg, {raw_yen} AS yen
                FROM {raw} WHERE upload_file_id = upload.id
            ) AS r
            CROSS JOIN LATERAL (
                SELECT count(*)::numeric AS n, coalesce(sum(net_weight), 0) AS kg, coalesce(sum(amount), 0) AS yen
                FROM {stg} WHERE upload_file_id = upload.id
            ) AS s
            CROSS JOIN LATERAL (VALUES
                ('rows', (metadata->>'lines')::numeric - (metadata->>'blank_lines')::numeric
                    - (metadata->>'total_lines')::numeric, r.n, s.n),
                ('kg', (metadata->>'net_weight_kg')::numeric, r.kg, s.kg),
                ('yen', (metadata->>'amount_yen')::numeric, r.yen, s.yen)
            ) AS sums (what, file, raw, stg)
            WHERE what = ANY (%(what)s)
        )
        SELECT count(*) FILTER (WHERE same IS NOT TRUE) = 0 AS passed,
            count(*) FILTER (WHERE same IS NOT TRUE) AS differences, count(DISTINCT id) AS uploads,
            ARRAY(SELECT format('upload %%s: %%s file %%s, raw %%s, stg %%s', id, what, file, raw, stg)
                FROM compared WHERE same IS NOT TRUE ORDER BY id DESC, what) AS wrong,
            ARRAY(SELECT what || ' ' || file FROM compared WHERE id = (SELECT max(id) FROM upload)) AS newest
        FROM compared
    """
    composed = sql.SQL(query).format(
        raw=sql.Identifier("raw", kind.name),
        stg=sql.Identifier("stg", kind.name),
        raw_kg=raw_sum("net_weight"),
        raw_yen=raw_sum("amount"),
    )
    texts = {
        "rows_as_in_file": (
            "Rows in stg and raw = lines of the file − reported blank and total lines, for each of the newest uploads.",
            ["rows"],
        ),
        "mass_balance": ("Σ kg and Σ yen of the file = raw = stg, for each of the newest uploads.", ["kg", "yen"]),
    }
    return [
        sql_check(
            name,
            description,
            composed,
            "{differences} differences between file, raw and stg found in the {uploads} newest uploads, "
            "0 expected{wrong}.",
            f"Drop these files again into inbox/{kind.name}/, and ask who changed the tables by hand.",
            params={
                "version": kind.version.upper(),
                "csv_type": kind.list.csv_type,
                "uploads": _UPLOADS,
                "what": what,
            },
        )
        for name, (description, what) in texts.items()
    ]


def _change_log(csv_type: str) -> Check:
    """Whether a list's rollup has read the whole change log."""
    query = """
        SELECT count(*) = 0 AS passed, count(*) AS waiting,
            coalesce(to_char(min(noted_at), 'YYYY-MM-DD HH24:MI:SS'), 'none') AS oldest
        FROM log.change_note WHERE relation = ANY (%(tables)s)
    """
    return sql_check(
        "notes_read",
        "No change waits to be rolled up.",
        sql.SQL(query),
        "{waiting} change log rows found waiting (the oldest: {oldest}), 0 expected.",
        f"Run `mv-pipeline refresh --csv-type {csv_type}`.",
        severity="WARN",
        params={"tables": [source.table for source in SOURCES if source.csv_type == csv_type]},
    )


def _missing_files(csv_list: CsvList) -> Check:
    """Whether a file has come for each of the last business days by the next morning."""
    folders = " か ".join(f"inbox/{kind.name}" for kind in KINDS if kind.list == csv_list)

    def run(connection: Connection) -> CheckResult:
        missing = [str(day) for day in missing_days(connection).get(csv_list.csv_type, [])]
        return CheckResult(
            not missing,
            f"{len(missing)} of the business days that are due found without a {csv_list.csv_type} file, 0 expected"
            f"{first_of(missing)}.",
            {"missing": len(missing), "days": ", ".join(missing) or "none"},
        )

    return Check(
        f"{csv_list.csv_type}_files_complete",
        f"Each business day of the last {MISSING_SINCE_DAYS} has a {csv_list.csv_type} file by the next morning.",
        run,
        f"{csv_list.title}のCSVを {folders} に置いてください。 Export the list for these days and drop it; "
        "if the plant was closed, enter the days in ref.calendar_exception.",
        "WARN",
    )
