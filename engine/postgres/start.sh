logs=$1 pipe=$2/log slot=$3 files=$4 limit=$5
shift 5
umask 077
rm -f "$pipe"
mkfifo "$pipe" || exit
(
	exec <"$pipe" >/dev/null 2>&1
	while :; do
		file=$logs/postgres-$slot.log
		size=$(stat -c %s "$file") || size=0
		if [ "$size" -ge "$limit" ]; then
			slot=$(((slot + 1) % files))
			true >"$logs/postgres-$slot.log"
		elif ! dd of="$file" bs=64k count=$((limit - size)) iflag=count_bytes oflag=append conv=notrunc; then
			sleep 0.1 # the disk is full, and what dd had read is lost: the server must not wait for us
		elif [ "$(stat -c %s "$file")" -lt "$limit" ]; then
			exit # the end of the pipe
		fi
	done
) &
exec "$@" >"$pipe" 2>&1
