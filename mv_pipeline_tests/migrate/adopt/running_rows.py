"""The rows of the running database's tables: made up, set-wise, the same at every run.

King up to the end of 2022, flash and final lists since 2021, each day uploaded once to three times, so that most lines
are deleted softly. Some days are without their final list, some without both; some sums are nothing, zero or negative.
"""

from psycopg import sql

from mv_pipeline.database.connection import Connection, identifier
from mv_pipeline_tests.migrate.adopt.contract import COLUMNS, Column

FIRST_DAY, LAST_FINAL, LAST_FLASH = "2021-02-01", "2025-11-30", "2025-12-10"
_DAYS = 1770

# A file holds 13 days, and is uploaded once to three times; every eleventh day the last upload is without the day.
_UPLOADS = """
CREATE TEMPORARY TABLE upload AS
SELECT row_number() OVER (ORDER BY kind, period, turn)::integer AS id, kind, version, list, period, turn,
    turn = 1 + period % 3 AS is_last
FROM (VALUES ('final', '{last_final}'::date), ('flash', '{last_flash}')) AS v (version, last_day)
CROSS JOIN unnest(ARRAY['receive', 'shipment', 'yard']) AS list
CROSS JOIN LATERAL (SELECT 'shogun_' || version || '_' || list AS kind) AS k
CROSS JOIN LATERAL generate_series(0, (last_day - '{first_day}'::date) / 13) AS period
CROSS JOIN LATERAL generate_series(1, 1 + period % 3) AS turn;
ANALYZE upload;
CREATE TEMPORARY TABLE upload_day AS
SELECT u.id, u.kind, day::date AS day, k,
    u.turn < max(u.turn) OVER (PARTITION BY u.kind, day) AS is_deleted
FROM upload AS u
CROSS JOIN LATERAL generate_series(period * 13, period * 13 + 12) AS k
CROSS JOIN LATERAL (SELECT '{first_day}'::date + k AS day) AS d
WHERE day <= CASE version WHEN 'final' THEN '{last_final}'::date ELSE '{last_flash}'::date END
    AND extract(isodow FROM day) < 7
    AND NOT (is_last AND turn > 1 AND k % 11 = 0)
    AND NOT (version = 'final' AND k % 17 = 3)
    AND NOT (version = 'flash' AND k % 34 = 3);
ANALYZE upload_day;
INSERT INTO log.upload_file (id, file_name, file_hash, file_type, csv_type, file_size_bytes, row_count, uploaded_at,
    uploaded_by, processing_status, error_message, metadata, env)
SELECT id, format('%s_%s_%s.csv', list, period, turn), md5(kind || id) || md5(id::text), upper(version), list,
    1000 + id, 100 + id % 50,
    '2021-02-14 08:00+09'::timestamptz + period * interval '13 days' + turn * interval '1 hour',
    'yamada', 'success', NULL, jsonb_build_object('note', id % 7), 'production'
FROM upload;
SELECT setval('log.upload_file_id_seq', max(id)) FROM upload;
INSERT INTO log.upload_file (file_name, file_hash, file_type, csv_type, processing_status, error_message)
SELECT 'failed_' || n || '.csv', md5(n::text) || md5('x' || n), 'FINAL', 'receive', 'failed', '必須列がありません'
FROM generate_series(1, 20) AS n;
"""

_REFERENCE = """
INSERT INTO ref.calendar_day (ddate)
SELECT day::date FROM generate_series('2021-01-01'::timestamp, '2026-12-31', interval '1 day') AS day;
INSERT INTO ref.calendar_month SELECT DISTINCT date_trunc('month', ddate)::date FROM ref.calendar_day;
-- Fixed days only, and under names of their own: whoever fetched them from elsewhere would change them.
INSERT INTO ref.holiday_jp
SELECT make_date(year, month, day), name
FROM generate_series(2021, 2026) AS year, (VALUES
    (1, 1, '元旦'), (2, 11, '建国の日'), (2, 23, '天皇誕生日'), (4, 29, '昭和の日'), (5, 3, '憲法記念日'),
    (5, 4, 'みどりの日'), (5, 5, 'こどもの日'), (8, 11, '山の日'), (11, 3, '文化の日'), (11, 23, '勤労感謝の日')
) AS h (month, day, name);
INSERT INTO ref.closure_periods
SELECT make_date(year, 12, 30), make_date(year + 1, 1, 3), '年末年始' FROM generate_series(2020, 2026) AS year
UNION ALL SELECT make_date(year, 8, 13), make_date(year, 8, 15), '夏季休業' FROM generate_series(2021, 2026) AS year
UNION ALL SELECT '2024-08-14', '2024-08-17', '設備点検';
INSERT INTO ref.closure_membership
SELECT DISTINCT ON (c.ddate) c.ddate, p.start_date, p.end_date, p.closure_name
FROM ref.calendar_day AS c JOIN ref.closure_periods AS p ON c.ddate BETWEEN p.start_date AND p.end_date
WHERE c.ddate < '2025-08-01' ORDER BY c.ddate, p.start_date;
INSERT INTO ref.calendar_exception (ddate, override_type, reason, updated_by, updated_at) VALUES
    ('2024-08-16', 'FORCE_OPEN', '臨時営業', '佐藤', '2024-08-01 09:00'),
    ('2025-01-02', 'FORCE_RESERVATION', '予約のみ', '佐藤', '2024-12-01 09:00'),
    ('2025-06-10', 'FORCE_CLOSED', '停電', NULL, '2025-06-01 09:00'),
    ('2025-11-09', 'FORCE_OPEN', '第2日曜の営業', '佐藤', '2025-11-01 09:00');
"""

