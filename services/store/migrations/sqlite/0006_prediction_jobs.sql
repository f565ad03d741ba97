-- Jobs of predictions. A job is its question: the same one is accepted once.
CREATE TABLE prediction_job (
    -- The order of acceptance; never given twice, so that an end is one job's for ever.
    number       INTEGER PRIMARY KEY AUTOINCREMENT,
    id           TEXT    NOT NULL UNIQUE,
    model        TEXT    NOT NULL,
    version      INTEGER NOT NULL,
    sha256       TEXT    NOT NULL,
    submitted_by TEXT    NOT NULL,
    row_count    INTEGER NOT NULL,
    state        TEXT    NOT NULL DEFAULT 'accepted'
                 CHECK (state IN ('accepted', 'queued', 'running', 'succeeded', 'failed', 'cancelled', 'expired')),
    -- How often it went to the outbox, after the first time.
    dispatch     INTEGER NOT NULL DEFAULT 0,
    attempts     INTEGER NOT NULL DEFAULT 0,
    -- Raised by every claim: who holds an older one is fenced off.
    epoch        INTEGER NOT NULL DEFAULT 0,
    holder       TEXT,
    leased_until INTEGER NOT NULL DEFAULT 0,
    -- Not to be claimed before.
    put_off_until INTEGER NOT NULL DEFAULT 0,
    deadline     INTEGER,
    accepted_at  INTEGER NOT NULL,
    queued_at    INTEGER,
    started_at   INTEGER,
    finished_at  INTEGER,
    reason       TEXT,
    detail       TEXT,
    CHECK ((finished_at IS NOT NULL) = (state IN ('succeeded', 'failed', 'cancelled', 'expired')))
) STRICT;
CREATE INDEX prediction_job_open ON prediction_job (number) WHERE finished_at IS NULL;
CREATE INDEX prediction_job_due ON prediction_job (deadline) WHERE finished_at IS NULL AND deadline IS NOT NULL;
CREATE INDEX prediction_job_finished ON prediction_job (finished_at) WHERE finished_at IS NOT NULL;

-- Beside the job: what changes is small, what is large does not change.
CREATE TABLE prediction_request (number INTEGER PRIMARY KEY, request BLOB NOT NULL) STRICT;
CREATE TABLE prediction_result (number INTEGER PRIMARY KEY, result BLOB NOT NULL) STRICT;

-- Jobs that the queue has to hear of.
CREATE TABLE prediction_outbox (number INTEGER PRIMARY KEY, put_at INTEGER NOT NULL) STRICT;

-- Every end, written down by the database itself, one a job.
CREATE TABLE prediction_end (
    number INTEGER PRIMARY KEY,
    state  TEXT    NOT NULL CHECK (state IN ('succeeded', 'failed', 'cancelled', 'expired')),
    epoch  INTEGER NOT NULL,
    at     INTEGER NOT NULL
) STRICT;

CREATE TRIGGER prediction_job_ends AFTER UPDATE ON prediction_job WHEN NEW.finished_at IS NOT NULL BEGIN
    INSERT INTO prediction_end (number, state, epoch, at) VALUES (NEW.number, NEW.state, NEW.epoch, NEW.finished_at);
    DELETE FROM prediction_outbox WHERE number = NEW.number;
END;

CREATE TRIGGER prediction_job_ended BEFORE UPDATE ON prediction_job WHEN OLD.finished_at IS NOT NULL BEGIN
    SELECT RAISE(ABORT, 'a job that has ended is never changed');
END;

CREATE TRIGGER prediction_job_is_kept BEFORE DELETE ON prediction_job WHEN OLD.finished_at IS NULL BEGIN
    SELECT RAISE(ABORT, 'a job that has not ended is never deleted');
END;

CREATE TRIGGER prediction_job_begins BEFORE INSERT ON prediction_job WHEN NEW.finished_at IS NOT NULL BEGIN
    SELECT RAISE(ABORT, 'a job begins before it ends');
END;

CREATE TRIGGER prediction_end_stays BEFORE UPDATE ON prediction_end BEGIN
    SELECT RAISE(ABORT, 'ends of jobs are never changed');
END;

-- Retention takes the job first.
CREATE TRIGGER prediction_end_is_kept BEFORE DELETE ON prediction_end
WHEN EXISTS (SELECT 1 FROM prediction_job WHERE number = OLD.number) BEGIN
    SELECT RAISE(ABORT, 'the end of a job is never deleted before the job');
END;

CREATE TRIGGER prediction_result_stays BEFORE UPDATE ON prediction_result BEGIN
    SELECT RAISE(ABORT, 'the result of a job is never changed');
END;
