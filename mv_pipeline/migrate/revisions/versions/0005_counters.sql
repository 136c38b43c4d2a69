CREATE TABLE log.counter (
    name text NOT NULL,
    relation text NOT NULL,
    le double precision NOT NULL,
    events bigint NOT NULL,
    total double precision NOT NULL,
    PRIMARY KEY (name, relation, le)
);
COMMENT ON TABLE log.counter IS
    'How often something happened to a view, by the upper bound of its bucket, and the sum of its values. Never falls.';
INSERT INTO log.counter (name, relation, le, events, total)
SELECT 'refresh_seconds', relation, le, count(*), sum(seconds)
FROM log.view_refresh CROSS JOIN LATERAL (
    SELECT min(bound) AS le
    FROM unnest('{0.005,0.01,0.025,0.05,0.1,0.25,0.5,1,2.5,5,10,30,60,300,600,Infinity}'::double precision[]) AS bound
    WHERE seconds <= bound
) AS bucket
GROUP BY relation, le;
INSERT INTO log.counter (name, relation, le, events, total)
SELECT 'refresh_failures', relation, 0.005, count(*), 0 FROM log.refresh_failure GROUP BY relation;
