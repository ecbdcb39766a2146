-- Requests that came with an Idempotency-Key, each once for the key of the API that sent it: what
-- was asked, by its hash, and what was answered, for a day.

CREATE TABLE idempotency_keys (
    owner text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL CHECK (octet_length(key) BETWEEN 1 AND 255),
    request text NOT NULL CHECK (request ~ '^[0-9a-f]{128}$'),
    -- Which of several tries has it: one whose process died is followed by another.
    attempt text NOT NULL,
    begun_at timestamptz NOT NULL,
    -- NULL: it is under way.
    status integer CHECK (status BETWEEN 200 AND 299),
    content_type text,
    body text,
    PRIMARY KEY (owner, key),
    CHECK (status IS NOT NULL OR (content_type IS NULL AND body IS NULL))
);
CREATE INDEX idempotency_keys_begun ON idempotency_keys (begun_at);
