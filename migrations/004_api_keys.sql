-- Keys of the HTTP API. The key itself is shown once, when it is made; kept is the SHA-512 of its
-- text, whose 160 random bits make a salt and a slow hash needless.

CREATE TABLE api_keys (
    id text COLLATE "C" PRIMARY KEY CHECK (id ~ '^[0-9a-f]{12}$'),
    name text NOT NULL CHECK (octet_length(name) BETWEEN 1 AND 255),
    hash text NOT NULL CHECK (hash ~ '^[0-9a-f]{128}$'),
    scopes text[] NOT NULL CHECK (
        cardinality(scopes) > 0 AND scopes <@ ARRAY['ingest', 'read', 'billing', 'admin']),
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz
);
