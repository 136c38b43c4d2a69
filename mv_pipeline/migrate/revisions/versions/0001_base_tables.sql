-- The base tables, by name: migrate creates one that is missing, and compares one that others have made with this.

CREATE TABLE ref.calendar_day (
    ddate date PRIMARY KEY,
    y integer GENERATED ALWAYS AS ((EXTRACT(year FROM ddate))::integer) STORED,
    m integer GENERATED ALWAYS AS ((EXTRACT(month FROM ddate))::integer) STORED,
    iso_year integer GENERATED ALWAYS AS ((EXTRACT(isoyear FROM ddate))::integer) STORED,
    iso_week integer GENERATED ALWAYS AS ((EXTRACT(week FROM ddate))::integer) STORED,
    iso_dow integer GENERATED ALWAYS AS ((EXTRACT(isodow FROM ddate))::integer) STORED
);

CREATE TABLE ref.calendar_month (month_date date PRIMARY KEY);

CREATE TABLE ref.holiday_jp (hdate date PRIMARY KEY, name text NOT NULL);

CREATE TABLE ref.closure_periods (
    start_date date NOT NULL,
    end_date date NOT NULL,
    closure_name text NOT NULL,
    PRIMARY KEY (start_date, end_date),
    CHECK (start_date <= end_date)
);

CREATE TABLE ref.closure_membership (
    ddate date PRIMARY KEY,
    start_date date NOT NULL,
    end_date date NOT NULL,
    closure_name text NOT NULL
);

CREATE TABLE ref.calendar_exception (
    ddate date PRIMARY KEY,
    override_type text NOT NULL CHECK (override_type IN ('FORCE_CLOSED', 'FORCE_OPEN', 'FORCE_RESERVATION')),
    reason text,
    updated_by text,
    updated_at timestamp NOT NULL DEFAULT now()
);

CREATE TABLE mart.daily_target_plan (
    ddate timestamp,
    target_ton double precision,
    scope_used text,
    created_at timestamp
);

CREATE TABLE kpi.monthly_targets (
    month_date date NOT NULL,
    segment text NOT NULL,
    metric text NOT NULL,
    value numeric(20, 4) NOT NULL,
    unit text NOT NULL,
    label text,
    updated_at timestamptz NOT NULL DEFAULT now(),
    note text
);

CREATE TABLE stg.receive_king_final (
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
);

CREATE TABLE mart.rollup_daily (
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
) PARTITION BY LIST (csv_type);

CREATE TABLE log.upload_file (
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
);

CREATE TABLE log.change_note (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    relation text NOT NULL,
    day date,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    noted_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE log.view_refresh (
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
);

CREATE TABLE log.relation (
    name text PRIMARY KEY,
    kind text NOT NULL,
    definition_hash text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
