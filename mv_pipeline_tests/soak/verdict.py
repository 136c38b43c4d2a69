"""What has to be true at the end of a soak; a sentence for each thing that isn't."""

import hashlib
from collections import Counter
from collections.abc import Iterator

from mv_pipeline_tests.soak.books import RECEIVE_FINAL, RECEIVE_FLASH, SHIPMENT, SLIPS, YARD, Books
from mv_pipeline_tests.soak.plant import Plant

# The last of a view's kinds that has lines on a day counts there.
VIEWS = (
    ("mart.mv_receive_daily", "receive_net_ton", (RECEIVE_FLASH, RECEIVE_FINAL)),
    ("mart.mv_shipment_daily", "net_ton", (SHIPMENT,)),
    ("mart.mv_yard_daily", "net_ton", (YARD,)),
)
_EVERY_FAULT = ("runs killed", "runs stopped for a while", "daemons killed", "connections ended", "server crashes")
EXPLAINED_BY = {
    "run_failed": _EVERY_FAULT,
    "view_failed": _EVERY_FAULT,
    "tick_failed": ("daemons killed", "connections ended", "server crashes"),
    "ticks_stopped": ("daemons killed", "server crashes"),
    "daemon_gone": ("daemons killed", "server crashes"),
    "database_unreachable": ("server crashes",),
    "files_waiting": _EVERY_FAULT,
}
"""The faults that make each type of incident a true one; a bad file explains its own rejection."""
_SHOWS_WITHIN_S = 240
_INSPECTED_WITHIN_S = 60
# What fails though nothing changed meanwhile: a bad file may be the last of its kind, and a plant that has no history
# finds its first day unusual.
_EXPECTED_FAILURES = {"last_upload_accepted", "yesterday_usual"}
_ENDS = ("PIPELINE_SUCCESS", "PIPELINE_FAILURE", "PIPELINE_CANCELED")


def losses(plant: Plant, books: Books, *, all_over: bool) -> list[str]:
    """Everything that isn't as it has to be.

    Args:
        all_over: so long after the last fault that no incident may be open but that of a bad file.
    """
    return [
        *books.lost,
        *_files(plant, books),
        *_lines(plant, books),
        *_views(plant, books),
        *_incidents(plant, books, all_over=all_over),
        *_checks(plant, books),
        *_runs(plant, books),
    ]


def _files(plant: Plant, books: Books) -> Iterator[str]:
    """Each file is logged once and lies in its place once, whole."""
    if plant.waiting_files():
        yield f"still in the inbox: {plant.waiting_files()}"
    with plant.connect("soak") as connection:
        logged = Counter(
            connection.execute("SELECT file_name, processing_status, coalesce(row_count, 0) FROM log.upload_file")
        )
    wanted = Counter(
        (drop.name, "success", len(drop.lines)) if drop.outcome == "loaded" else (drop.name, "failed", 0)
        for drop in books.drops
    )
    if logged != wanted:
        yield f"logged and not dropped: {[*(logged - wanted)]}; dropped and not logged: {[*(wanted - logged)]}"
    for folder, outcome in ((plant.settings.archive_dir, "loaded"), (plant.settings.rejected_dir, "rejected")):
        lying = Counter(
            _sha256(path.read_bytes())
            for path in folder.rglob("*")
            if path.is_file() and not path.name.endswith(".errors.csv")
        )
        expected = Counter(_sha256(drop.whole) for drop in books.drops if drop.outcome == outcome)
        if lying != expected:
            yield (
                f"{folder.name}: {(lying - expected).total()} files that weren't dropped so or are there twice, "
                f"{(expected - lying).total()} missing"
            )
    parts = [path for path in plant.settings.home.rglob("*.part") if path.is_file()]
    if parts:
        yield f"unfinished copies: {parts}"


