-- A random name, made once and restored with the rest: history that belongs to it belongs to no other store.
CREATE TABLE store_identity (id TEXT COLLATE "C" PRIMARY KEY);
INSERT INTO store_identity VALUES (gen_random_uuid()::text);
