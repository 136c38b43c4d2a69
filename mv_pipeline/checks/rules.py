"""What has to hold of each table and view, and looking whether it does; made from the catalogue.

A finding says what was found, what was expected and what to do. Nothing is repaired here, and nothing of Dagster is
known: the asset checks and the command line look through the same probes.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from psycopg import sql

from mv_pipeline.catalog.csv_kinds import KINDS, CsvList, FileKind
from mv_pipeline.catalog.relations import Anomaly, Balance, Catalog, Relation
from mv_pipeline.catalog.sources import SOURCES
from mv_pipeline.catalog.tables import ROLLUPS
from mv_pipeline.checks import bloat
from mv_pipeline.database.connection import Connection, identifier, one_row, scalar
from mv_pipeline.intake import cells
from mv_pipeline.intake.upload_log import missing_days
from mv_pipeline.migrate.state import read_decision
from mv_pipeline.refresh.views import has_concurrent_index, last_refresh

DEFINITION = "definition"
_SHOWN_HASH = 12
_SHOWN = 10
_UPLOADS = 20
_UNUSUAL_Z = 3.0
_LEAST_DAYS = 3
_MISSING_SINCE_DAYS = 14
_WRONG_SHOWN = 3


@dataclass(frozen=True)
class Finding:
    """What a check found: whether it passed, a sentence, and the numbers behind it."""

    passed: bool
    message: str
    metadata: dict[str, str | int | float]


def _judge(passed: bool, said: str, todo: str, metadata: dict[str, str | int | float]) -> Finding:
    """A finding; what to do is said only where it failed."""
    return Finding(passed, said if passed else f"{said} {todo}", metadata)


@dataclass(frozen=True)
class Probe:
    """One check of one relation: its name, what it holds to be true, and how it looks."""

    name: str
    description: str
    look: Callable[[Connection], Finding]
    severity: Literal["ERROR", "WARN"] = "ERROR"


def view_probes(catalog: Catalog, view: Relation) -> list[Probe]:
    """The checks of a materialized view: those that hold for all, and those that its header asks for."""
    header = view.header
    probes = [
        Probe("row_count", "The view has the rows that it must have, and is not empty.", _row_count(view)),
        Probe("key_unique", f"({', '.join(header.key)}) is unique and never NULL.", _key_unique(view)),
        Probe(
            "up_to_date",
            "Nothing upstream has changed since the last refresh, and the business date hasn't moved.",
            _up_to_date(catalog, view),
        ),
        Probe(
            "concurrent_index",
            "A unique index fit for REFRESH CONCURRENTLY exists.",
            _concurrent_index(view),
        ),
        Probe("bloat", "The view's file isn't far larger than its rows need.", _bloat(view), "WARN"),
    ]
    if header.days:
        probes.append(Probe("newest_day", "The newest day is the one it must be.", _newest_day(view)))
    if header.balance:
        probes.append(
            Probe(
                "mass_balance",
                "On every day that changed within two days, the tons are those of the active staging lines.",
                _mass_balance(view, header.balance),
            )
        )
    if header.equals:
        probes.append(Probe("equals_live_view", f"Holds the same rows as {header.equals}.", _equals(view)))
    if header.anomaly:
        probes.append(
            Probe(
                "yesterday_usual",
                f"Yesterday's tons lie within {_UNUSUAL_Z:g} σ of the mean of the same ISO week and weekday before.",
                _yesterday_usual(view, header.anomaly),
                "WARN",
            )
        )
    for name, check in header.checks.items():
        probes.append(Probe(name, check.description, _no_rows(view, check.sql)))
    return probes


def definition_probe(relation: Relation) -> Probe:
    """The check that a view in the database is what its file says; it finds an edited file and a change by hand."""

    def look(connection: Connection) -> Finding:
        wanted = relation.definition_hash[:_SHOWN_HASH]
        row = connection.execute(
            "SELECT definition_hash FROM log.relation WHERE name = %s AND to_regclass(name) IS NOT NULL",
            [relation.name],
        ).fetchone()
        found = row[0][:_SHOWN_HASH] if row else "none"
        decision = read_decision(connection, relation)
        by_hand = decision.action == "swap" and found == wanted
        return _judge(
            decision.action == "keep",
            f"Definition {found} found in the database, {wanted} of the file expected"
            f"{': ' + decision.reason if decision.reason else ''}.",
            f"Look at `mv-pipeline diff {relation.name}`, then run `mv-pipeline migrate`.",
            {"found": found, "expected": wanted, "changed_by_hand": by_hand},
        )

    return Probe(DEFINITION, "What the database holds is what the SQL file says.", look)


def _row_count(view: Relation) -> Callable[[Connection], Finding]:
    def look(connection: Connection) -> Finding:
        found = scalar(connection, sql.SQL("SELECT count(*) FROM {}").format(identifier(view.name)))
        if not view.header.days:
            return _judge(found > 0, f"{found} rows found, at least 1 expected.", _refresh(view), {"rows": found})
        differing = connection.execute(
            sql.SQL(
                "SELECT ddate, count FROM (SELECT {day} AS ddate, count(*) FROM {view} GROUP BY 1) AS found "
                "FULL JOIN ({expected}) AS expected USING (ddate) "
                "WHERE expected.wanted IS NULL OR found.count IS DISTINCT FROM 1 ORDER BY ddate"
            ).format(
                day=sql.Identifier(view.header.key[0]),
                view=identifier(view.name),
                expected=_expected_days(view),
            )
        ).fetchall()
        expected = scalar(connection, sql.SQL("SELECT count(*) FROM ({}) AS days").format(_expected_days(view)))
        wrong = [f"{day}: {count or 0}" for day, count in differing]
        return _judge(
            not differing,
            f"{found} rows found, {expected} expected: one per calendar day{_wrong(wrong)}.",
            _refresh(view),
            {"rows": found, "expected": expected, "wrong_days": ", ".join(wrong[:_SHOWN]) or "none"},
        )

    return look


def _expected_days(view: Relation) -> sql.Composable:
    if view.header.days == "until_yesterday":
        return sql.SQL("SELECT ddate, true AS wanted FROM ref.calendar_day WHERE ddate < ref.business_date()")
    return sql.SQL("SELECT ddate, true AS wanted FROM ref.calendar_day")


def _key_unique(view: Relation) -> Callable[[Connection], Finding]:
    columns = sql.SQL(", ").join(map(sql.Identifier, view.header.key))
    nulls = sql.SQL(" OR ").join(sql.SQL("{} IS NULL").format(sql.Identifier(name)) for name in view.header.key)

    def look(connection: Connection) -> Finding:
        row = one_row(
            connection,
            sql.SQL(
                "SELECT count(*) - count(DISTINCT ({columns})), count(*) FILTER (WHERE {nulls}) FROM {view}"
            ).format(columns=columns, nulls=nulls, view=identifier(view.name)),
        )
        doubles, empty = row
        return _judge(
            not doubles and not empty,
            f"{doubles} doubled and {empty} NULL keys found, 0 expected.",
            f"Correct the SELECT of {view.name}, so that it gives one row for each ({', '.join(view.header.key)}), "
            "then run `mv-pipeline migrate`.",
            {"doubled": doubles, "null": empty},
        )

    return look


def _up_to_date(catalog: Catalog, view: Relation) -> Callable[[Connection], Finding]:
    def look(connection: Connection) -> Finding:
        last = last_refresh(connection, catalog, view)
        if last is None:
            return _judge(False, "0 refreshes found, at least 1 expected.", "Run `mv-pipeline migrate`.", {})
        reasons = [
            *(f"{name} changed" for name in last.news),
            *(["the business date moved"] if last.date_moved else []),
            *(["the database was restored on another server"] if last.restored else []),
        ]
        return _judge(
            last.fresh,
            f"{len(reasons)} changes found since the last refresh at {last.at:%Y-%m-%d %H:%M:%S} (Asia/Tokyo), "
            f"0 expected{': ' if reasons else ''}{', '.join(reasons)}.",
            _refresh(view),
            {"last_refresh": last.at.isoformat(), "seconds": last.seconds, "news": ", ".join(reasons) or "none"},
        )

    return look


def _concurrent_index(view: Relation) -> Callable[[Connection], Finding]:
    def look(connection: Connection) -> Finding:
        passed = has_concurrent_index(connection, view)
        return _judge(
            passed,
            f"{'At least 1' if passed else 0} fitting index found, at least 1 expected.",
            f"Run `CREATE UNIQUE INDEX ON {view.name} ({', '.join(view.header.key)})` as the view's owner.",
            {},
        )

    return look


def _bloat(view: Relation) -> Callable[[Connection], Finding]:
    def look(connection: Connection) -> Finding:
        found = bloat.measure(connection, view)
        advice = (
            " Find the old transaction that keeps dead rows, or switch autovacuum on (docs/retention.md); then run "
            f"`VACUUM FULL {view.name}`, for which readers wait."
            if found.too_much
            else ""
        )
        return Finding(
            not found.too_much,
            f"{found.found_bytes / 1e6:,.1f} MB found for {found.rows:,} rows that need "
            f"{found.needed_bytes / 1e6:,.1f} MB; at most {found.allowed_bytes / 1e6:,.1f} MB expected.{advice}",
            {
                "bytes": found.found_bytes,
                "bytes_needed": found.needed_bytes,
                "bytes_allowed": found.allowed_bytes,
                "dead_rows": found.dead_rows,
            },
        )

    return look


def _newest_day(view: Relation) -> Callable[[Connection], Finding]:
    def look(connection: Connection) -> Finding:
        row = one_row(
            connection,
            sql.SQL("SELECT (SELECT max({}) FROM {}), (SELECT max(ddate) FROM ({}) AS days)").format(
                sql.Identifier(view.header.key[0]), identifier(view.name), _expected_days(view)
            ),
        )
        newest, expected = row
        return _judge(
            newest == expected,
            f"{newest or 'No day'} found as the newest day, {expected} expected.",
            _refresh(view),
            {"newest_day": str(newest), "expected": str(expected)},
        )

    return look


def _mass_balance(view: Relation, balance: Balance) -> Callable[[Connection], Finding]:
    recent = sql.SQL(
        "SELECT array_agg(DISTINCT ddate) FROM {} WHERE changed_at > now() - interval '2 days' "
        "AND ddate < ref.business_date()"
    ).format(identifier(ROLLUPS[balance.csv_type].name))
    # Summed from the staging lines themselves, not from the rollup: that is what the check is for.
    lines = sql.SQL(" UNION ALL ").join(
        sql.SQL(
            "SELECT {day} AS ddate, {priority} AS priority, sum({weight}) AS kg FROM {active} "
            "WHERE {day} = ANY (%(days)s) GROUP BY {day}"
        ).format(
            day=sql.Identifier(source.day),
            priority=sql.Literal(source.priority),
            weight=sql.Identifier(source.weight_kg),
            active=identifier(source.active),
        )
        for source in SOURCES
        if source.csv_type == balance.csv_type
    )
    query = sql.SQL(
        "WITH counted AS (SELECT DISTINCT ON (ddate) ddate, kg FROM ({lines}) AS lines ORDER BY ddate, priority), "
        "compared AS (SELECT ddate, v.found, coalesce(round(c.kg / 1000, 3), 0) AS expected "
        "FROM unnest(%(days)s::date[]) AS days (ddate) LEFT JOIN counted AS c USING (ddate) "
        "LEFT JOIN (SELECT {day} AS ddate, {tons} AS found FROM {view}) AS v USING (ddate)) "
        "SELECT count(*), coalesce(sum(found), 0), coalesce(sum(expected), 0), "
        "array_agg(ddate::text || ': ' || coalesce(found::text, 'none') || ' / ' || expected ORDER BY ddate) "
        "FILTER (WHERE found IS DISTINCT FROM expected) FROM compared"
    ).format(
        lines=lines,
        tons=sql.Identifier(balance.tons),
        day=sql.Identifier(view.header.key[0]),
        view=identifier(view.name),
    )

    def look(connection: Connection) -> Finding:
        changed = scalar(connection, recent) or []
        row = one_row(connection, query, {"days": changed})
        days, found, expected, wrong = row
        return _judge(
            not wrong,
            f"{found} tons found on the {days} days that changed lately, {expected} expected{_wrong(wrong or [])}.",
            "Run `mv-pipeline refresh --full`; if it stays so, run `mv-pipeline doctor`.",
            {
                "days": days,
                "found": str(found),
                "expected": str(expected),
                "wrong_days": "; ".join((wrong or [])[:_SHOWN]) or "none",
            },
        )

    return look


def _equals(view: Relation) -> Callable[[Connection], Finding]:
    query = sql.SQL(
        "SELECT count(*) FROM ((TABLE {a} EXCEPT ALL TABLE {b}) UNION ALL (TABLE {b} EXCEPT ALL TABLE {a})) AS wrong"
    ).format(a=identifier(view.name), b=identifier(str(view.header.equals)))

    def look(connection: Connection) -> Finding:
        differing = scalar(connection, query)
        return _judge(
            not differing,
            f"{differing} rows found that differ from {view.header.equals}, 0 expected.",
            _refresh(view),
            {"differing": differing},
        )

    return look


def _yesterday_usual(view: Relation, anomaly: Anomaly) -> Callable[[Connection], Finding]:
    query = sql.SQL(
        "SELECT ddate, {tons}, ave, sigma, n, quality FROM {days} JOIN {view} USING ({key}) "
        "WHERE ddate = ref.business_date() - 1 AND ({where})"
    ).format(
        tons=sql.Identifier(anomaly.tons),
        days=identifier(anomaly.days),
        view=identifier(view.name),
        key=sql.SQL(", ").join(map(sql.Identifier, view.header.key)),
        where=sql.SQL(anomaly.where),  # the header's own SQL
    )

    def look(connection: Connection) -> Finding:
        row = connection.execute(query).fetchone()
        if row is None:
            return Finding(True, "Yesterday isn't one of the profile's days, or nothing has come for it yet.", {})
        ddate, tons, mean, sigma, count, quality = row
        # Yesterday itself is among the profile's few days; with it no z could ever exceed (n - 1) / √n.
        others = without(float(tons), float(mean), float(sigma or 0), count)
        if quality == "LOW_SAMPLE" or others is None:
            return Finding(True, f"{count} days of this ISO week and weekday are too few to judge {ddate}.", {})
        expected, deviation = others
        distance = abs(float(tons) - expected)
        passed = distance <= _UNUSUAL_Z * deviation
        z = (float(tons) - expected) / deviation if deviation else None
        return _judge(
            passed,
            f"{ddate}: {float(tons):,.1f} tons found, {expected:,.1f} ± {deviation:,.1f} expected from {count - 1} "
            f"days before{'' if z is None else f', z = {z:+.1f}'}.",
            "Look at the day's uploads (`mv-pipeline calendar`), whether a list has come in part or twice.",
            {
                "found": float(tons),
                "expected": expected,
                "sigma": deviation,
                "days": count - 1,
                **({} if z is None else {"z": z}),
            },
        )

    return look


def without(value: float, mean: float, sigma: float, count: int) -> tuple[float, float] | None:
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


def _no_rows(view: Relation, query: str) -> Callable[[Connection], Finding]:
    def look(connection: Connection) -> Finding:
        cursor = connection.execute(sql.SQL(query))  # the header's own SQL
        rows = cursor.fetchmany(_SHOWN)
        offending = [f"({', '.join(map(str, row))})" for row in rows]
        return _judge(
            not rows,
            f"{cursor.rowcount} offending rows found, 0 expected{_wrong(offending)}.",
            _refresh(view),
            {"offending": "; ".join(offending) or "none"},
        )

    return look


def last_upload_probe(kind: FileKind) -> Probe:
    """Whether a kind's newest file was loaded; if not, why, and where to put the corrected one."""

    def look(connection: Connection) -> Finding:
        row = connection.execute(
            "SELECT id, file_name, processing_status = 'success', row_count, coalesce(error_message, ''), "
            "coalesce((metadata->>'problems')::int, 1) FROM log.upload_file "
            "WHERE file_type = %s AND csv_type = %s ORDER BY id DESC LIMIT 1",
            [kind.version.upper(), kind.list.csv_type],
        ).fetchone()
        if row is None:
            return Finding(True, "No file has come yet.", {})
        upload_id, name, passed, rows, reason, problems = row
        return _judge(
            passed,
            f"「{name}」を取り込みました。 {rows} lines of {name} found, 0 problems."
            if passed
            else f"「{name}」は拒否されました（問題{problems}件）：{reason}",
            f"ファイルを直して inbox/{kind.name}/ に置き直してください。 "
            f"{problems} problems found in {name}, 0 expected. Correct the file and drop it again.",
            {"upload_file_id": upload_id},
        )

    return Probe("last_upload_accepted", "The newest file was loaded.", look, "WARN")


