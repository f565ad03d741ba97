-- Times are microseconds since the epoch and end in _at, hours and days count from the epoch.
-- Texts compare by byte, so that the server orders as the program does, whatever the database's locale.

CREATE TABLE stream_lease (
    stream     TEXT COLLATE "C" PRIMARY KEY,
    holder     TEXT   NOT NULL,
    epoch      BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
) WITH (fillfactor = 50);

-- One row an incarnation, updated by every batch: room for it on its page, and swept often.
CREATE TABLE stream_progress (
    stream         TEXT COLLATE "C" NOT NULL,
    incarnation    TEXT COLLATE "C" NOT NULL,
    is_current     BOOLEAN NOT NULL DEFAULT TRUE,
    applied        BIGINT  NOT NULL DEFAULT 0,
    counted        BIGINT  NOT NULL DEFAULT 0,
    duplicates     BIGINT  NOT NULL DEFAULT 0,
    dead_lettered  BIGINT  NOT NULL DEFAULT 0,
    lost           BIGINT  NOT NULL DEFAULT 0,
    applied_at     BIGINT,
    committed_at   BIGINT,
    head           BIGINT  NOT NULL DEFAULT 0,
    stopped        TEXT,
    resume_through BIGINT  NOT NULL DEFAULT 0,
    epoch          BIGINT  NOT NULL,
    PRIMARY KEY (stream, incarnation)
) WITH (fillfactor = 20, autovacuum_vacuum_threshold = 200, autovacuum_vacuum_scale_factor = 0);

CREATE UNIQUE INDEX stream_progress_current ON stream_progress (stream) WHERE is_current;

-- The list of dedup tables: one a kind and day of the event, made when first needed.
CREATE TABLE dedup_partition (
    kind TEXT    NOT NULL,
    day  INTEGER NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (kind, day)
);

-- Keys of events accepted past their horizon: their day's table may be gone when they come again.
CREATE TABLE dedup_permanent (
    kind        TEXT COLLATE "C" NOT NULL,
    key         UUID   NOT NULL,
    fingerprint BIGINT NOT NULL,
    PRIMARY KEY (kind, key)
);

-- Updated in place (no column of an update is indexed), so pages keep room for the next version of their rows.
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
) WITH (fillfactor = 75, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 2);

CREATE TABLE latency_hourly (
    account TEXT COLLATE "C" NOT NULL,
    hour    INTEGER  NOT NULL,
    channel SMALLINT NOT NULL,
    country TEXT COLLATE "C" NOT NULL,
    bucket  SMALLINT NOT NULL,
    count   BIGINT   NOT NULL,
    PRIMARY KEY (account, hour, channel, country, bucket)
) WITH (fillfactor = 75, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 2);

-- Account-days whose roll-up is out of date. A roll-up deletes a row only in the version it read.
CREATE TABLE dirty_day (
    account TEXT COLLATE "C" NOT NULL,
    day     INTEGER NOT NULL,
    version BIGINT  NOT NULL,
    PRIMARY KEY (account, day)
) WITH (fillfactor = 75, autovacuum_vacuum_scale_factor = 0.05);

CREATE TABLE dead_letter (
    id          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    stream      TEXT COLLATE "C" NOT NULL,
    incarnation TEXT COLLATE "C" NOT NULL,
    sequence    BIGINT NOT NULL,
    reason      TEXT   NOT NULL,
    field       TEXT   NOT NULL,
    detail      TEXT   NOT NULL,
    account     TEXT COLLATE "C",
    event_time  BIGINT,
    recorded_at BIGINT NOT NULL,
    payload     BYTEA  NOT NULL,
    state       TEXT   NOT NULL DEFAULT 'open',
    resolved_at BIGINT,
    note        TEXT,
    UNIQUE (stream, incarnation, sequence)
);

CREATE INDEX dead_letter_by_state ON dead_letter (state, id);
CREATE INDEX dead_letter_open_by_account ON dead_letter (account, event_time) WHERE state = 'open';

-- Never deleted from.
CREATE TABLE loss (
    id             BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    stream         TEXT COLLATE "C" NOT NULL,
    incarnation    TEXT COLLATE "C" NOT NULL,
    first_sequence BIGINT NOT NULL,
    last_sequence  BIGINT NOT NULL,
    cause          TEXT   NOT NULL,
    after_at       BIGINT,
    before_at      BIGINT,
    recorded_at    BIGINT NOT NULL
);

CREATE INDEX loss_by_stream ON loss (stream, id);
