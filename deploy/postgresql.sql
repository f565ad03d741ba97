-- The role that the services connect as, and its database; run once, as a superuser. It is no superuser and cannot bypass row-level
-- security, so the database keeps accounts apart too. It owns its tables: it makes, migrates and drops them.
CREATE ROLE loadline LOGIN PASSWORD 'password' NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE;
CREATE DATABASE loadline OWNER loadline;

-- Whoever looks at account data by hand says whose, or sees an error:
--   SET loadline.account TO 'acme';  SET loadline.account TO 'every account';
