# A client of MySQL's with the first credentials of VCAP_SERVICES, in a directory that it can write to:
#   sh mysql.sh mysql -e 'SELECT 1'
# The password goes through the environment.
program=$1
shift
value() { printf '%s' "$VCAP_SERVICES" | sed -n "s/.*\"$1\":\"\{0,1\}\([^,\"}]*\).*/\1/p"; }
printf '%b' "$(printf '%s' "$VCAP_SERVICES" | sed -n 's/.*"ca_certificate":"\([^"]*\)".*/\1/p')" >authority.pem
MYSQL_PWD=$(value password) exec "$program" --ssl-ca=authority.pem --ssl-verify-server-cert \
	-h "$(value host)" -P "$(value port)" -u "$(value username)" main "$@"
