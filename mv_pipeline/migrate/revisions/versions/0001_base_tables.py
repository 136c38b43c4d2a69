"""Schemas, the business date, and every table that is not a CSV kind's own.

A database that was made by others has most of these tables; what fits is adopted (see `schema.fit`).
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SCHEMAS = """
CREATE SCHEMA IF NOT EXISTS raw;
CREATE SCHEMA IF NOT EXISTS stg;
CREATE SCHEMA IF NOT EXISTS ref;
CREATE SCHEMA IF NOT EXISTS kpi;
CREATE SCHEMA IF NOT EXISTS mart;
CREATE SCHEMA IF NOT EXISTS log;
"""

FUNCTIONS = r"""
CREATE OR REPLACE FUNCTION ref.business_date() RETURNS date
LANGUAGE sql STABLE PARALLEL SAFE
RETURN coalesce(
    nullif(current_setting('mv_pipeline.business_date', true), '')::date,
    (current_timestamp AT TIME ZONE 'Asia/Tokyo')::date
);
COMMENT ON FUNCTION ref.business_date() IS
    'Today in Asia/Tokyo, unless the setting mv_pipeline.business_date names another day. The only clock of the views.';

CREATE OR REPLACE FUNCTION ref.king_date(invoice_date text) RETURNS date
LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE
    WHEN invoice_date !~ '^\d{4}([-/])\d{2}\1\d{2}$' THEN NULL
    WHEN pg_input_is_valid(replace(invoice_date, '/', '-'), 'date') THEN replace(invoice_date, '/', '-')::date
END;
COMMENT ON FUNCTION ref.king_date(text) IS 'The date of a king line, NULL if its text is no date.';
"""

# By name, so that a table which stands already can be held against what is wanted.
TABLES = {
    "ref.calendar_day": """(
    ddate date PRIMARY KEY,
    y integer GENERATED ALWAYS AS ((EXTRACT(year FROM ddate))::integer) STORED,
    m integer GENERATED ALWAYS AS ((EXTRACT(month FROM ddate))::integer) STORED,
    iso_year integer GENERATED ALWAYS AS ((EXTRACT(isoyear FROM ddate))::integer) STORED,
    iso_week integer GENERATED ALWAYS AS ((EXTRACT(week FROM ddate))::integer) STORED,
    iso_dow integer GENERATED ALWAYS AS ((EXTRACT(isodow FROM ddate))::integer) STORED
)""",
    "ref.calendar_month": """(month_date date PRIMARY KEY)""",
    "ref.holiday_jp": """(hdate date PRIMARY KEY, name text NOT NULL)""",
    "ref.closure_periods": """(
    start_date date NOT NULL,
    end_date date NOT NULL,
    closure_name text NOT NULL,
    PRIMARY KEY (start_date, end_date),
    CHECK (start_date <= end_date)
)""",
    "ref.closure_membership": """(
    ddate date PRIMARY KEY,
    start_date date NOT NULL,
    end_date date NOT NULL,
    closure_name text NOT NULL
)""",
    "ref.calendar_exception": """(
    ddate date PRIMARY KEY,
    override_type text NOT NULL CHECK (override_type IN ('FORCE_CLOSED', 'FORCE_OPEN', 'FORCE_RESERVATION')),
    reason text,
    updated_by text,
    updated_at timestamp NOT NULL DEFAULT now()
)""",
    "mart.daily_target_plan": """(
    ddate timestamp,
    target_ton double precision,
    scope_used text,
    created_at timestamp
)""",
    "kpi.monthly_targets": """(
    month_date date NOT NULL,
    segment text NOT NULL,
    metric text NOT NULL,
    value numeric(20, 4) NOT NULL,
    unit text NOT NULL,
    label text,
    updated_at timestamptz NOT NULL DEFAULT now(),
    note text
)""",
    "stg.receive_king_final": """(
    invoice_no integer,
    invoice_date varchar(50),
    weighing_location_code integer,
    weighing_location varchar(50),
    sales_purchase_type_code integer,
    sales_purchase_type varchar(50),
    document_type_code integer,
    document_type varchar(50),
    delivery_no bigint,
    vehicle_type_code integer,
    vehicle_type varchar(50),
    customer_code integer,
    customer varchar(50),
    site_code integer,
    site varchar(50),
    discharge_company_code integer,
    discharge_company varchar(50),
    discharge_site_code integer,
    discharge_site varchar(50),
    carrier_code integer,
    carrier varchar(50),
    disposal_company_code integer,
    disposal_contractor varchar(50),
    disposal_site_code integer,
    disposal_site varchar(50),
    gross_weight integer,
    tare_weight integer,
    adjusted_weight integer,
    net_weight integer,
    counterparty_measured_weight integer,
    observed_quantity real,
    weighing_time_gross varchar(50),
    weighing_time_tare varchar(50),
    weighing_location_code1 integer,
    weighing_location1 varchar(50),
    vehicle_no integer,
    vehicle_kind varchar(50),
    driver varchar(50),
    sales_person_code integer,
    sales_person varchar(50),
    admin_person_code integer,
    admin_person varchar(50),
    sales_amount integer,
    sales_tax integer,
    purchase_amount integer,
    purchase_tax integer,
    aggregate_ton real,
    aggregate_kg integer,
    aggregate_m3 real,
    remarks varchar(50),
    item_category_code integer,
    item_category varchar(50),
    item_code integer,
    item_name varchar(50),
    quantity real,
    unit_code integer,
    unit varchar(50),
    unit_price real,
    amount integer,
    aggregation_type_code integer,
    aggregation_type varchar(50),
    unit_price_calc real,
    amount_calc integer,
    tax_amount integer,
    gross_weight_detail integer,
    tare_weight_detail integer,
    net_weight_detail integer,
    scale_ratio integer,
    scale integer,
    remarks_customer varchar(50),
    remarks_internal varchar(50),
    param_start_date varchar(50),
    param_end_date varchar(50),
    param_sales_purchase_type varchar(50),
    param_vehicle_type varchar(50),
    param_document_type varchar(50),
    param_admin_person varchar(50),
    param_company_name varchar(50),
    param_weighing_place_name varchar(50),
    quantity_ton real,
    quantity_kg real,
    quantity_m3 real,
    amount_on_account integer,
    amount_cash integer,
    tax_on_account integer,
    tax_cash integer
)""",
    "mart.rollup_daily": """(
    csv_type text NOT NULL,
    source text NOT NULL,
    ddate date NOT NULL,
    priority smallint NOT NULL,
    line_count bigint NOT NULL,
    slip_count bigint NOT NULL,
    net_weight_kg numeric NOT NULL,
    amount_yen numeric NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (csv_type, source, ddate)
) PARTITION BY LIST (csv_type)""",
    "log.upload_file": """(
    id serial PRIMARY KEY,
    file_name text NOT NULL,
    file_hash varchar(64) NOT NULL,
    file_type varchar(20) NOT NULL,
    csv_type varchar(20) NOT NULL,
    file_size_bytes bigint,
    row_count integer,
    uploaded_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    uploaded_by varchar(100),
    processing_status varchar(20) NOT NULL DEFAULT 'pending',
    error_message text,
    metadata jsonb,
    env text NOT NULL DEFAULT 'local_dev',
    is_deleted boolean NOT NULL DEFAULT false,
    deleted_at timestamptz,
    deleted_by text
)""",
    "log.change_note": """(
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    relation text NOT NULL,
    day date,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    noted_at timestamptz NOT NULL DEFAULT clock_timestamp()
)""",
    "log.view_refresh": """(
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    relation text NOT NULL,
    mode text NOT NULL,
    started_at timestamptz NOT NULL,
    seconds double precision NOT NULL,
    row_count bigint NOT NULL,
    rows_inserted bigint NOT NULL,
    rows_deleted bigint NOT NULL,
    size_bytes bigint NOT NULL,
    business_date date NOT NULL,
    snapshot pg_snapshot NOT NULL,
    run_id text
)""",
    "log.relation": """(
    name text PRIMARY KEY,
    kind text NOT NULL,
    definition_hash text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
)""",
}

# Columns by table; what an adopted table lacks is added where it is adopted.
INDEXES = {
    "daily_target_plan_ddate": ("mart.daily_target_plan", ("ddate",)),
    "monthly_targets_month": ("kpi.monthly_targets", ("metric", "segment", "month_date")),
    "upload_file_hash": ("log.upload_file", ("file_hash",)),
    "change_note_relation": ("log.change_note", ("relation",)),
    "view_refresh_relation": ("log.view_refresh", ("relation", "id")),
}

COMMENTS = """
COMMENT ON TABLE mart.rollup_daily IS
    'One row per list, source and day over the active rows; recomputed for the days that change notes name.';