def upload_probes(kind: FileKind) -> list[Probe]:
    """Whether file, raw and stg hold the same lines, kg and yen, for each of a kind's newest uploads."""
    raw, stg = sql.Identifier("raw", kind.name), sql.Identifier("stg", kind.name)

    def sums(column: str) -> tuple[sql.Composable, sql.Composable]:
        name = sql.Identifier(column)
        typed = next(c.type for c in kind.columns if c.name == column)
        return (
            sql.SQL("coalesce(sum({}), 0)").format(cells.value(cells.trimmed(name), typed)),
            sql.SQL("coalesce(sum({}), 0)").format(name),
        )

    (raw_kg, stg_kg), (raw_yen, stg_yen) = sums("net_weight"), sums("amount")
    query = sql.SQL(
        "SELECT u.id, (metadata->>'lines')::bigint - (metadata->>'blank_lines')::bigint "
        "- (metadata->>'total_lines')::bigint, r.n, s.n, (metadata->>'net_weight_kg')::numeric, r.kg, s.kg, "
        "(metadata->>'amount_yen')::numeric, r.yen, s.yen FROM log.upload_file AS u "
        "CROSS JOIN LATERAL (SELECT count(*) AS n, {raw_kg} AS kg, {raw_yen} AS yen FROM {raw} "
        "WHERE upload_file_id = u.id) AS r "
        "CROSS JOIN LATERAL (SELECT count(*) AS n, {stg_kg} AS kg, {stg_yen} AS yen FROM {stg} "
        "WHERE upload_file_id = u.id) AS s "
        "WHERE file_type = %s AND csv_type = %s AND processing_status = 'success' AND metadata ? 'lines' "
        "ORDER BY u.id DESC LIMIT %s"
    ).format(raw_kg=raw_kg, raw_yen=raw_yen, stg_kg=stg_kg, stg_yen=stg_yen, raw=raw, stg=stg)
    params = [kind.version.upper(), kind.list.csv_type, _UPLOADS]

    def compare(columns: dict[str, slice]) -> Callable[[Connection], Finding]:
        def look(connection: Connection) -> Finding:
            uploads = connection.execute(query, params).fetchall()
            wrong = [
                f"upload {upload[0]}: {what} file {values[0]}, raw {values[1]}, stg {values[2]}"
                for upload in uploads
                for what, part in columns.items()
                if len(set(values := upload[part])) != 1
            ]
            newest = ", ".join(f"{what} {uploads[0][part][0]}" for what, part in columns.items()) if uploads else "none"
            return _judge(
                not wrong,
                f"{len(wrong)} differences between file, raw and stg found in the {len(uploads)} newest uploads, "
                f"0 expected{_wrong(wrong)}.",
                f"Drop these files again into inbox/{kind.name}/, and ask who changed the tables by hand.",
                {"wrong": "; ".join(wrong[:_SHOWN]) or "none", "newest": newest},
            )

        return look

    return [
        Probe(
            "rows_as_in_file",
            "Rows in stg and raw = lines of the file − reported blank and total lines, for each of the newest uploads.",
            compare({"rows": slice(1, 4)}),
        ),
        Probe(
            "mass_balance",
            "Σ kg and Σ yen of the file = raw = stg, for each of the newest uploads.",
            compare({"kg": slice(4, 7), "yen": slice(7, 10)}),
        ),
    ]


