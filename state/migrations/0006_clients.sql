-- A client is a program that acts for itself: a user without a name, whose id is what it calls itself.
ALTER TABLE uaa.users ALTER COLUMN username DROP NOT NULL, ALTER COLUMN origin DROP NOT NULL;
ALTER TABLE uaa.users ADD CONSTRAINT client_has_no_origin CHECK ((username IS NULL) = (origin IS NULL));
CREATE INDEX users_by_global_role ON uaa.users (global_role) WHERE global_role <> '';

-- Roles end with whom they were given to, or a client made anew under an old name would inherit them.
DELETE FROM market.roles r WHERE NOT EXISTS (SELECT FROM uaa.users u WHERE u.id = r.user_id);
ALTER TABLE market.roles ADD CONSTRAINT role_user FOREIGN KEY (user_id) REFERENCES uaa.users ON DELETE CASCADE;
