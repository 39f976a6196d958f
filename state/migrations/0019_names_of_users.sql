-- What clients keep of a user beside the username, and when the password was last changed.
ALTER TABLE uaa.users
    ADD COLUMN given_name  text NOT NULL DEFAULT '',
    ADD COLUMN family_name text NOT NULL DEFAULT '',
    ADD COLUMN email       text NOT NULL DEFAULT '', -- '': the username serves
    ADD COLUMN password_changed_at timestamptz NOT NULL DEFAULT now();
UPDATE uaa.users SET password_changed_at = created_at WHERE password_version <= 1;

-- The username as it is compared: in small letters of all alphabets, which not every database knows of.
ALTER TABLE uaa.users ADD COLUMN folded_name text;
UPDATE uaa.users SET folded_name = lower(username); -- so far they are of a to z
DROP INDEX uaa.user_name;
CREATE UNIQUE INDEX user_name ON uaa.users (folded_name);
ALTER TABLE uaa.users ADD CONSTRAINT folded_name CHECK ((username IS NULL) = (folded_name IS NULL));
