-- Roll-ups, the archive, jobs and their leaders, the audit.

-- Made anew, for a column whose default is the time: since when an account-day waits.
ALTER TABLE dirty_day RENAME TO dirty_day_before;
CREATE TABLE dirty_day (
    account TEXT    NOT NULL,
    day     INTEGER NOT NULL,
    version INTEGER NOT NULL,
    since   INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000000 AS INTEGER)),
    PRIMARY KEY (account, day)
) STRICT, WITHOUT ROWID;
INSERT INTO dirty_day SELECT account, day, version, version FROM dirty_day_before;
DROP TABLE dirty_day_before;
CREATE INDEX dirty_day_since ON dirty_day (since, account, day);

-- Recomputed whole from usage_hourly, an account-day at a time; right for every account-day that is not in dirty_day.
CREATE TABLE usage_daily (
    account       TEXT    NOT NULL,
    day           INTEGER NOT NULL,
    channel       INTEGER NOT NULL,
    country       TEXT    NOT NULL,
    currency      TEXT    NOT NULL,
    events        INTEGER NOT NULL,
    messages      INTEGER NOT NULL,
    segments      INTEGER NOT NULL,
    amount_micros INTEGER NOT NULL,
    delivered     INTEGER NOT NULL,
    undelivered   INTEGER NOT NULL,
    expired       INTEGER NOT NULL,
    rejected      INTEGER NOT NULL,
    failed        INTEGER NOT NULL,
    not_final     INTEGER NOT NULL,
    PRIMARY KEY (account, day, channel, country, currency)
) STRICT, WITHOUT ROWID;

-- Whose hours a day has: usage_hourly is found by account, and needs no index on its hours.
CREATE INDEX usage_daily_by_day ON usage_daily (day);

-- What history holds. A part that is not listed here was never written whole, or never confirmed, and is not read. Sums are
-- texts: they may leave 64 bits.
CREATE TABLE archived_part (
    day          INTEGER NOT NULL,
    number       INTEGER NOT NULL,
    token        TEXT    NOT NULL UNIQUE,
    hourly_rows  INTEGER NOT NULL,
    hourly       TEXT    NOT NULL,
    latency_rows INTEGER NOT NULL,
    latency      TEXT    NOT NULL,
    archived_at  INTEGER NOT NULL,
    PRIMARY KEY (day, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE leader (
    role       TEXT    NOT NULL PRIMARY KEY,
    holder     TEXT    NOT NULL, -- empty when released
    epoch      INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;

-- A table on its way out is looked into no more.
ALTER TABLE dedup_partition ADD COLUMN purging INTEGER NOT NULL DEFAULT 0;

CREATE TABLE job_run (
    id               BLOB    NOT NULL PRIMARY KEY,
    job              TEXT    NOT NULL,
    idempotency_key  TEXT    NOT NULL,
    state            TEXT    NOT NULL DEFAULT 'queued',
    triggered_by     TEXT    NOT NULL,
    parameters       TEXT    NOT NULL,
    requested_by     TEXT    NOT NULL,
    attempt          INTEGER NOT NULL,
    scheduled_for    INTEGER,
    queued_at        INTEGER NOT NULL,
    started_at       INTEGER,
    finished_at      INTEGER,
    role             TEXT,
    holder           TEXT,
    epoch            INTEGER,
    done             INTEGER NOT NULL DEFAULT 0,
    total            INTEGER,
    note             TEXT    NOT NULL DEFAULT '',
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    result           TEXT,
    error            TEXT,
    UNIQUE (job, idempotency_key)
) STRICT;

CREATE INDEX job_run_by_job ON job_run (job, id);
CREATE INDEX job_run_queued ON job_run (id) WHERE state = 'queued';
-- A job never runs twice at once.
CREATE UNIQUE INDEX job_run_running ON job_run (job) WHERE state = 'running';

CREATE TABLE audit_entry (
    id     INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    at     INTEGER NOT NULL,
    actor  TEXT    NOT NULL,
    action TEXT    NOT NULL,
    target TEXT    NOT NULL,
    reason TEXT    NOT NULL,
    before TEXT    NOT NULL,
    after  TEXT    NOT NULL
) STRICT;