# Every fifth day of the plan was planned again, some days three times; some plans name an hour, some no tons.
_TARGETS = """
INSERT INTO mart.daily_target_plan
SELECT ddate + CASE WHEN k % 13 = 0 THEN interval '9 hours' ELSE interval '0' END,
    CASE WHEN k % 61 <> 0 THEN 80 + (k * 37 + turn * 11) % 400 / 10.0 END,
    CASE k % 2 WHEN 0 THEN 'all' ELSE 'biz' END,
    ddate - interval '30 days' + turn * interval '1 day'
FROM (SELECT ddate, ddate - '2021-01-01' AS k FROM ref.calendar_day WHERE iso_dow < 7 AND ddate < '2026-07-01') AS days
CROSS JOIN LATERAL generate_series(1, CASE WHEN k % 35 = 0 THEN 3 WHEN k % 5 = 0 THEN 2 ELSE 1 END) AS turn;
INSERT INTO kpi.monthly_targets (month_date, segment, metric, value, unit, label, updated_at, note)
SELECT month_date, segment, metric, 2000 + extract(month FROM month_date) * 10 + turn, 'ton', '月次目標',
    month_date - interval '20 days' + turn * interval '1 day', NULL
FROM ref.calendar_month, generate_series(1, 2) AS turn, unnest(ARRAY['factory', 'office']) AS segment,
    unnest(ARRAY['inbound', 'outbound']) AS metric
WHERE month_date BETWEEN '2021-04-01' AND '2026-06-01';
"""

_KING = """
INSERT INTO stg.receive_king_final (invoice_no, invoice_date, vehicle_type_code, customer_code, customer, net_weight,
    net_weight_detail, amount, item_code, item_name, observed_quantity, unit_price, remarks)
SELECT 500000 + n / 3,
    CASE n % 101
        WHEN 7 THEN '2021-02-30' WHEN 17 THEN '2022/13/01' WHEN 27 THEN '未定' WHEN 37 THEN '' WHEN 47 THEN NULL
        WHEN 57 THEN '0000-00-00' WHEN 67 THEN '2021-03/04'
        ELSE to_char(day, CASE n % 2 WHEN 0 THEN 'YYYY-MM-DD' ELSE 'YYYY/MM/DD' END)
    END,
    1 + (n % 9 = 4)::integer, n % 50, '架空建設' || n % 50, 900 + n % 3000,
    CASE WHEN n % 29 = 5 THEN 0 WHEN n % 31 = 6 THEN NULL ELSE 100 + n * 7 % 2900 END,
    CASE WHEN n % 23 <> 2 THEN n * 13 % 90000 END, n % 12, '品目' || n % 12, n % 100 / 8.0, n % 300 / 4.0, NULL
FROM generate_series(0, {king} - 1) AS n
CROSS JOIN LATERAL (SELECT '2021-01-01'::date + n * 729 / {king} AS day) AS d
"""


