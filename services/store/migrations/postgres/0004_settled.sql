-- The version of the mark that a day's roll-up took off: while the day has no mark, its hours are those of that version. 0: rolled
-- up by a build that did not note it.
ALTER TABLE usage_daily ADD COLUMN version BIGINT NOT NULL DEFAULT 0;
