-- Times are microseconds since 1970 (`*_at`), hours and days are counted from there, UTC. STRICT: a sum that leaves 64 bits
-- is an error, never a float.

CREATE TABLE stream_lease (
    stream     TEXT    NOT NULL PRIMARY KEY,
    holder     TEXT    NOT NULL, -- empty when released
    epoch      INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;

CREATE TABLE stream_progress (
    stream         TEXT    NOT NULL,
    incarnation    TEXT    NOT NULL,
    is_current     INTEGER NOT NULL,
    applied        INTEGER NOT NULL DEFAULT 0,
    counted        INTEGER NOT NULL DEFAULT 0,
    duplicates     INTEGER NOT NULL DEFAULT 0,
    dead_lettered  INTEGER NOT NULL DEFAULT 0,
    lost           INTEGER NOT NULL DEFAULT 0,
    applied_at     INTEGER,
    committed_at   INTEGER,
    head           INTEGER NOT NULL DEFAULT 0,
    stopped        TEXT,
    resume_through INTEGER NOT NULL DEFAULT 0,
    epoch          INTEGER NOT NULL,
    PRIMARY KEY (stream, incarnation)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX stream_progress_current ON stream_progress (stream) WHERE is_current;

-- One row a dedup table. Rows are counted as they are written, because counting them afterwards reads the whole table.
CREATE TABLE dedup_partition (
    kind    TEXT    NOT NULL,
    day     INTEGER NOT NULL,
    name    TEXT    NOT NULL UNIQUE,
    entries INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (kind, day)
) STRICT, WITHOUT ROWID;

-- Keys of late events that were accepted knowingly: they outlive their day's table.
CREATE TABLE dedup_permanent (
    kind        TEXT    NOT NULL,
    key         BLOB    NOT NULL,
    fingerprint INTEGER NOT NULL,
    PRIMARY KEY (kind, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE usage_hourly (
    account       TEXT    NOT NULL,
    hour          INTEGER NOT NULL,
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
    PRIMARY KEY (account, hour, channel, country, currency)
) STRICT, WITHOUT ROWID;

CREATE TABLE latency_hourly (
    account TEXT    NOT NULL,
    hour    INTEGER NOT NULL,
    channel INTEGER NOT NULL,
    country TEXT    NOT NULL,
    bucket  INTEGER NOT NULL,
    count   INTEGER NOT NULL,
    PRIMARY KEY (account, hour, channel, country, bucket)
) STRICT, WITHOUT ROWID;

-- Account-days whose roll-up is out of date. A roll-up deletes a row only while its version is the one it read: versions
-- rise, and start at the time of marking in microseconds.
CREATE TABLE dirty_day (
    account TEXT    NOT NULL,
    day     INTEGER NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (account, day)
) STRICT, WITHOUT ROWID;

CREATE TABLE dead_letter (
    id          INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    stream      TEXT    NOT NULL,
    incarnation TEXT    NOT NULL,
    sequence    INTEGER NOT NULL,
    reason      TEXT    NOT NULL,
    field       TEXT    NOT NULL,
    detail      TEXT    NOT NULL,
    account     TEXT,
    event_time  INTEGER,
    recorded_at INTEGER NOT NULL,
    payload     BLOB    NOT NULL,
    state       TEXT    NOT NULL,
    resolved_at INTEGER,
    note        TEXT,
    UNIQUE (stream, incarnation, sequence)
) STRICT;

CREATE INDEX dead_letter_by_state ON dead_letter (state, id);
CREATE INDEX dead_letter_open_by_account ON dead_letter (account, event_time) WHERE state = 'open';

CREATE TABLE loss (
    id             INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    stream         TEXT    NOT NULL,
    incarnation    TEXT    NOT NULL,
    first_sequence INTEGER NOT NULL,
    last_sequence  INTEGER NOT NULL,
    cause          TEXT    NOT NULL,
    after_at       INTEGER,
    before_at      INTEGER,
    recorded_at    INTEGER NOT NULL
) STRICT;
