#!/usr/bin/env bash
# psql with the first PostgreSQL of VCAP_SERVICES, its certificate verified:
#   backstay run my-app -- scripts/psql.sh -c 'SELECT 1'
# The password goes through the environment: a process list must not show it.
set -euo pipefail

: "${VCAP_SERVICES:?is not set; run this through: backstay run APP -- scripts/psql.sh}"

rest=$VCAP_SERVICES credentials=
until [[ $credentials == *'"uri":"postgres://'* ]]; do
	[[ $rest == *'"credentials":{'* ]] || { echo "No PostgreSQL service is bound to the app." >&2; exit 1; }
	rest=${rest#*'"credentials":{'}
	credentials=${rest%%\}*}
done

# field NAME prints a credential. No value but the certificate has anything escaped in it.
field() {
	local rest=${credentials#*"\"$1\":"}
	case $rest in
	\"*) rest=${rest#\"} && printf '%b' "${rest%%\"*}" ;;
	*) printf '%s' "${rest%%,*}" ;;
	esac
}

# What the caller has set for other servers decides nothing here: all that internal/clientenv names of libpq's
# variables goes, and so do options by which statements would find other tables.
unset "${!PGSSL@}" "${!PGGSS@}" "${!PGOAUTH@}" PGHOSTADDR PGPASSFILE PGREQUIREAUTH PGCHANNELBINDING PGSERVICE PGSERVICEFILE \
	PGSYSCONFDIR PGREALM PGREQUIRESSL PGREQUIREPEER PGKRBSRVNAME PGTARGETSESSIONATTRS PGLOADBALANCEHOSTS \
	PGMINPROTOCOLVERSION PGMAXPROTOCOLVERSION PGCLUSTER
shopt -s nocasematch
[[ ${PGOPTIONS-} != *@(search[_-]path|role|session[_-]authorization)* ]] || unset PGOPTIONS

authority=$(mktemp)
trap 'rm -f "$authority"' EXIT
field ca_certificate >"$authority"

PGHOST=$(field host) PGPORT=$(field port) PGDATABASE=$(field name) \
	PGUSER=$(field username) PGPASSWORD=$(field password) \
	PGPASSFILE=/dev/null/absent PGSERVICEFILE=/dev/null/absent PGSSLCERT=/dev/null/absent PGSSLCRL=/dev/null/absent \
	PGSSLMODE=verify-full PGSSLROOTCERT=$authority psql "$@"
