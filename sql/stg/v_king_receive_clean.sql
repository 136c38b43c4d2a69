/*
description: king の受入実績のうち、車種区分1・正味重量が0でない・日付が正しい行。
description_en: King lines with vehicle type 1, a net weight other than zero and a real date.
owner: team:data-platform
*/
SELECT
    ref.king_date(invoice_date) AS invoice_d,
    invoice_no,
    net_weight_detail,
    amount
FROM stg.receive_king_final
WHERE
    vehicle_type_code = 1
    AND net_weight_detail <> 0
    AND ref.king_date(invoice_date) IS NOT NULL
