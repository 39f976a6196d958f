# make up and what is around it, in a network of its own, from the directory of the module: up.sh DIR
set -eu
dir=$1
up() { DATA=$dir/$1/data PORT=$2 scripts/up >"$dir/said" 2>&1 || { cat "$dir/said"; exit 1; }; }
stop() { bin/backstay stop --data "$dir/$1/data"; }
said() { grep -q -- "$1" "$dir/said" || { echo "make up did not say $1:"; cat "$dir/said"; exit 1; }; }
clean() { DATA=$dir/one/data scripts/clean-data; }
refused() { if "$@" >"$dir/said" 2>&1; then cat "$dir/said"; exit 1; fi; }
trap 'stop one; stop two' EXIT

# The first makes what is missing, directories above the data too, and ends with what to type next.
up one 7480
said '^Backstay serves at http://127.0.0.1:7480; '
said '^  eval "$(bin/backstay env --data '
(
	eval "$(tail -n 2 "$dir/said" | head -n 1)"
	cf marketplace | grep -q '^postgres '
	[ "$(command -v cf)" = "$PWD/bin/cf" ]
)

# A second finds everything as it is.
up one 7480
said '^Backstay serves at http://127.0.0.1:7480 already'
said 'Service instance my-pg already exists'
said '^ *2 | TLSv1.3 '

# Another one keeps apart, though the first is down when it comes.
stop one
up two 7481
up one 7480
said '^ *3 | TLSv1.3 '
up two 7481
said '^ *2 | TLSv1.3 '

# One data directory has one Backstay.
refused env DATA="$dir/one/data" PORT=7482 scripts/up
said 'Backstay runs on .*/one/data, but not at port 7482. Type: make down'
refused env DATA="$dir/one/data" PORT=x scripts/up
said 'PORT=x is not a port'

# Deleting takes the word for it.
echo yes >"$dir/answer"
refused clean <"$dir/answer"
said 'This ends Backstay and deletes .*/one/data '
[ -e "$dir/one/data/seal.key" ]
up one 7480
said already
refused env DATA="$dir" scripts/clean-data
said 'is not the data directory of a Backstay'
echo delete | clean
[ ! -e "$dir/one/data" ]
clean </dev/null
up two 7481
said already
