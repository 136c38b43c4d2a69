"""What must hold of each table and view; made from the catalogue.

A check that is one query is a file in `queries`; here is what each is made for, and the checks that are more than that.
Nothing is repaired here but by the proof, and nothing of Dagster is known: asset checks and commands run these checks.
"""

import functools
import math
from collections.abc import Callable, Mapping

from psycopg import sql

from mv_pipeline.catalog.csv_kinds import KINDS, LISTS, CsvList, FileKind
from mv_pipeline.catalog.relations import Anomaly, Catalog, Relation, Rollup
from mv_pipeline.checks.check import Check, CheckResult, Excuse, places, sql_check
from mv_pipeline.checks.news import LATE, LATE_MINUTES, REASONS, news_of
from mv_pipeline.checks.recompute import Proof, proofs
from mv_pipeline.database.connection import Connection, identifier, sessions
from mv_pipeline.intake import cells
from mv_pipeline.intake.upload_log import MISSING_SINCE_DAYS, UPLOADS, missing_days, select_shrunk_days
from mv_pipeline.migrate.state import DRIFT_REMEDY, describe_drift, find_drift, read_existing
from mv_pipeline.refresh.rollup import fresh_rows
from mv_pipeline.refresh.views import MIGRATE, has_concurrent_index

DEFINITION = "definition"
PROOF = "full_recompute"
LAST_UPLOAD = "last_upload_accepted"
STORABLE = "storable"
UPLOAD_CALENDAR = "overview.upload_calendar"
_SHOWN_HASH = 12
_UNUSUAL_Z = 3.0
_LEAST_DAYS = 3


def quick_checks(catalog: Catalog, name: str) -> list[Check]:
    """The checks of a table or view that run after each upload."""
    return [check for check in all_checks(catalog)[name] if not check.nightly]


@functools.cache
def all_checks(catalog: Catalog) -> dict[str, list[Check]]:
    """Every check by the name of the table or view that it is of; made once for a catalogue."""
    checks: dict[str, list[Check]] = {
        **{f"raw.{kind.name}": [sql_check(LAST_UPLOAD, {"uploads": UPLOADS}, kind=kind.name)] for kind in KINDS},
        **{f"stg.{kind.name}": _uploads(kind) for kind in KINDS},
        UPLOAD_CALENDAR: [_missing_files(csv_list) for csv_list in LISTS if csv_list.daily],
    }
    for name, relation in catalog.relations.items():
        checks[name] = [definition_check(relation)]
        if relation.materialized:
            checks[name] += _view_checks(catalog, relation)
        if isinstance(relation, Rollup):
            checks[name] += [
                sql_check("notes_read", {}, stored=relation.stored, late=LATE, minutes=LATE_MINUTES),
                sql_check(STORABLE, {}, stored=relation.stored),
            ]
    for name, prove in proofs(catalog).items():
        checks[name].append(_proof(prove))
    return checks


def find_check(catalog: Catalog, of: str, name: str) -> Check:
    """The check of that name of a table or view."""
    (found,) = (check for check in all_checks(catalog)[of] if check.name == name)
    return found


def _view_checks(catalog: Catalog, view: Relation) -> list[Check]:
    """The quick checks of a materialized view: those that hold for all, and those that its header asks for."""
    header = view.header
    parts = _parts(catalog, view)
    check = functools.partial(
        sql_check, view=view.name, key=", ".join(header.key), equals=header.equals, refresh=_refresh(view)
    )
    news = news_of(catalog, [view.name])
    return [
        check("rows_per_day", parts, news) if header.days else check("row_count", parts),
        check("key_unique", parts),
        check("up_to_date", {"reasons": REASONS}, late=LATE, minutes=LATE_MINUTES),
        _concurrent_index(view),
        check("bloat", parts),
        *([check("newest_day", parts, news)] if header.days else []),
        *([check("mass_balance", parts)] if header.balance else []),
        *([check("equals_live_view", parts, news_of(catalog, [view.name, header.equals]))] if header.equals else []),
        *([_yesterday_usual(header.anomaly, parts, news)] if header.anomaly else []),
        *(
            check(
                "no_rows",
                {"query": _embedded(stated.sql)},
                news_of(catalog, [view.name, *Relation(name, header, stated.sql.strip().rstrip(";")).dependencies]),
                name=name,
                description=stated.description,
            )
            for name, stated in header.checks.items()
        ),
    ]


def _parts(catalog: Catalog, view: Relation) -> dict[str, sql.Composable]:
    """What the queries on a view are composed of; the day of a view that has one is its key."""
    header = view.header
    key = sql.SQL(", ").join(map(sql.Identifier, header.key))
    until = "WHERE ddate < ref.business_date()" if header.days == "until_yesterday" else ""
    parts: dict[str, sql.Composable] = {
        "view": identifier(view.name),
        "key": key,
        "day": key,
        "read": sql.Literal([view.name, *catalog.upstream(view.name)]),
        "days": sql.SQL(f"SELECT ddate, true AS wanted FROM ref.calendar_day {until}"),
    }
    if header.equals:
        parts["equals"] = identifier(header.equals)
    if header.balance:
        sources = catalog.sources(header.balance.csv_type)
        parts["changed"] = sql.SQL(" UNION ALL ").join(
            sql.SQL("SELECT ddate, changed_at FROM {}").format(identifier(rollup.name)) for rollup in sources
        )
        parts["fresh"] = sql.SQL(" UNION ALL ").join(
            sql.SQL("SELECT {}::integer AS priority, ddate, net_weight_kg FROM ({}) AS fresh").format(
                rollup.header.source_of.priority, fresh_rows(rollup)
            )
            for rollup in sources
            if rollup.header.source_of
        )
        parts["tons"] = sql.Identifier(header.balance.tons)
    return parts


