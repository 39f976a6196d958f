# Asks the databases at the app's jdbcuri with the drivers of Debian: as it is, and without whom to believe.
address() {
	"$CLIENTS/python/bin/python" -c 'import json, os, sys
print(json.loads(os.environ["VCAP_SERVICES"])[sys.argv[1]][0]["credentials"]["jdbcuri"])' "$1"
}
ask() { java -cp /usr/share/java/postgresql.jar:/usr/share/java/mariadb-java-client.jar "$TESTDATA/Drivers.java" "$@"; }
postgres=$(address postgres) mysql=$(address mysql)
ask "$postgres" "$mysql&useSSL=true"
unset JAVA_TOOL_OPTIONS
ask "${postgres%%&sslrootcert=*}" "$mysql&useSSL=true"
