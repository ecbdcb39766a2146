-- A customer's subjects are shown in the order in which they were listed.

ALTER TABLE customer_subjects ADD COLUMN list_place integer NOT NULL DEFAULT 0;
