-- What OpenMeter's clients say of customers and of subjects.

ALTER TABLE customers ADD COLUMN description text;
ALTER TABLE customers ADD COLUMN currency text CHECK (currency ~ '^[A-Z]{3}$');
ALTER TABLE customers ADD COLUMN billing_address json;
ALTER TABLE customers ADD COLUMN metadata json;

-- A customer's id is a subject of its own without having been listed as one.
ALTER TABLE customer_subjects ADD COLUMN is_implied boolean NOT NULL DEFAULT false;

-- What is known of a subject besides its usage. A subject needs no row here to be counted or paid.
CREATE TABLE subjects (
    key text COLLATE "C" PRIMARY KEY CHECK (octet_length(key) BETWEEN 1 AND 255),
    display_name text,
    stripe_customer_id text,
    metadata json,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);
