/*
description: Holds the same rows as {equals}.
message: "{differing} rows found that differ from {equals}, 0 expected."
remedy: "{refresh}"
*/
SELECT count(*) = 0 AS passed, count(*) AS differing
FROM ((TABLE {view} EXCEPT ALL TABLE {equals}) UNION ALL (TABLE {equals} EXCEPT ALL TABLE {view})) AS wrong
