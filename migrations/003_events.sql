-- Charges of single events and of levels that last, a plan's minimum, and lines that stay what they
-- are.

ALTER TABLE charges DROP CONSTRAINT charges_model_check;
ALTER TABLE charges ADD CONSTRAINT charges_model_check CHECK (model IN ('standard', 'graduated',
    'graduated_percentage', 'volume', 'package', 'percentage', 'dynamic', 'custom_fold', 'flat'));
-- A dimension is either priced by its values or the key of custom_fold's tiers. The check before
-- was given its name by PostgreSQL.
DO $$
DECLARE old text;
BEGIN
    SELECT conname INTO STRICT old FROM pg_constraint WHERE conrelid = 'charges'::regclass
        AND contype = 'c' AND pg_get_constraintdef(oid) LIKE '%dimension_values IS NULL%';
    EXECUTE format('ALTER TABLE charges DROP CONSTRAINT %I', old);
END
$$;
ALTER TABLE charges ADD CONSTRAINT charges_dimension_check CHECK (
    CASE WHEN model = 'custom_fold' THEN dimension IS NOT NULL AND dimension_values IS NULL
    ELSE (dimension IS NULL) = (dimension_values IS NULL) END);
-- A level that lasts: by the time of each, or by the days of each change.
ALTER TABLE charges ADD COLUMN recurring text CHECK (recurring IN ('weighted', 'prorated'));
-- Where an event says its own price.
ALTER TABLE charges ADD COLUMN price_property text;
ALTER TABLE charges ADD CHECK ((model = 'dynamic') = (price_property IS NOT NULL));

-- What fee and charges of a month come to at least, in major units; the line says what is missing.
ALTER TABLE plan_versions ADD COLUMN minimum numeric CHECK (minimum >= 0);
ALTER TABLE plan_versions ADD CHECK (minimum IS NULL OR annual_price IS NULL);
ALTER TABLE invoice_lines DROP CONSTRAINT invoice_lines_kind_check;
ALTER TABLE invoice_lines ADD CONSTRAINT invoice_lines_kind_check
    CHECK (kind IN ('fee', 'usage', 'flat', 'minimum'));
DO $$
DECLARE old text;
BEGIN
    SELECT conname INTO STRICT old FROM pg_constraint WHERE conrelid = 'invoice_lines'::regclass
        AND contype = 'c' AND pg_get_constraintdef(oid) LIKE '%charge IS NULL%';
    EXECUTE format('ALTER TABLE invoice_lines DROP CONSTRAINT %I', old);
END
$$;
ALTER TABLE invoice_lines ADD CONSTRAINT invoice_lines_charge_check
    CHECK ((kind IN ('fee', 'minimum')) = (charge IS NULL));

-- Lines come with their invoice's draft, or with the record of a period in which nothing was due,
-- which has none.
CREATE FUNCTION refuse_late_line() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM added a JOIN invoices i ON i.id = a.invoice_id
               WHERE i.status <> 'draft') THEN
        RAISE EXCEPTION 'INSERT into invoice_lines is refused: the invoice is final'
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER invoice_lines_of_drafts AFTER INSERT ON invoice_lines
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION refuse_late_line();
