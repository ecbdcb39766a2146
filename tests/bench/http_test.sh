#!/bin/sh
# A tiny load over HTTP through the real programs: everything answered, usage right, nothing left
# behind, and bad options refused.
#   http_test.sh BIN_DIR
set -u
bench=$1/tally-bench
work=$(mktemp -d)
# A private PostgreSQL runs as another user when we are root.
chmod 755 "$work"
trap 'rm -rf "$work"' EXIT
unset DATABASE_URL TALLY_DATA TALLY_API TALLY_KEY

fail() {
    echo "http_test: $1" >&2
    cat "$work/out" "$work/err" >&2
    exit 1
}

http() {
    "$bench" http --dir "$work" "$@" > "$work/out" 2> "$work/err"
}

says() {
    grep -q "$1" "$work/out" || fail "the result lacks $1"
}

# The part of the result that is about one phase.
row() {
    tr '{' '\n' < "$work/out" | grep "^\"name\":\"$1\","
}

http --seconds 300 --requests 40 --batch 30 --connections 4 --queries 200 --stream 20000 \
    --duplicates 20 --subjects 7 --format json || fail "a load failed"
says '"usage_matches":true'
says '"stream_usage_matches":true'
row batch | grep -q '"requests":40,"events":1200,' || fail "not every batch was answered"
row single | grep -q '"requests":40,"events":40,' || fail "not every event was answered"
row query | grep -q '"loop":"open",.*"requests":40,"events":0,' || fail "not every query was"
for key in seconds requests_per_second events_per_second p50_us p99_us p999_us max_us \
    api_cpu_ns_each tallyd_cpu_ns_each stream_events_per_second; do
    says "\"$key\":[0-9]"
done

# In each row. Without the right to real-time threads nothing is known.
for name in batch single query; do
    row $name | grep -q '"machine_paused_percent":\(null\|[0-9]\)' || fail "$name lacks pauses"
    row $name | grep -q '"machine_pause_max_us":\(null\|[0-9]\)' || fail "$name lacks pauses"
done

http --seconds 300 --requests 10 --rate 1000 single || fail "an open loop failed"
says 'Usage: what was sent'
says '^Machine paused: [0-9u]'
grep -q '^batch ' "$work/out" && fail "a phase ran that was not named"

[ -z "$(ls "$work" | grep tally-bench)" ] || fail "a directory was left behind"

refuses() {
    http "$@"
    status=$?
    [ $status -eq 2 ] || fail "\"$*\" ended with $status instead of 2"
    [ -s "$work/err" ] || fail "\"$*\" gave no reason"
}
refuses no-such-phase
refuses --batch 0
refuses --format xml
refuses --to 127.0.0.1:1
http --to 127.0.0.1:1 --key k single && fail "nobody listens, and it did not fail"
exit 0
