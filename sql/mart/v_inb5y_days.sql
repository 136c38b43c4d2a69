/*
description: 直近5年の日次受入（予測モデルの基礎データ）。is_biz は営業日かつ祝日以外の月〜土です。
description_en: "The last five years of receive days behind the profiles; is_biz: a business day, no holiday, Monday to Saturday."
owner: team:data-platform
*/
SELECT
    d.ddate,
    d.iso_year,
    d.iso_week,
    d.iso_dow,
    d.day_type,
    d.is_business,
    d.is_business AND NOT d.is_holiday AND d.iso_dow BETWEEN 1 AND 6 AS is_biz,
    d.receive_net_ton,
    s.changed_at
FROM mart.mv_receive_daily AS d
LEFT JOIN mart.v_receive_source AS s ON s.ddate = d.ddate
WHERE d.ddate >= (ref.business_date() - interval '5 years')::date
