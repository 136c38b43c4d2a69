{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key='slip_date',
        indexes=[{'columns': ['slip_date', 'client_cd', 'item_cd', 'vendor_cd'], 'unique': true}],
    )
}}
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
{% if is_incremental() %}
WHERE slip_date = ANY ('{ {{ var("days") }} }')
{% endif %}
GROUP BY slip_date, client_cd, item_cd, vendor_cd
