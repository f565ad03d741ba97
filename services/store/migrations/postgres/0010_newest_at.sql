-- The newest time of the log since its clock last went back: it may go back little by little.
ALTER TABLE stream_progress ADD COLUMN newest_at BIGINT;
UPDATE stream_progress SET newest_at = applied_at;
