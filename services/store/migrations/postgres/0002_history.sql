-- Roll-ups, the archive, jobs and their leaders, the audit.

-- Since when an account-day waits: set when its row is made, whatever build makes it.
ALTER TABLE dirty_day ADD COLUMN since BIGINT NOT NULL DEFAULT 0;
UPDATE dirty_day SET since = version;
ALTER TABLE dirty_day ALTER COLUMN since SET DEFAULT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;
CREATE INDEX dirty_day_since ON dirty_day (since, account, day);

-- Recomputed whole from usage_hourly, an account-day at a time; right for every account-day that is not in dirty_day.
CREATE TABLE usage_daily (
    account       TEXT COLLATE "C" NOT NULL,
    day           INTEGER  NOT NULL,
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
    PRIMARY KEY (account, day, channel, country, currency)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 2);

-- Whose hours a day has: usage_hourly is found by account, and needs no index on its hours.
CREATE INDEX usage_daily_by_day ON usage_daily (day);

-- What history holds. A part that is not listed here was never written whole, or never confirmed, and is not read. Sums are
-- texts: they may leave 64 bits.
CREATE TABLE archived_part (
    day          INTEGER NOT NULL,
    number       INTEGER NOT NULL,
    token        TEXT COLLATE "C" NOT NULL UNIQUE,
    hourly_rows  BIGINT  NOT NULL,
    hourly       TEXT    NOT NULL,
    latency_rows BIGINT  NOT NULL,
    latency      TEXT    NOT NULL,
    archived_at  BIGINT  NOT NULL,
    PRIMARY KEY (day, number)
);

-- Renewing changes no column of a unique index, taking does: a write that holds its leader's row (FOR KEY SHARE) lets it
-- be renewed, and makes the next leader wait.
CREATE TABLE leader (
    role       TEXT COLLATE "C" PRIMARY KEY,
    holder     TEXT   NOT NULL,
    epoch      BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    UNIQUE (role, epoch)
) WITH (fillfactor = 50);

-- A table on its way out is looked into no more, and goes when nobody is left who does.
ALTER TABLE dedup_partition ADD COLUMN purging BOOLEAN NOT NULL DEFAULT FALSE;

CREATE TABLE job_run (
    id               UUID PRIMARY KEY,
    job              TEXT COLLATE "C" NOT NULL,
    idempotency_key  TEXT COLLATE "C" NOT NULL,
    state            TEXT    NOT NULL DEFAULT 'queued',
    triggered_by     TEXT    NOT NULL,
    parameters       TEXT    NOT NULL,
    requested_by     TEXT    NOT NULL,
    attempt          INTEGER NOT NULL,
    scheduled_for    BIGINT,
    queued_at        BIGINT  NOT NULL,
    started_at       BIGINT,
    finished_at      BIGINT,
    role             TEXT COLLATE "C",
    holder           TEXT,
    epoch            BIGINT,
    done             BIGINT  NOT NULL DEFAULT 0,
    total            BIGINT,
    note             TEXT    NOT NULL DEFAULT '',
    cancel_requested BOOLEAN NOT NULL DEFAULT FALSE,
    result           TEXT,
    error            TEXT,
    UNIQUE (job, idempotency_key)
) WITH (fillfactor = 75);

CREATE INDEX job_run_by_job ON job_run (job, id);
CREATE INDEX job_run_queued ON job_run (id) WHERE state = 'queued';
-- A job never runs twice at once.
CREATE UNIQUE INDEX job_run_running ON job_run (job) WHERE state = 'running';

CREATE TABLE audit_entry (
    id     BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at     BIGINT NOT NULL,
    actor  TEXT   NOT NULL,
    action TEXT   NOT NULL,
    target TEXT   NOT NULL,
    reason TEXT   NOT NULL,
    before TEXT   NOT NULL,
    after  TEXT   NOT NULL
);
