/*
severity: WARN
# One that another program is still loading isn't judged.
description: The newest file was loaded.
message: "{said}."
no_row: No file has come yet.
remedy: "エラー一覧を見てファイルを直し、inbox/{kind}/ に置き直してください。
    Correct what the error report lists, and drop the file again."
*/
SELECT
    processing_status = 'success' AS passed,
    id AS upload_file_id,
    CASE
        WHEN processing_status = 'success'
            THEN format('「%%s」を取り込みました。 %%s lines of %%s found, %%s of them end early, 0 problems',
                file_name, row_count, file_name, coalesce(metadata->>'short_lines', '0'))
        ELSE format('「%%s」を取り込めませんでした（問題%%s件）：%%s %%s problems found in %%s, 0 expected',
            file_name, problems, error_message, problems, file_name)
    END AS said
FROM {uploads}, coalesce((metadata->>'problems')::int, 1) AS problems
WHERE kind = %(kind)s AND state <> 'unfinished' ORDER BY id DESC LIMIT 1
