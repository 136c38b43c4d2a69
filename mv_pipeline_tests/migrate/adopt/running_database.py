"""The running database as somebody else made it, before the project moves in: tables, views, rights and neighbours.

Tables and columns come from `contract/existing_tables.csv` alone; views from `running_views`, rows from `running_rows`.
Keys and indexes are theirs: under their own names, some where ours would be, some missing. Nothing of mv_pipeline
makes anything here.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql

from mv_pipeline.database.connection import Connection, identifier
from mv_pipeline.settings import Settings
from mv_pipeline_tests.conftest import TODAY
from mv_pipeline_tests.migrate.adopt.contract import COLUMNS, PLAIN_VIEWS, TABLES, Column
from mv_pipeline_tests.migrate.adopt.running_rows import fill
from mv_pipeline_tests.migrate.adopt.running_views import ACTIVE, VIEWS

# Roles belong to the whole server: one set for all tests.
DASHBOARD, ANALYST = "dashboard", "analyst"
THEIR_VERSION = "their_revision"

OBSOLETE = ("mart.mv_sales_tree_daily", "mart.v_sales_tree_daily")
OBSOLETE_FUNCTION = "mart.refresh_inb5y()"
# Reads nothing that is obsolete, and reads relations that are swapped.
UNMANAGED_VIEWS = ("bi.v_receive_report", "bi.v_customer_list")


_KEYS_AND_INDEXES = """
ALTER TABLE stg.shogun_flash_receive ADD CONSTRAINT pk_stg_flash_receive PRIMARY KEY (id);
ALTER TABLE stg.shogun_final_receive ADD CONSTRAINT pk_stg_final_receive PRIMARY KEY (id);
ALTER TABLE stg.shogun_final_shipment ADD CONSTRAINT pk_stg_final_shipment PRIMARY KEY (id);
CREATE UNIQUE INDEX ux_stg_flash_yard_id ON stg.shogun_flash_yard (id);
CREATE INDEX ix_stg_flash_receive_slip_date ON stg.shogun_flash_receive (slip_date);
CREATE INDEX ix_stg_flash_receive_upload ON stg.shogun_flash_receive (upload_file_id);
CREATE INDEX ix_stg_final_receive_slip_date ON stg.shogun_final_receive (slip_date);
CREATE INDEX ix_stg_final_receive_client ON stg.shogun_final_receive (client_cd, slip_date) WHERE NOT is_deleted;
CREATE INDEX ix_stg_final_shipment_slip_date ON stg.shogun_final_shipment (slip_date);
CREATE INDEX ix_raw_final_receive_upload ON raw.shogun_final_receive (upload_file_id, source_row_no);
CREATE INDEX ix_king_invoice_date ON stg.receive_king_final (invoice_date);
ALTER TABLE ref.calendar_day ADD CONSTRAINT calendar_day_pk PRIMARY KEY (ddate);
CREATE UNIQUE INDEX ux_calendar_month ON ref.calendar_month (month_date);
ALTER TABLE ref.calendar_exception ADD CONSTRAINT calendar_exception_pk PRIMARY KEY (ddate);
CREATE INDEX ix_plan_ddate ON mart.daily_target_plan (ddate);
CREATE INDEX ix_monthly_targets ON kpi.monthly_targets (metric, segment, month_date);
ALTER TABLE log.upload_file ADD CONSTRAINT pk_upload_file PRIMARY KEY (id);
CREATE INDEX ix_upload_file_hash ON log.upload_file (file_hash);
"""

_VIEW_INDEXES = """
CREATE UNIQUE INDEX ux_mv_receive_daily_ddate ON mart.mv_receive_daily (ddate);
CREATE INDEX ix_mv_receive_daily_source ON mart.mv_receive_daily (source_system);
CREATE UNIQUE INDEX ux_mv_target_card_ddate ON mart.mv_target_card_per_day (ddate);
CREATE INDEX ix_mv_target_card_month ON mart.mv_target_card_per_day (day_type, ddate DESC);
CREATE INDEX ix_mv_sales_tree_daily ON mart.mv_sales_tree_daily (sales_date);
"""

_OBSOLETE_FUNCTION = """
CREATE FUNCTION mart.refresh_inb5y() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    REFRESH MATERIALIZED VIEW CONCURRENTLY mart.mv_inb5y_day_profile_min;
    REFRESH MATERIALIZED VIEW CONCURRENTLY mart.inb_profile_smooth_test;
