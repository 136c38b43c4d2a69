MODEL (
  name bench_sqlmesh.detail,
  kind INCREMENTAL_BY_TIME_RANGE (time_column slip_date),
  grain (slip_date, client_cd, item_cd, vendor_cd)
);

SELECT
    slip_date,
    client_cd,
    item_cd,
    vendor_cd,
    count(*) AS line_count,
    count(DISTINCT receive_no) AS slip_count,
    sum(net_weight) AS net_weight_kg,
    sum(amount) AS amount_yen
FROM stg.v_active_shogun_final_receive
WHERE slip_date BETWEEN @start_date AND @end_date
GROUP BY slip_date, client_cd, item_cd, vendor_cd;

@IF(
  @runtime_stage = 'creating',
  CREATE UNIQUE INDEX IF NOT EXISTS detail_key ON @this_model USING btree (slip_date, client_cd, item_cd, vendor_cd)
)
