-- What DocumentDB's own functions and schemas are to let nobody do, or somebody. Run behind golden.sql, and again when the
-- extension was updated: what it makes anew, everybody may call.

-- DocumentDB looks at each query that is planned, with the rights of who asks.
GRANT USAGE ON SCHEMA documentdb_core, documentdb_api, documentdb_api_catalog, documentdb_api_internal TO front;

-- Users are made by the operator alone, and nobody sees who there is.
REVOKE EXECUTE ON FUNCTION documentdb_api.create_user, documentdb_api.drop_user, documentdb_api.update_user,
documentdb_api.users_info, documentdb_api.create_role, documentdb_api.drop_role, documentdb_api.update_role,
documentdb_api.roles_info, documentdb_api.kill_op FROM PUBLIC;

