-- The open incidents, and those whose end somebody may still have to be told of.
SELECT
    key,
    kind AS type,
    level,
    audience,
    state,
    title,
    message,
    opened_at,
    first_seen_at,
    last_seen_at,
    closed_at,
    notified_at,
    told,
    id
FROM log.incident
WHERE closed_at IS NULL OR (told <> '{}' AND closed_at > %s)
ORDER BY id
