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

authority=$(mktemp)
trap 'rm -f "$authority"' EXIT
field ca_certificate >"$authority"

PGHOST=$(field host) PGPORT=$(field port) PGDATABASE=$(field name) \
	PGUSER=$(field username) PGPASSWORD=$(field password) \
	PGSSLMODE=verify-full PGSSLROOTCERT=$authority psql "$@"
