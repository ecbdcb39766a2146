-- Customers, the catalogue, subscriptions and invoices.
--
-- Names are those of the integration guide where DESIGN does not correct them: a plan is the
-- guide's tier; money is a bigint of minor units with its currency beside it; unit prices and
-- quantities are numeric; every time is timestamptz (UTC). Ids are compared byte by byte (COLLATE
-- "C"), so that the order of a run does not depend on the cluster's locale. Rows of the catalogue
-- and finalized invoices never change: triggers below hold that.

CREATE TABLE customers (
    id text COLLATE "C" PRIMARY KEY CHECK (octet_length(id) BETWEEN 1 AND 255),
    email text NOT NULL UNIQUE CHECK (position('@' IN email) > 1),
    company_name text,
    stripe_customer_id text UNIQUE,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);

-- Whose usage a customer pays. A subject has one payer.
CREATE TABLE customer_subjects (
    subject text COLLATE "C" PRIMARY KEY CHECK (octet_length(subject) BETWEEN 1 AND 255),
    customer_id text COLLATE "C" NOT NULL REFERENCES customers (id),
    created_at timestamptz NOT NULL
);
CREATE INDEX customer_subjects_customer ON customer_subjects (customer_id);

-- Each `tally catalog apply` that changed something is a version. What did not change keeps its
-- rows of an earlier version: the catalogue now is the row with the greatest version of each key.
CREATE TABLE catalogue_versions (
    version integer PRIMARY KEY CHECK (version > 0),
    applied_at timestamptz NOT NULL
);

CREATE TABLE catalogue_meters (
    key text COLLATE "C" NOT NULL,
    catalogue_version integer NOT NULL REFERENCES catalogue_versions (version),
    definition json NOT NULL,
    PRIMARY KEY (key, catalogue_version)
);

CREATE TABLE plans (
    key text COLLATE "C" PRIMARY KEY CHECK (octet_length(key) BETWEEN 1 AND 64),
    kind text NOT NULL CHECK (kind IN ('tier', 'addon')),
    UNIQUE (key, kind)
);

CREATE TABLE plan_versions (
    plan text COLLATE "C" NOT NULL REFERENCES plans (key),
    catalogue_version integer NOT NULL REFERENCES catalogue_versions (version),
    name text NOT NULL,
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    monthly_price numeric CHECK (monthly_price >= 0),
    annual_price numeric CHECK (annual_price >= 0),
    PRIMARY KEY (plan, catalogue_version)
);

CREATE TABLE charges (
    plan text COLLATE "C" NOT NULL,
    catalogue_version integer NOT NULL,
    position integer NOT NULL CHECK (position >= 0),
    key text COLLATE "C" NOT NULL,
    name text NOT NULL,
    meter text COLLATE "C",
    model text NOT NULL CHECK (model IN ('standard', 'graduated', 'flat')),
    params json NOT NULL,
    free_units numeric CHECK (free_units >= 0),
    PRIMARY KEY (plan, catalogue_version, key),
    UNIQUE (plan, catalogue_version, position),
    FOREIGN KEY (plan, catalogue_version) REFERENCES plan_versions (plan, catalogue_version),
    CHECK ((model = 'flat') = (meter IS NULL))
);