COMMENT ON TABLE log.change_note IS
    'Which relation changed, and on which day of its rows; no day: any of them. Written by triggers and refreshes.';
COMMENT ON COLUMN log.view_refresh.snapshot IS 'What the refresh could see: a note outside of it is news to the view.';
"""

TRIGGERS = """
CREATE OR REPLACE FUNCTION log.note_rows() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $body$
DECLARE
    -- The expression for a row's day comes from the trigger's definition, never from data.
    day text := nullif(TG_ARGV[0], '');
    relation text := TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME;
    changed text := CASE TG_OP
        WHEN 'INSERT' THEN 'TABLE new_rows'
        WHEN 'DELETE' THEN 'TABLE old_rows'
        ELSE 'TABLE old_rows UNION ALL TABLE new_rows'
    END;
BEGIN
    IF day IS NULL THEN
        EXECUTE 'INSERT INTO log.change_note (relation) SELECT $1 WHERE EXISTS (' || changed || ')' USING relation;
    ELSE
        EXECUTE 'INSERT INTO log.change_note (relation, day) SELECT $1, day FROM (SELECT DISTINCT ' || day
            || ' AS day FROM (' || changed || ') AS changed) AS days WHERE day IS NOT NULL' USING relation;
    END IF;
    RETURN NULL;
END
$body$;

CREATE OR REPLACE FUNCTION log.note_truncate() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $body$
BEGIN
    INSERT INTO log.change_note (relation) VALUES (TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME);
    RETURN NULL;
END
$body$;
"""


def upgrade() -> None:
    """Create what stands under the CSV kinds' tables and the views; a table that stands already is left as it is."""
    bind = op.get_bind()
    for statements in (SCHEMAS, FUNCTIONS):
        bind.exec_driver_sql(statements)
    missing = [name for name in TABLES if bind.exec_driver_sql(f"SELECT to_regclass('{name}')").scalar() is None]
    for name in missing:
        bind.exec_driver_sql(f"CREATE TABLE {name} {TABLES[name]}")
    for index, (table, columns) in INDEXES.items():
        if table in missing:
            bind.exec_driver_sql(f"CREATE INDEX {index} ON {table} ({', '.join(columns)})")
    for statements in (COMMENTS, TRIGGERS):
        bind.exec_driver_sql(statements)
