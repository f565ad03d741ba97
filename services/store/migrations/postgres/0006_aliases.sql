-- Which version of a model each alias named when, by whom and why. Entries are only added: nothing changes or deletes one.
CREATE TABLE alias_entry (
    model    TEXT   NOT NULL,
    alias    TEXT   NOT NULL,
    -- From 1, without gaps: two never follow the same entry.
    number   BIGINT NOT NULL,
    action   TEXT   NOT NULL,
    -- NULL: it named nothing, or names nothing now.
    before   BIGINT,
    after    BIGINT,
    actor    TEXT   NOT NULL,
    evidence TEXT   NOT NULL,
    reason   TEXT   NOT NULL,
    at       BIGINT NOT NULL,
    PRIMARY KEY (model, alias, number)
);

CREATE FUNCTION loadline_alias_entry_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'entries of the alias journal are never changed or deleted';
END $$;

CREATE TRIGGER alias_entry_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON alias_entry
    FOR EACH STATEMENT EXECUTE FUNCTION loadline_alias_entry_stays();