def notes_probe(csv_type: str) -> Probe:
    """Whether a list's rollup has read every change note."""
    tables = [source.table for source in SOURCES if source.csv_type == csv_type]

    def look(connection: Connection) -> Finding:
        row = one_row(
            connection, "SELECT count(*), min(noted_at) FROM log.change_note WHERE relation = ANY (%s)", [tables]
        )
        waiting, since = row
        return _judge(
            not waiting,
            f"{waiting} change notes found waiting{f' since {since:%Y-%m-%d %H:%M:%S}' if since else ''}, 0 expected.",
            f"Run `mv-pipeline refresh --csv-type {csv_type}`.",
            {"waiting": waiting},
        )

    return Probe("notes_read", "No change waits to be rolled up.", look, "WARN")


def missing_file_probe(csv_list: CsvList, due_hour: int) -> Probe:
    """Whether a file has come for each of the last business days by the next morning.

    Args:
        csv_list: the list.
        due_hour: the hour of the next day (Asia/Tokyo) at which a day's file has to be there.
    """

    def look(connection: Connection) -> Finding:
        today, hour = one_row(connection, "SELECT ref.business_date(), extract(hour FROM localtime)::int")
        last = today - timedelta(days=1 if hour >= due_hour else 2)
        missing = missing_days(connection, csv_list.csv_type, last - timedelta(days=_MISSING_SINCE_DAYS - 1), last)
        folders = " か ".join(f"inbox/{kind.name}" for kind in KINDS if kind.list == csv_list)
        return _judge(
            not missing,
            f"{len(missing)} of the business days up to {last} found without a {csv_list.csv_type} file, 0 expected"
            f"{': ' + ', '.join(map(str, missing)) if missing else ''}.",
            f"{csv_list.title}のCSVを {folders} に置いてください。 Export the list for these days and drop it; "
            "if the plant was closed, say so in ref.calendar_exception.",
            {"missing": len(missing), "days": ", ".join(map(str, missing)) or "none"},
        )

    return Probe(
        f"{csv_list.csv_type}_files_complete",
        f"Each business day of the last {_MISSING_SINCE_DAYS} has a {csv_list.csv_type} file by {due_hour}:00 the next "
        "morning.",
        look,
        "WARN",
    )


def _refresh(view: Relation) -> str:
    return f"Run `mv-pipeline refresh {view.name}`; if it stays so, run `mv-pipeline doctor`."


def _wrong(places: list[str]) -> str:
    """The first places where something is wrong, as the end of a sentence."""
    more = " …" if len(places) > _WRONG_SHOWN else ""
    return f"; {'; '.join(places[:_WRONG_SHOWN])}{more}" if places else ""
