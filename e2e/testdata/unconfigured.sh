# backstay serve without a flag, by a user of no rights, in a network of its own: unconfigured.sh DIR
set -eu
cd "$1"
export CF_HOME="$1/cf"
mkdir home cf
user=$(id -u) become=
if [ "$user" = 0 ]; then
	user=nobody become='setpriv --reuid nobody --regid nogroup --clear-groups'
	chown nobody home
fi
mine() { env -u XDG_DATA_HOME HOME="$PWD/home" $become "$@"; }
refused() { if "$@"; then exit 1; fi; }
serve() {
	mine backstay serve >"$1" 2>>log &
	job=$!
	until grep -q ' password: ' "$1"; do
		kill -0 $job || exit 1
		sleep 0.02
	done
}
end() {
	code=$?
	mine backstay stop
	[ $code = 0 ] || cat log
	exit $code
}
trap end EXIT

# The first time it says where it is, how to log in, and the password.
serve first
grep '^Backstay serves http://127.0.0.1:7480$' first
grep '^  log in:   cf login -a http://127.0.0.1:7480 -u admin$' first
password=$(sed -n 's/^  password: \([A-Z0-9]*\)   (shown this once)$/\1/p' first)
[ ${#password} -ge 16 ]
cf login -a http://127.0.0.1:7480 -u admin -p "$password"
cf create-org own
cf create-space dev -o own
cf target -o own -s dev
cf create-service postgres Free my-pg --wait

# All is on loopback, and below a directory of the user's.
cat /proc/net/tcp /proc/net/tcp6 | awk '$4 == "0A" && ++n && $2 !~ /^0100007F:/ { print; far = 1 } END { exit far || n < 2 }'
[ -d home/.local/share/backstay/instances/"$(cf service my-pg --guid)" ]
[ -z "$(find home -mindepth 1 ! -user "$user")" ]

# After that it does not say the password, and keeps it nowhere.
kill "$(cat home/.local/share/backstay/serve.pid)"
wait $job
serve second
grep '^  password: as shown at the first start (backstay admin-password makes another)$' second
refused grep "$password" second
[ -z "$(grep -rl "$password" home log)" ]
cf login -u admin -p "$password" -o own -s dev
cf service my-pg | grep "status is 'available'"

# Whoever has lost it makes another.
another=$(mine backstay admin-password)
refused cf auth admin "$password"
cf auth admin "$another"