def _lines(plant: Plant, books: Books) -> Iterator[str]:
    """Each line is in raw and stg once, and those that count are active."""
    with plant.connect("soak") as connection:
        for kind, slip in SLIPS.items():
            rows = connection.execute(
                f"SELECT {slip}, slip_date, net_weight::int FROM stg.{kind} WHERE NOT is_deleted"
            ).fetchall()
            expected = books.active(kind)
            found = {number: (day, kg) for number, day, kg in rows}
            if len(rows) != len(found) or found != expected:
                wrong = sorted({day for day, _ in dict(found.items() ^ expected.items()).values()})
                yield (
                    f"{kind}: {len(rows)} active lines ({len(found)} distinct), {len(expected)} expected; "
                    f"wrong days: {[str(day) for day in wrong]}"
                )
            dropped = sorted(line.number for drop in books.good(kind) for line in drop.lines)
            for table, column in ((f"raw.{kind}", f"{slip}::int"), (f"stg.{kind}", slip)):
                there = [number for (number,) in connection.execute(f"SELECT {column} FROM {table} ORDER BY 1")]
                if there != dropped:
                    yield f"{table}: {len(there)} lines ({len({*there})} distinct), {len(dropped)} dropped"


def _views(plant: Plant, books: Books) -> Iterator[str]:
    """The daily views show the tons that the books have, and all equals a full recompute."""
    with plant.connect("soak") as connection:
        for view, column, kinds in VIEWS:
            query = f"SELECT ddate, {column} FROM {view} WHERE {column} <> 0"
            found = dict(connection.execute(query).fetchall())
            expected = books.tons(*kinds)
            if found != expected:
                wrong = sorted({day for day, _ in found.items() ^ expected.items()})
                yield f"{view} is wrong on {[str(day) for day in wrong]}"
    proof = plant.command("proof")
    if proof.returncode:
        yield f"the proof fails: {proof.stdout} {proof.stderr}"


def _incidents(plant: Plant, books: Books, *, all_over: bool) -> Iterator[str]:
    """Each incident is explained by something that the soak did, and over when that is."""
    bad = {f"{drop.kind}/{drop.name}" for drop in books.drops if drop.outcome == "rejected"}
    with plant.connect("soak") as connection:
        rows = connection.execute(
            "SELECT kind, key, title, message, extract(epoch FROM opened_at)::float, "
            "extract(epoch FROM first_seen_at)::float, closed_at IS NOT NULL FROM log.incident ORDER BY id"
        ).fetchall()
    for kind, key, title, message, opened, seen, is_over in rows:
        books.count(f"incidents: {kind}")
        is_bad_file = kind == "rejected_file" and key.partition(":")[2] in bad
        is_fault = any(
            # An inspection is as old as its beginning; a fault may come before its end.
            fault.begun - _INSPECTED_WITHIN_S <= seen and opened <= fault.over + _SHOWS_WITHIN_S
            for fault in books.faults
            if fault.name in EXPLAINED_BY.get(kind, ())
        )
        if not is_bad_file and not is_fault:
            books.count("false alarms")
            yield f"false alarm: {title}: {message.splitlines()[0]}"
        if all_over and not is_over and not is_bad_file:
            yield f"not over: {title}"


def _checks(plant: Plant, books: Books) -> Iterator[str]:
    """No check, of whatever severity, failed on account of what changed meanwhile."""
    with plant.dagster() as connection:
        rows = connection.execute(
            "SELECT asset_key, check_name, execution_status, count(*) FROM asset_check_executions GROUP BY 1, 2, 3"
        ).fetchall()
    for asset, name, status, number in rows:
        books.count(f"checks {status.lower()}", number)
        if status == "FAILED" and name not in _EXPECTED_FAILURES:
            yield f"the check {name} of {asset} failed {number} times"


def _runs(plant: Plant, books: Books) -> Iterator[str]:
    """Every run has one end."""
    with plant.dagster() as connection:
        for job, status, number in connection.execute(
            "SELECT pipeline_name, status, count(*) FROM runs GROUP BY 1, 2 ORDER BY 1, 2"
        ):
            books.count(f"runs: {job} {status.lower()}", number)
            if status not in ("SUCCESS", "FAILURE", "CANCELED"):
                yield f"{number} runs of {job} are still {status}"
        rows = connection.execute(
            "SELECT run_id, array_agg(dagster_event_type) FROM event_logs WHERE dagster_event_type = ANY (%s) "
            "GROUP BY 1 HAVING count(*) > 1",
            [[*_ENDS]],
        ).fetchall()
    books.count("runs with two ends", len(rows))
    for run, ends in rows:
        yield f"run {run} has ended {len(ends)} times: {', '.join(ends)}"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