END
$$;
"""

_NEIGHBOURS = """
CREATE TABLE public.alembic_version (version_num varchar(32) PRIMARY KEY);
CREATE SCHEMA bi;
CREATE VIEW bi.v_receive_report AS
SELECT r.ddate, r.receive_net_ton, r.sales_yen, c.month_target_ton
FROM mart.mv_receive_daily AS r JOIN mart.mv_target_card_per_day AS c USING (ddate);
CREATE VIEW bi.v_customer_list AS
SELECT c.customer_id, c.customer_name, max(s.sales_date) AS last_day
FROM ref.v_customer AS c JOIN mart.v_customer_sales_daily AS s USING (customer_id) GROUP BY 1, 2;
COMMENT ON VIEW bi.v_receive_report IS '経営会議の資料';
"""

_COMMENTS = """
COMMENT ON TABLE stg.shogun_final_receive IS '将軍 受入 最終';
COMMENT ON COLUMN stg.shogun_final_receive.net_weight IS '正味重量 kg';
COMMENT ON MATERIALIZED VIEW mart.mv_receive_daily IS '日次受入（BI）';
COMMENT ON COLUMN mart.mv_receive_daily.receive_net_ton IS '受入量 t';
COMMENT ON VIEW mart.v_receive_monthly IS '月次受入（BI）';
COMMENT ON COLUMN mart.v_receive_monthly.sales_yen IS '売上 円';
COMMENT ON COLUMN ref.v_customer.customer_id IS '取引先コード（6桁）';
"""

_RIGHTS = """
GRANT USAGE ON SCHEMA mart, ref, bi TO {dashboard}, {analyst};
GRANT USAGE ON SCHEMA stg TO {dashboard};
GRANT SELECT ON mart.mv_receive_daily, mart.mv_target_card_per_day, mart.v_customer_sales_daily,
    mart.v_daily_target_with_calendar, mart.v_receive_monthly, mart.v_receive_weekly, mart.v_sales_tree_detail_base,
    ref.v_calendar_classified, ref.v_closure_days, ref.v_customer, ref.v_sales_rep, stg.v_king_receive_clean,
    {active}, bi.v_receive_report, bi.v_customer_list TO {dashboard};
GRANT SELECT ON mart.v_receive_daily TO {dashboard} WITH GRANT OPTION;
GRANT SELECT ON ref.v_item TO PUBLIC;
GRANT SELECT ON mart.mv_receive_daily TO {analyst};
GRANT SELECT (ddate, day_target_ton) ON mart.mv_target_card_per_day TO {analyst};
GRANT SELECT (slip_date, net_weight) ON stg.shogun_final_receive TO {analyst};
ALTER VIEW mart.v_receive_weekly OWNER TO {analyst};
"""


@contextmanager
def roles(server: Settings) -> Iterator[None]:
    """Have the roles during the block; the databases that name them have to be gone at its end."""
    with psycopg.connect(server.resolved_database_url(), autocommit=True) as connection:
        for role in (DASHBOARD, ANALYST):
            connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(role)))
        try:
            yield
        finally:
            for role in (DASHBOARD, ANALYST):
                connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


def build(connection: Connection, lines: int = 6_000) -> None:
    """Make the running database in an empty one; the roles have to be there.

    Args:
        connection: in autocommit mode.
        lines: about how many lines the two receive tables of stg hold together.
    """
    with connection.transaction():
        _create_tables(connection)
        fill(connection, lines)
        _run(connection, _KEYS_AND_INDEXES)
        _create_views(connection)
        _run(connection, _VIEW_INDEXES)
        _run(connection, _OBSOLETE_FUNCTION)
        _run(connection, _NEIGHBOURS)
        connection.execute("INSERT INTO public.alembic_version VALUES (%s)", [THEIR_VERSION])
        _run(connection, _COMMENTS)
        active = [name for name in PLAIN_VIEWS if name.startswith("stg.v_active_")]
        connection.execute(
            sql.SQL(_RIGHTS).format(
                dashboard=sql.Identifier(DASHBOARD),
                analyst=sql.Identifier(ANALYST),
                active=sql.SQL(", ").join(map(identifier, active)),
            )
        )
    connection.execute("VACUUM ANALYZE")


def add_view_on_an_obsolete_view(connection: Connection) -> None:
    """Somebody's view on mart.v_sales_tree_daily."""
    connection.execute(
        "CREATE VIEW bi.v_sales_tree AS "
        "SELECT sales_date, sum(amount_yen) AS yen FROM mart.v_sales_tree_daily GROUP BY 1"
    )


