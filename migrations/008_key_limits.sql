-- How often a key may ask, where it has a limit of its own: "100/15m", or "none".

ALTER TABLE api_keys ADD COLUMN rate_limit text
    CHECK (rate_limit ~ '^(none|[0-9]{1,9}/[0-9]{1,9}[smhd])$');
