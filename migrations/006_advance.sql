-- Fees for single events at the time they come, and what their rounding leaves.

ALTER TABLE charges ADD COLUMN pay_in_advance boolean NOT NULL DEFAULT false;
ALTER TABLE charges ADD CHECK (NOT pay_in_advance OR (model NOT IN ('flat', 'volume')
    AND recurring IS NULL AND dimension_values IS NULL AND minimum IS NULL));

-- A chain for each subscription and charge, a link for each line of such fees, in the order in
-- which the invoices were made: each carries what the one before it left, and whatever a link
-- leaves is carried once.
CREATE TABLE charge_remainders (
    subscription_id text COLLATE "C" NOT NULL REFERENCES subscriptions (id),
    charge text COLLATE "C" NOT NULL,
    sequence bigint NOT NULL CHECK (sequence > 0),
    invoice_id text COLLATE "C" NOT NULL REFERENCES invoices (id),
    -- Of a minor unit: due and not billed when positive, billed and not yet due when negative.
    carried numeric NOT NULL CHECK (carried >= -0.5 AND carried < 0.5),
    remainder numeric NOT NULL CHECK (remainder >= -0.5 AND remainder < 0.5),
    before bigint GENERATED ALWAYS AS (nullif(sequence - 1, 0)) STORED,
    PRIMARY KEY (subscription_id, charge, sequence),
    UNIQUE (subscription_id, charge, sequence, remainder),
    UNIQUE (invoice_id, charge),
    FOREIGN KEY (subscription_id, charge, before, carried)
        REFERENCES charge_remainders (subscription_id, charge, sequence, remainder),
    CHECK (sequence > 1 OR carried = 0)
);
CREATE TRIGGER charge_remainders_immutable BEFORE UPDATE OR DELETE ON charge_remainders
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER charge_remainders_kept BEFORE TRUNCATE ON charge_remainders
    EXECUTE FUNCTION refuse_change();