def fill(connection: Connection, lines: int) -> None:
    """Fill every table.

    Args:
        lines: about how many lines the two receive tables of stg hold together; the others hold fewer.
    """
    days = {"first_day": FIRST_DAY, "last_final": LAST_FINAL, "last_flash": LAST_FLASH}
    for statements in (_REFERENCE, _TARGETS, _UPLOADS):
        for name, day in days.items():
            statements = statements.replace(f"{{{name}}}", day)
        connection.execute(sql.SQL(statements))
    connection.execute(sql.SQL(_KING.replace("{king}", str(max(lines // 10, 2_000)))))
    for csv_type, share in (("receive", 1), ("shipment", 8), ("yard", 10)):
        # Two lists and about two uploads a day, on six days of seven.
        a_day = max(1, round(lines / share / (_DAYS * 6 / 7 * 2 * 2)))
        for version in ("flash", "final"):
            _fill_stg(connection, f"shogun_{version}_{csv_type}", a_day)
            _fill_raw(connection, f"shogun_{version}_{csv_type}")
    connection.execute("DROP TABLE upload, upload_day")


_SLIPS = {"receive": "receive_no", "shipment": "shipment_no", "yard": "slip_no"}


def _fill_stg(connection: Connection, kind: str, a_day: int) -> None:
    values = {
        "slip_date": "CASE WHEN x % 499 <> 498 THEN day END",
        "net_weight": "CASE WHEN k % 97 = 50 THEN NULL WHEN x % 41 = 7 THEN NULL WHEN k % 89 = 40 THEN -20.25 "
        "ELSE 100 + x * 173 % 8000 + x % 8 / 8.0 END",
        "amount": "CASE WHEN x % 37 = 11 THEN NULL ELSE x * 211 % 90000 - 3000 + x % 4 / 4.0 END",
        "client_cd": "CASE x % 19 WHEN 0 THEN 'K' || x % 90 ELSE (1 + x % 300)::text END",
        "client_name": "'架空商事' || x % 300",
        "category_cd": "1 + x % 4",
        "category_name": "(ARRAY['廃棄物', '処分', '有価物', '他'])[1 + x % 4]",
        "item_cd": "1 + x % 40",
        "item_name": "'架空品目' || x % 40",
        "sales_staff_cd": "1 + x % 6",
        "sales_staff_name": "'架空担当' || x % 6",
        _SLIPS[kind.rsplit("_", 1)[1]]: "CASE WHEN x % 53 <> 9 THEN (k * 100 + n / 3)::integer END",
        "upload_file_id": "id",
        "source_row_no": "n",
        "is_deleted": "is_deleted",
        "deleted_at": "CASE WHEN is_deleted THEN (day + time '10:00') AT TIME ZONE 'Asia/Tokyo' END",
        "created_at": "(day + time '09:00') AT TIME ZONE 'Asia/Tokyo'",
        "deleted_by": "CASE WHEN is_deleted THEN 'yamada' END",
    }
    columns = [column for column in COLUMNS[f"stg.{kind}"] if column.name != "id"]
    connection.execute(
        sql.SQL(
            "INSERT INTO {} ({}) SELECT {} FROM ("
            "SELECT u.*, n, (k * 7919::bigint + n * 104729 + u.id * 31) % 100003 AS x FROM upload_day AS u, "
            "generate_series(1, {} + k % 2) AS n WHERE u.kind = {} ORDER BY u.id, k, n) AS lines"
        ).format(
            identifier(f"stg.{kind}"),
            sql.SQL(", ").join(sql.Identifier(column.name) for column in columns),
            sql.SQL(", ").join(sql.SQL(values.get(column.name) or _any_value(column)) for column in columns),
            sql.Literal(a_day),
            sql.Literal(kind),
        )
    )


def _any_value(column: Column) -> str:
    return {
        "integer": f"1 + x * {column.position} % 97",
        "numeric": f"x * {column.position} % 500 / 4.0",
        "date": "day",
        "time without time zone": f"time '08:00' + (x % 500 * 60 + {column.position}) * interval '1 second'",
        "text": f"CASE WHEN x % 5 <> {column.position % 5} THEN '架空{column.name}' || x % 30 END",
    }[column.pg_type]


def _fill_raw(connection: Connection, kind: str) -> None:
    """The cells of the latest 40 uploads."""
    stg = {column.name for column in COLUMNS[f"stg.{kind}"]}
    columns = [column.name for column in COLUMNS[f"raw.{kind}"] if column.name in stg - {"id", "created_at"}]
    kept = ("upload_file_id", "source_row_no")
    connection.execute(
        sql.SQL(
            "INSERT INTO {} ({}) SELECT {} FROM {} "
            "WHERE upload_file_id IN (SELECT id FROM upload WHERE kind = %s ORDER BY id DESC LIMIT 40) ORDER BY id"
        ).format(
            identifier(f"raw.{kind}"),
            sql.SQL(", ").join(map(sql.Identifier, columns)),
            sql.SQL(", ").join(sql.SQL("{}" if c in kept else "{}::text").format(sql.Identifier(c)) for c in columns),
            identifier(f"stg.{kind}"),
        ),
        [kind],
    )
