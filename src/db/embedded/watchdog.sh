# Watches one server; see watchdog.rs. Comes with the reading end of `users` as its standard input.
# usage: folder, keep|remove, process of a running server or nothing, command line of a server to start
folder=$1 afterwards=$2 server=$3
shift 3
exec 3<&0 </dev/null
# Whoever stops a service may tell all of its processes; the server, which is told too, still is to be seen through.
trap '' TERM

if [ -z "$server" ]; then
    "$@" 3<&- &
    server=$!
    ours=yes
fi

# Ends when no process holds the writing end of `users` any more. Who joins after that, but before
# `closing` exists, has written a line before looking for it, and is found by the second reading.
last_user_gone() {
    while :; do
        while read -r _ <&3; do :; done
        # Where that cannot be made, the shell would end here with the bare `:`.
        command : >"$folder/closing" || :
        read -r _ <&3 || return 0
        rm -f "$folder/closing"
    done
}

stop() {
    tries=0
    while kill -0 "$server" 2>/dev/null; do
        # Fast; after about half a minute immediate, from which Postgres recovers at its next start.
        if [ "$tries" -lt 300 ]; then kill -INT "$server"; else kill -QUIT "$server"; fi 2>/dev/null
        tries=$((tries + 1))
        sleep 0.1 2>/dev/null || sleep 1
    done
}

(
    last_user_gone
    stop
) &
watching=$!

if [ "$ours" = yes ]; then
    wait "$server"
else
    while kill -0 "$server" 2>/dev/null; do sleep 1; done
fi
kill -KILL "$watching" 2>/dev/null
if [ "$afterwards" = remove ]; then rm -rf "$folder"; fi
