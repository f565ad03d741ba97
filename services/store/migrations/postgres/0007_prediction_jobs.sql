-- Jobs of predictions. A job is its question: the same one is accepted once.
CREATE TABLE prediction_job (
    -- The order of acceptance; never given twice, so that an end is one job's for ever.
    number       BIGINT  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id           TEXT    NOT NULL UNIQUE,
    model        TEXT    NOT NULL,
    version      BIGINT  NOT NULL,
    sha256       TEXT    NOT NULL,
    submitted_by TEXT    NOT NULL,
    row_count    BIGINT  NOT NULL,
    state        TEXT    NOT NULL DEFAULT 'accepted'
                 CHECK (state IN ('accepted', 'queued', 'running', 'succeeded', 'failed', 'cancelled', 'expired')),
    -- How often it went to the outbox, after the first time.
    dispatch     BIGINT  NOT NULL DEFAULT 0,
    attempts     BIGINT  NOT NULL DEFAULT 0,
    -- Raised by every claim: who holds an older one is fenced off.
    epoch        BIGINT  NOT NULL DEFAULT 0,
    holder       TEXT,
    leased_until BIGINT  NOT NULL DEFAULT 0,
    -- Not to be claimed before.
    put_off_until BIGINT NOT NULL DEFAULT 0,
    deadline     BIGINT,
    accepted_at  BIGINT  NOT NULL,
    queued_at    BIGINT,
    started_at   BIGINT,
    finished_at  BIGINT,
    reason       TEXT,
    detail       TEXT,
    CHECK ((finished_at IS NOT NULL) = (state IN ('succeeded', 'failed', 'cancelled', 'expired')))
);
CREATE INDEX prediction_job_open ON prediction_job (number) WHERE finished_at IS NULL;
CREATE INDEX prediction_job_due ON prediction_job (deadline) WHERE finished_at IS NULL AND deadline IS NOT NULL;
CREATE INDEX prediction_job_finished ON prediction_job (finished_at) WHERE finished_at IS NOT NULL;

-- Beside the job: what changes is small, what is large does not change.
CREATE TABLE prediction_request (number BIGINT PRIMARY KEY, request BYTEA NOT NULL);
CREATE TABLE prediction_result (number BIGINT PRIMARY KEY, result BYTEA NOT NULL);

-- Jobs that the queue has to hear of.
CREATE TABLE prediction_outbox (number BIGINT PRIMARY KEY, put_at BIGINT NOT NULL);

-- Every end, written down by the database itself, one a job.
CREATE TABLE prediction_end (
    number BIGINT PRIMARY KEY,
    state  TEXT   NOT NULL CHECK (state IN ('succeeded', 'failed', 'cancelled', 'expired')),
    epoch  BIGINT NOT NULL,
    at     BIGINT NOT NULL
);

CREATE FUNCTION loadline_prediction_job_ends() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO prediction_end (number, state, epoch, at) VALUES (NEW.number, NEW.state, NEW.epoch, NEW.finished_at);
    DELETE FROM prediction_outbox WHERE number = NEW.number;
    RETURN NULL;
END $$;

CREATE TRIGGER prediction_job_ends AFTER UPDATE ON prediction_job
    FOR EACH ROW WHEN (NEW.finished_at IS NOT NULL) EXECUTE FUNCTION loadline_prediction_job_ends();

CREATE FUNCTION loadline_prediction_refused() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%', TG_ARGV[0];
END $$;

CREATE TRIGGER prediction_job_ended BEFORE UPDATE ON prediction_job FOR EACH ROW WHEN (OLD.finished_at IS NOT NULL)
    EXECUTE FUNCTION loadline_prediction_refused('a job that has ended is never changed');
CREATE TRIGGER prediction_job_is_kept BEFORE DELETE ON prediction_job FOR EACH ROW WHEN (OLD.finished_at IS NULL)
    EXECUTE FUNCTION loadline_prediction_refused('a job that has not ended is never deleted');
CREATE TRIGGER prediction_job_begins BEFORE INSERT ON prediction_job FOR EACH ROW WHEN (NEW.finished_at IS NOT NULL)
    EXECUTE FUNCTION loadline_prediction_refused('a job begins before it ends');
CREATE TRIGGER prediction_end_stays BEFORE UPDATE OR TRUNCATE ON prediction_end
    FOR EACH STATEMENT EXECUTE FUNCTION loadline_prediction_refused('ends of jobs are never changed');
CREATE TRIGGER prediction_result_stays BEFORE UPDATE ON prediction_result
    FOR EACH STATEMENT EXECUTE FUNCTION loadline_prediction_refused('the result of a job is never changed');

-- Retention takes the job first.
CREATE FUNCTION loadline_prediction_end_is_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM prediction_job WHERE number = OLD.number) THEN
        RAISE EXCEPTION 'the end of a job is never deleted before the job';
    END IF;
    RETURN OLD;
END $$;

CREATE TRIGGER prediction_end_is_kept BEFORE DELETE ON prediction_end
    FOR EACH ROW EXECUTE FUNCTION loadline_prediction_end_is_kept();
