ALTER TABLE uaa.users ADD COLUMN global_role text NOT NULL DEFAULT '' CHECK (global_role IN ('', 'admin', 'admin_read_only', 'global_auditor'));
UPDATE uaa.users SET global_role = 'admin' WHERE admin;
ALTER TABLE uaa.users DROP COLUMN admin;
