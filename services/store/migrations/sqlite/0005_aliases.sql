-- Which version of a model each alias named when, by whom and why. Entries are only added: nothing changes or deletes one.
CREATE TABLE alias_entry (
    model    TEXT    NOT NULL,
    alias    TEXT    NOT NULL,
    -- From 1, without gaps: two never follow the same entry.
    number   INTEGER NOT NULL,
    action   TEXT    NOT NULL,
    -- NULL: it named nothing, or names nothing now.
    before   INTEGER,
    after    INTEGER,
    actor    TEXT    NOT NULL,
    evidence TEXT    NOT NULL,
    reason   TEXT    NOT NULL,
    at       INTEGER NOT NULL,
    PRIMARY KEY (model, alias, number)
) WITHOUT ROWID;

CREATE TRIGGER alias_entry_stays BEFORE UPDATE ON alias_entry BEGIN
    SELECT RAISE(ABORT, 'entries of the alias journal are never changed');
END;

CREATE TRIGGER alias_entry_is_kept BEFORE DELETE ON alias_entry BEGIN
    SELECT RAISE(ABORT, 'entries of the alias journal are never deleted');
END;
