INSERT INTO log.incident (
    key, kind, level, audience, state, title, message, opened_at, first_seen_at, last_seen_at, notified_at, told
) VALUES (
    %(key)s,
    %(type)s,
    %(level)s,
    %(audience)s,
    %(state)s,
    %(title)s,
    %(message)s,
    %(opened_at)s,
    %(first_seen_at)s,
    %(last_seen_at)s,
    %(notified_at)s,
    %(told)s
)