def _embedded(query: str) -> sql.SQL:
    """A header's own SQL, which may end in a semicolon, or in a comment, which goes on to the end of its line."""
    return sql.SQL(query.strip().rstrip(";").replace("%", "%%") + "\n")


def definition_check(relation: Relation) -> Check:
    """The check that a view has no definition drift, whether its file was edited or it was changed by hand."""

    def run(connection: Connection) -> CheckResult:
        existing = read_existing(connection, [relation])
        drift = find_drift([relation], existing)
        recorded = existing[relation.name].definition_hash if existing else None
        found = (recorded or "none")[:_SHOWN_HASH]
        wanted = relation.definition_hash[:_SHOWN_HASH]
        return CheckResult(
            not drift,
            f"{describe_drift(drift)}: {found} found in the database, {wanted} of the file expected.",
            {"found": found, "expected": wanted, "changed_by_hand": bool(drift) and found == wanted},
        )

    return Check(
        DEFINITION,
        "There is no definition drift: the database holds what the SQL file says.",
        run,
        DRIFT_REMEDY.format(name=relation.name),
        nightly=True,
        excuse=lambda connection: "a migration is under way" if sessions(connection, MIGRATE) else "",
    )


def _proof(prove: Callable[[Connection], Proof]) -> Check:
    description = "Every row is what a full recompute from the staging lines gives. Repairs what differs."
    return Check(
        PROOF, description, lambda connection: prove(connection).result(), "Run `mv-pipeline proof`.", nightly=True
    )


def _refresh(view: Relation) -> str:
    return f"Run `mv-pipeline refresh {view.name}`; if the check still fails, run `mv-pipeline doctor`."


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


def _yesterday_usual(anomaly: Anomaly, parts: Mapping[str, sql.Composable], news: Excuse) -> Check:
    query = sql.SQL(
        "SELECT ddate, {tons}, ave, sigma, n, quality FROM {of_days} JOIN {view} USING ({key}) "
        "WHERE ddate = ref.business_date() - 1 AND ({where})"
    ).format(
        view=parts["view"],
        key=parts["key"],
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
        excuse=news,
    )


def leave_one_out(value: float, mean: float, sigma: float, count: int) -> tuple[float, float] | None:
    """Mean and sample standard deviation of a sample after one of its values is taken out; None: too few are left.

    Args:
        value: the one to take out.
        mean, sigma, count: of the whole sample.
    """
    if count - 1 < _LEAST_DAYS:
        return None
    rest = count - 1
    squares = (count - 1) * sigma**2 - (value - mean) ** 2 * count / rest
    # The profile is rounded, so that a sum of squares of nothing may come out below zero.
    return (count * mean - value) / rest, math.sqrt(max(squares, 0) / (rest - 1))


def _uploads(kind: FileKind) -> list[Check]:
    """Whether file, raw and stg hold the same lines, kg and yen, and whether what came can be what happened."""
    summed = [column for column in kind.columns if column.name in ("net_weight", "amount")]
    lines = sql.SQL("{} WHERE upload_file_id = upload.id").format(identifier(f"raw.{kind.name}"))
    parts = {
        "uploads": UPLOADS,
        "raw": cells.select_typed(summed, lines),
        "stg": identifier(f"stg.{kind.name}"),
        "shrunk_days": select_shrunk_days(kind),
        "slip_number": sql.Identifier(kind.list.slip_number),
    }
    rows = "Rows in stg and raw = lines of the file − reported blank and total lines"
    sums = "Σ kg and Σ yen of the file = raw = stg"
    check = functools.partial(sql_check, "as_uploaded", parts, kind=kind.name)
    return [
        check(name="rows_as_in_file", equation=rows, what=["rows"]),
        check(name="mass_balance", equation=sums, what=["kg", "yen"]),
        *(sql_check(name, parts, kind=kind.name) for name in ("no_day_shrunk", "no_future_day", "slips_on_one_day")),
    ]


def _missing_files(csv_list: CsvList) -> Check:
    """Whether a file has come for each of the last business days by the next morning."""

    def run(connection: Connection) -> CheckResult:
        missing = [str(day) for day in missing_days(connection).get(csv_list.csv_type, [])]
        return CheckResult(
            not missing,
            f"{len(missing)} of the business days that are due found without a {csv_list.csv_type} file, 0 expected"
            f"{places(missing)}.",
            {"missing": len(missing), "days": ", ".join(missing) or "none"},
        )

    return Check(
        f"{csv_list.csv_type}_files_complete",
        f"Each business day of the last {MISSING_SINCE_DAYS} has a {csv_list.csv_type} file by the next morning.",
        run,
        missing_files_remedy(csv_list),
        "WARN",
    )


def missing_files_remedy(csv_list: CsvList) -> str:
    """What to do where no file of a list has come for a business day."""
    folders = " または ".join(f"inbox/{kind.name}/" for kind in KINDS if kind.list == csv_list)
    return (
        f"将軍から{csv_list.title}のCSVを出力し、{folders} に置いてください。 Export these days and drop the file; "
        "if the plant was closed, enter the days in ref.calendar_exception. `mv-pipeline doctor` says what is missing."
    )
