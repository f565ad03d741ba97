-- A random name, made once and restored with the rest: history that belongs to it belongs to no other store.
CREATE TABLE store_identity (id TEXT PRIMARY KEY) STRICT;
INSERT INTO store_identity VALUES (lower(hex(randomblob(16))));
