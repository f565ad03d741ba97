-- The audit becomes a chain: each entry carries the hash of the one before it. Entries that were there are chained by the first
-- process that migrates; an entry without a hash after that is a break.
ALTER TABLE audit_entry ADD COLUMN outcome TEXT NOT NULL DEFAULT '';
ALTER TABLE audit_entry ADD COLUMN previous_hash BYTEA;
ALTER TABLE audit_entry ADD COLUMN hash BYTEA;
-- Two entries never follow the same one.
CREATE UNIQUE INDEX audit_entry_follows ON audit_entry (previous_hash);
