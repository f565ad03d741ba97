-- Hours lie in a table a day: a day that moved to history goes with its table, whatever its number of rows, and a question about some
-- days reads nothing of the others. A day's tables are made before its first row.
SET LOCAL loadline.account TO 'every account';

ALTER TABLE usage_hourly RENAME TO usage_hourly_before;
ALTER TABLE usage_hourly_before RENAME CONSTRAINT usage_hourly_pkey TO usage_hourly_before_pkey;
ALTER TABLE latency_hourly RENAME TO latency_hourly_before;
ALTER TABLE latency_hourly_before RENAME CONSTRAINT latency_hourly_pkey TO latency_hourly_before_pkey;

CREATE TABLE usage_hourly (
    account       TEXT COLLATE "C" NOT NULL,
    hour          INTEGER  NOT NULL,
    channel       SMALLINT NOT NULL,
    country       TEXT COLLATE "C" NOT NULL,
    currency      TEXT COLLATE "C" NOT NULL,
    events        BIGINT NOT NULL,
    messages      BIGINT NOT NULL,
    segments      BIGINT NOT NULL,
    amount_micros BIGINT NOT NULL,
    delivered     BIGINT NOT NULL,
    undelivered   BIGINT NOT NULL,
    expired       BIGINT NOT NULL,
    rejected      BIGINT NOT NULL,
    failed        BIGINT NOT NULL,
    not_final     BIGINT NOT NULL,
    PRIMARY KEY (account, hour, channel, country, currency)
) PARTITION BY RANGE (hour);

CREATE TABLE latency_hourly (
    account TEXT COLLATE "C" NOT NULL,
    hour    INTEGER  NOT NULL,
    channel SMALLINT NOT NULL,
    country TEXT COLLATE "C" NOT NULL,
    bucket  SMALLINT NOT NULL,
    count   BIGINT   NOT NULL,
    PRIMARY KEY (account, hour, channel, country, bucket)
) PARTITION BY RANGE (hour);

-- Texts are short, and stay in their rows: without this each day would have tables for long ones too.
ALTER TABLE usage_hourly ALTER account SET STORAGE PLAIN, ALTER country SET STORAGE PLAIN, ALTER currency SET STORAGE PLAIN;
ALTER TABLE latency_hourly ALTER account SET STORAGE PLAIN, ALTER country SET STORAGE PLAIN;

-- The wall of 0005.
CREATE FUNCTION loadline_wall_in(walled text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', walled);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', walled);
    EXECUTE format('CREATE POLICY account_in_sight ON %I USING (
        account = (SELECT current_setting(''loadline.account'', true)) OR (SELECT loadline_every_account()))', walled);
END $$;

SELECT loadline_wall_in('usage_hourly'), loadline_wall_in('latency_hourly');

-- The name of a day's table, such as usage_hourly_20261127.
CREATE FUNCTION loadline_table_of(whole text, day integer) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT whole || '_' || to_char(date '1970-01-01' + day, 'YYYYMMDD')
$$;

-- Makes what is not there of a day's tables. They are made apart and attached: that lets everybody read and write meanwhile. Rows
-- are updated in place (no column of an update is indexed), so pages keep room for the next version of their rows.
CREATE FUNCTION loadline_make_day(day integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    whole text;
    made  text;
BEGIN
    IF to_regclass(loadline_table_of('usage_hourly', day)) IS NOT NULL THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('loadline days'));
    FOREACH whole IN ARRAY ARRAY['usage_hourly', 'latency_hourly'] LOOP
        made := loadline_table_of(whole, day);
        CONTINUE WHEN to_regclass(made) IS NOT NULL;
        EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING STORAGE)
            WITH (fillfactor = 75, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 2)', made, whole);
        PERFORM loadline_wall_in(made);
        EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)', whole, made, day * 24, day * 24 + 24);
    END LOOP;
END $$;

-- Days that have rows; and those that an older build, which makes none, may still count for while services are exchanged.
SELECT loadline_make_day(day) FROM (
    SELECT floor(hour / 24.0)::integer AS day FROM usage_hourly_before
    UNION SELECT floor(hour / 24.0)::integer FROM latency_hourly_before
    UNION SELECT current_date - date '1970-01-01' + ahead FROM generate_series(-4, 2) AS ahead
) AS days ORDER BY day;
INSERT INTO usage_hourly SELECT * FROM usage_hourly_before;
INSERT INTO latency_hourly SELECT * FROM latency_hourly_before;
DROP TABLE usage_hourly_before, latency_hourly_before;
