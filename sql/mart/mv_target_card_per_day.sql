/*
description: 目標カード。未来の日も含む全暦日を1日1行で持ちます。
description_en: "The target card: one row for every calendar day, future days included."
owner: team:data-platform
key: [ddate]
indexes: [[iso_year, iso_week]]
criticality: critical
picture: target_card
days: calendar
equals: mart.v_target_card_per_day
*/
SELECT
    ddate,
    day_target_ton,
    week_target_ton,
    month_target_ton,
    day_actual_ton_prev,
    week_actual_ton,
    month_actual_ton,
    iso_year,
    iso_week,
    iso_dow,
    day_type,
    is_business
FROM mart.v_target_card_per_day