CREATE TABLE subscriptions (
    id text COLLATE "C" PRIMARY KEY,
    customer_id text COLLATE "C" NOT NULL REFERENCES customers (id),
    plan text COLLATE "C" NOT NULL,
    plan_kind text NOT NULL,
    billing_cycle text NOT NULL CHECK (billing_cycle IN ('monthly', 'annual')),
    status text NOT NULL DEFAULT 'active'
        CHECK (status IN ('trial', 'active', 'past_due', 'suspended', 'canceled')),
    stripe_subscription_id text UNIQUE,
    -- The monthly equivalent (annual / 12), for reports only; an invoice bills the true price of
    -- its period.
    monthly_price_minor bigint NOT NULL CHECK (monthly_price_minor >= 0),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    starts_at timestamptz NOT NULL,
    ends_at timestamptz CHECK (ends_at > starts_at),
    created_at timestamptz NOT NULL,
    canceled_at timestamptz,
    FOREIGN KEY (plan, plan_kind) REFERENCES plans (key, kind),
    CHECK (starts_at = date_trunc('day', starts_at AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'),
    CHECK (ends_at = date_trunc('day', ends_at AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'),
    CHECK (status <> 'canceled' OR ends_at IS NOT NULL)
);
CREATE INDEX subscriptions_customer ON subscriptions (customer_id);
-- One live tier subscription per customer. Those with an end are compared by their ranges when they
-- are made, under a lock on the customer's row.
CREATE UNIQUE INDEX subscriptions_one_live_tier ON subscriptions (customer_id)
    WHERE plan_kind = 'tier' AND ends_at IS NULL;

CREATE TABLE invoices (
    id text COLLATE "C" PRIMARY KEY,
    -- Gapless, given when the invoice is finalized. The record of a period in which nothing was due
    -- has no lines and no number.
    number text UNIQUE,
    customer_id text COLLATE "C" NOT NULL REFERENCES customers (id),
    subscription_id text COLLATE "C" NOT NULL REFERENCES subscriptions (id),
    kind text NOT NULL CHECK (kind IN ('subscription', 'usage')),
    period_start timestamptz NOT NULL,
    period_end timestamptz NOT NULL,
    generation integer NOT NULL DEFAULT 1 CHECK (generation > 0),
    plan text COLLATE "C" NOT NULL,
    catalogue_version integer NOT NULL,
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    total_minor bigint NOT NULL,
    lines_count integer NOT NULL CHECK (lines_count >= 0),
    status text NOT NULL
        CHECK (status IN ('draft', 'finalized', 'paid', 'past_due', 'uncollectible', 'void')),
    stripe_invoice_id text UNIQUE,
    -- Everything the lines were computed from, as text; `tally-billing explain` recomputes them
    -- from it.
    input json NOT NULL,
    created_at timestamptz NOT NULL,
    finalized_at timestamptz,
    paid_at timestamptz,
    UNIQUE (customer_id, subscription_id, kind, period_start, period_end, generation),
    FOREIGN KEY (plan, catalogue_version) REFERENCES plan_versions (plan, catalogue_version),
    CHECK (period_start < period_end),
    CHECK ((status = 'draft') = (finalized_at IS NULL)),
    CHECK ((number IS NULL) = (status = 'draft' OR lines_count = 0)),
    CHECK (lines_count > 0 OR total_minor = 0)
);
CREATE INDEX invoices_subscription ON invoices (subscription_id, period_end);
CREATE INDEX invoices_draft ON invoices (id) WHERE status = 'draft';

CREATE TABLE invoice_lines (
    invoice_id text COLLATE "C" NOT NULL REFERENCES invoices (id),
    position integer NOT NULL CHECK (position >= 0),
    kind text NOT NULL CHECK (kind IN ('fee', 'usage', 'flat')),
    charge text COLLATE "C",
    meter text COLLATE "C",
    description text NOT NULL,
    quantity numeric NOT NULL CHECK (quantity >= 0),
    -- Net negative usage is billed as zero; this is what was left out (zero or negative).
    clamped_quantity numeric NOT NULL DEFAULT 0 CHECK (clamped_quantity <= 0),
    free_units numeric NOT NULL DEFAULT 0 CHECK (free_units >= 0),
    -- Before rounding, in major units; at most 20 decimals when it does not terminate.
    exact_amount numeric NOT NULL,
    amount_minor bigint NOT NULL,
    PRIMARY KEY (invoice_id, position),
    CHECK ((kind = 'fee') = (charge IS NULL)),
    CHECK ((kind = 'usage') = (meter IS NOT NULL))
);

-- One row per distinct command line; a run that was killed and started again with the same one
-- continues its row.
CREATE TABLE billing_runs (
    id text COLLATE "C" PRIMARY KEY,
    as_of timestamptz NOT NULL,
    grace_seconds bigint NOT NULL CHECK (grace_seconds >= 0),
    period text CHECK (period ~ '^[0-9]{4}-(0[1-9]|1[0-2])$'),
    customer_id text COLLATE "C",
    started_at timestamptz NOT NULL,
    finished_at timestamptz
);

-- The next invoice number. Its row is locked while numbers are given, so that they have no gaps.
CREATE TABLE invoice_numbers (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    next_number bigint NOT NULL CHECK (next_number > 0)
);
INSERT INTO invoice_numbers (next_number) VALUES (1);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of % is refused: its rows never change', lower(TG_OP), TG_TABLE_NAME
        USING ERRCODE = 'check_violation';
END
$$;

CREATE TRIGGER catalogue_versions_immutable BEFORE UPDATE OR DELETE ON catalogue_versions
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER catalogue_meters_immutable BEFORE UPDATE OR DELETE ON catalogue_meters
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER plan_versions_immutable BEFORE UPDATE OR DELETE ON plan_versions
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER charges_immutable BEFORE UPDATE OR DELETE ON charges
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER invoice_lines_immutable BEFORE UPDATE OR DELETE ON invoice_lines
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER invoices_kept BEFORE DELETE ON invoices
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
-- What was finalized keeps its amounts and its source; only its state, number and payment move.
CREATE TRIGGER invoices_immutable BEFORE UPDATE ON invoices
    FOR EACH ROW
    WHEN (OLD.id <> NEW.id OR OLD.plan <> NEW.plan
        OR OLD.catalogue_version <> NEW.catalogue_version OR OLD.created_at <> NEW.created_at
        OR (OLD.finalized_at IS NOT NULL AND OLD.finalized_at IS DISTINCT FROM NEW.finalized_at)
        OR OLD.total_minor <> NEW.total_minor OR OLD.currency <> NEW.currency
        OR OLD.lines_count <> NEW.lines_count OR OLD.input::text <> NEW.input::text
        OR OLD.customer_id <> NEW.customer_id OR OLD.subscription_id <> NEW.subscription_id
        OR OLD.period_start <> NEW.period_start OR OLD.period_end <> NEW.period_end
        OR OLD.kind <> NEW.kind OR OLD.generation <> NEW.generation
        OR (OLD.number IS NOT NULL AND OLD.number IS DISTINCT FROM NEW.number)
        OR (OLD.status <> 'draft' AND NEW.status = 'draft'))
    EXECUTE FUNCTION refuse_change();

-- Emptying a table is a deletion that asks no row.
CREATE TRIGGER catalogue_meters_kept BEFORE TRUNCATE ON catalogue_meters
    EXECUTE FUNCTION refuse_change();
CREATE TRIGGER charges_kept BEFORE TRUNCATE ON charges EXECUTE FUNCTION refuse_change();
CREATE TRIGGER invoice_lines_kept BEFORE TRUNCATE ON invoice_lines EXECUTE FUNCTION refuse_change();
