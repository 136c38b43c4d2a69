UPDATE log.incident SET
    level = %(level)s,
    state = %(state)s,
    title = %(title)s,
    message = %(message)s,
    opened_at = %(opened_at)s,
    last_seen_at = %(last_seen_at)s,
    closed_at = %(closed_at)s,
    notified_at = %(notified_at)s,
    told = %(told)s
WHERE id = %(id)s
