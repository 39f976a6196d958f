-- How often each user has been changed, for clients that change only what they have seen.
ALTER TABLE uaa.users ADD COLUMN version int NOT NULL DEFAULT 0;
UPDATE uaa.users SET version = password_version - 1 WHERE password_version > 0; -- as clients were told so far
