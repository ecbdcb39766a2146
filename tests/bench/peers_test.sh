#!/bin/sh
# The same small load to tally and to what else is installed here: everybody holds in the end what
# it was given, nothing is left behind, and what is missing is named.
#   peers_test.sh BIN_DIR
set -u
bench=$1/tally-bench
work=$(mktemp -d)
# PostgreSQL runs as another user when we are root.
chmod 711 "$work"
trap 'rm -rf "$work"' EXIT

fail() {
    echo "peers_test: $1" >&2
    cat "$work/out" "$work/err" >&2
    exit 1
}

peers() {
    "$bench" peers --dir "$work" --events 2000 --seconds 600 --chunk 250 --connections 2 \
        --duplicates 20 --subjects 30 "$@" > "$work/out" 2> "$work/err"
}

# The part of the result that is about one peer.
row() {
    tr '{' '\n' < "$work/out" | grep "^\"name\":\"$1\","
}

peers --format json || fail "peers failed"
for name in tally postgres-copy postgres-insert redis-stream redis-counted nats-jetstream; do
    case $(row $name) in
    *'"missing_package":'*) echo "peers_test: $name is not installed, and not tested" ;;
    *'"events_acked":2000,'*'"matches":true'*) ;;
    *) fail "$name does not hold what it was given" ;;
    esac
done
row tally | grep -q '"tally_is_times_faster":1.00,' || fail "tally is not as fast as itself"

# Not found: named, with what to install, and no failure.
(PATH=/nonexistent && peers redis-stream) || fail "a missing program is a failure"
grep -q 'redis-stream  *not installed: apt install redis-server' "$work/out" ||
    fail "what is missing is not named"

[ -z "$(ls "$work" | grep tally-bench)" ] || fail "a directory was left behind"

refuses() {
    peers "$@"
    status=$?
    [ $status -eq 2 ] || fail "\"$*\" ended with $status instead of 2"
    [ -s "$work/err" ] || fail "\"$*\" gave no reason"
}
refuses no-such-peer
refuses --connections 0
refuses --format xml
exit 0
