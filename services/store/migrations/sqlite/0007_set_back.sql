-- Between which times the log's clock went back, and what was applied then: up to there, records are not in the order of their times.
ALTER TABLE stream_progress ADD COLUMN set_back_to INTEGER;
ALTER TABLE stream_progress ADD COLUMN set_back_from INTEGER;
ALTER TABLE stream_progress ADD COLUMN set_back_at INTEGER;
