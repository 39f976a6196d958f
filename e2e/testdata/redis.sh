# redis-cli with the first credentials of VCAP_SERVICES, in a directory that it can write to:
#   sh redis.sh PING
# The password goes through the environment.
value() { printf '%s' "$VCAP_SERVICES" | sed -n "s/.*\"$1\":\"\{0,1\}\([^,\"}]*\).*/\1/p"; }
printf '%b' "$(printf '%s' "$VCAP_SERVICES" | sed -n 's/.*"ca_certificate":"\([^"]*\)".*/\1/p')" >authority.pem
REDISCLI_AUTH=$(value password) exec redis-cli --tls --cacert authority.pem \
	-h "$(value host)" -p "$(value port)" --user "$(value username)" "$@"
