-- Every price model that a period's usage has a price by, and what a charge owes at least and at
-- most.

ALTER TABLE charges DROP CONSTRAINT charges_model_check;
ALTER TABLE charges ADD CONSTRAINT charges_model_check CHECK (model IN ('standard', 'graduated',
    'graduated_percentage', 'volume', 'package', 'percentage', 'flat'));
-- Amounts of a whole period, in major units.
ALTER TABLE charges ADD COLUMN minimum numeric CHECK (minimum >= 0);
ALTER TABLE charges ADD COLUMN maximum numeric CHECK (maximum >= minimum AND maximum >= 0);
ALTER TABLE charges ADD CHECK (model <> 'flat' OR (minimum IS NULL AND maximum IS NULL));
