-- Row-level security: whoever reads or writes account data says whose, in the transaction that does. `loadline.account` is an
-- account's id, or 'every account', which no id can be because of its space. Without it nothing is read or written, and an error
-- says so: an empty answer would look like no usage. Owners are held to it too (FORCE); superusers and roles with BYPASSRLS are not.
CREATE FUNCTION loadline_every_account() RETURNS boolean LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
    account CONSTANT text := coalesce(current_setting('loadline.account', true), '');
BEGIN
    IF account = '' THEN
        RAISE EXCEPTION 'no account is in sight of this transaction' USING
            HINT = 'SET LOCAL loadline.account TO an account, or to ''every account''';
    END IF;
    RETURN account = 'every account';
END $$;

-- Each SELECT is asked once a scan, not once a row; and the second only when a row is not the account's, so never by an answer whose
-- condition is right. What the planner cannot know it takes for one half, which moves no plan: a statement's own condition on the
-- account is found by index as before.
DO $$
DECLARE
    walled text;
BEGIN
    FOREACH walled IN ARRAY ARRAY['usage_hourly', 'latency_hourly', 'usage_daily', 'dirty_day', 'dead_letter'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', walled);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', walled);
    END LOOP;
    FOREACH walled IN ARRAY ARRAY['usage_hourly', 'latency_hourly', 'usage_daily', 'dirty_day'] LOOP
        EXECUTE format('CREATE POLICY account_in_sight ON %I USING (
            account = (SELECT current_setting(''loadline.account'', true)) OR (SELECT loadline_every_account()))', walled);
    END LOOP;
END $$;

-- A letter that nobody could be named for may be any account's: each answer counts it among what could change it.
CREATE POLICY account_in_sight ON dead_letter USING (
    account IS NULL OR account = (SELECT current_setting('loadline.account', true)) OR (SELECT loadline_every_account()));
