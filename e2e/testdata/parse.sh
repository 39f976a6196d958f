# Parse Server on the first MongoDB of VCAP_SERVICES, and what its clients ask of it: parse.sh serve|await|post|get|change|remove|end
server=http://127.0.0.1:$PORT/parse
value() { printf '%s' "$VCAP_SERVICES" | sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }
say() { curl -sg -H 'X-Parse-Application-Id: app' -H "X-Parse-Master-Key: $PASSWORD" -H 'Content-Type: application/json' "$@"; }
ask() { say -X "$1" -d "$2" "$server/$3"; } # METHOD JSON PATH
get() { # PATH NAME=VALUE...
	path=$1
	shift
	for word; do set -- "$@" --data-urlencode "$word"; shift; done
	say -G "$@" "$server/$path"
}
ada() { get classes/Score 'where={"name":"ada"}' | sed -n 's/.*"objectId":"\([^"]*\)".*/\1/p'; }
what=$1
shift
case $what in
serve)
	echo $$ >parse.pid
	printf '%b' "$(value ca_certificate)" >authority.pem
	export NODE_EXTRA_CA_CERTS=$PWD/authority.pem PARSE_SERVER_DATABASE_URI="$(value uri | sed 's/\\u0026/\&/g')"
	# Indexes without regard to case are what FerretDB does not have.
	export PARSE_SERVER_DATABASE_OPTIONS='{"createIndexUserUsernameCaseInsensitive": false, "createIndexUserEmailCaseInsensitive": false}'
	exec "$MONGODB_CLIENTS/node/node_modules/.bin/parse-server" --appId app --masterKey "$PASSWORD" --serverURL "$server" \
		--host 127.0.0.1 --port "$PORT" --mountPath /parse --logsFolder "$PWD/logs"
	;;
await) exec timeout 180 sh -c 'until curl -sf "$0/health" | grep -q ok; do sleep 0.2; done' "$server" ;;
post) ask POST "$2" "$1" ;;
get) get "$@" ;;
change) ask PUT "$1" "classes/Score/$(ada)" ;;
remove) ask DELETE '{}' "classes/Score/$(ada)" ;;
end) kill "$(cat parse.pid)" ;;
esac