def add_view_on_the_obsolete_materialized_view(connection: Connection) -> None:
    """Somebody's view on mart.mv_sales_tree_daily, which itself reads mart.v_sales_tree_daily."""
    connection.execute("CREATE VIEW bi.v_sales_days AS SELECT DISTINCT sales_date FROM mart.mv_sales_tree_daily")


def add_materialized_view(connection: Connection) -> None:
    """Somebody's materialized view, with an index, on mart.mv_receive_daily."""
    connection.execute(
        "CREATE MATERIALIZED VIEW bi.mv_year AS "
        "SELECT y, sum(receive_net_ton) AS tons FROM mart.mv_receive_daily GROUP BY y"
    )
    connection.execute("CREATE UNIQUE INDEX ux_mv_year ON bi.mv_year (y)")
    connection.execute(sql.SQL("GRANT SELECT ON bi.mv_year TO {}").format(sql.Identifier(DASHBOARD)))


def _run(connection: Connection, statements: str) -> None:
    connection.execute(sql.SQL(statements))


def _create_tables(connection: Connection) -> None:
    for schema in sorted({name.split(".")[0] for name in COLUMNS}):
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
    for sequence, pg_type in _sequences().items():
        connection.execute(sql.SQL("CREATE SEQUENCE {} AS {}").format(identifier(sequence), sql.SQL(pg_type)))
    for name in TABLES:
        columns = sql.SQL(", ").join(map(_column_definition, COLUMNS[name]))
        connection.execute(sql.SQL("CREATE TABLE {} ({})").format(identifier(name), columns))
    for sequence in _sequences():
        # The final table uses the flash table's sequence too; only the flash table owns it.
        owner = sequence.removesuffix("_id_seq")
        connection.execute(
            sql.SQL("ALTER SEQUENCE {} OWNED BY {}").format(
                identifier(sequence), sql.Identifier(*owner.split("."), "id")
            )
        )


def _sequences() -> dict[str, str]:
    """The sequences that the contract's defaults draw from, with their columns' type."""
    found = {}
    for columns in COLUMNS.values():
        for column in columns:
            if match := re.fullmatch(r"nextval\('(.+)'::regclass\)", column.default):
                found[match[1]] = column.pg_type
    return found


def _column_definition(column: Column) -> sql.Composed:
    generated = re.fullmatch(r"generated always as (.+) stored", column.default)
    if generated:
        value = f" GENERATED ALWAYS AS ({generated[1]}) STORED"
    else:
        value = f" DEFAULT {column.default}" if column.default else ""
    not_null = "" if column.nullable == "yes" else " NOT NULL"
    return sql.SQL("{} {}{}{}").format(
        sql.Identifier(column.name), sql.SQL(column.pg_type), sql.SQL(value), sql.SQL(not_null)
    )


def _create_views(connection: Connection) -> None:
    for name in PLAIN_VIEWS:
        if name.startswith("stg.v_active_"):
            kind = name.removeprefix("stg.v_active_")
            columns = sql.SQL(", ").join(sql.Identifier(column.name) for column in COLUMNS[name])
            where = sql.SQL(ACTIVE[kind.rsplit("_", 1)[1]])
            connection.execute(
                sql.SQL("CREATE VIEW {} AS SELECT {} FROM {} WHERE {}").format(
                    identifier(name), columns, identifier(f"stg.{kind}"), where
                )
            )
    for name, query in VIEWS.items():
        kind = "MATERIALIZED VIEW" if name.split(".")[1].startswith("mv_") else "VIEW"
        connection.execute(
            sql.SQL("CREATE {} {} AS {}").format(
                sql.SQL(kind), identifier(name), sql.SQL(query.replace("{today}", TODAY))
            )
        )
