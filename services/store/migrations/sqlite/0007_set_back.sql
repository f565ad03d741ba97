-- Between which times the log's clock went back: in between, records are not in the order of their times.
ALTER TABLE stream_progress ADD COLUMN set_back_to INTEGER;
ALTER TABLE stream_progress ADD COLUMN set_back_from INTEGER;
