-- Every price model that a period's usage has a price by, what a charge owes at least and at most,
-- and prices by the values of a dimension.

ALTER TABLE charges DROP CONSTRAINT charges_model_check;
ALTER TABLE charges ADD CONSTRAINT charges_model_check CHECK (model IN ('standard', 'graduated',
    'graduated_percentage', 'volume', 'package', 'percentage', 'flat'));
-- Amounts of a whole period, in major units.
ALTER TABLE charges ADD COLUMN minimum numeric CHECK (minimum >= 0);
ALTER TABLE charges ADD COLUMN maximum numeric CHECK (maximum >= minimum AND maximum >= 0);
ALTER TABLE charges ADD CHECK (model <> 'flat' OR (minimum IS NULL AND maximum IS NULL));
-- The params of each value that has its own; everything else is priced by the charge's params.
ALTER TABLE charges ADD COLUMN dimension text COLLATE "C";
ALTER TABLE charges ADD COLUMN dimension_values json;
ALTER TABLE charges ADD CHECK ((dimension IS NULL) = (dimension_values IS NULL));
ALTER TABLE charges ADD CHECK (dimension IS NULL OR model <> 'flat');
