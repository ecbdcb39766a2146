#!/bin/sh
# A tiny load through the real tallyd: everything acked, usage right, nothing left behind, and bad
# options refused.
#   load_test.sh BIN_DIR
set -u
bench=$1/tally-bench
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
    echo "load_test: $1" >&2
    cat "$work/out" "$work/err" >&2
    exit 1
}

load() {
    "$bench" load --dir "$work" "$@" > "$work/out" 2> "$work/err"
}

says() {
    grep -q "$1" "$work/out" || fail "the result lacks $1"
}

load --events 20000 --format json || fail "a closed loop failed"
says '"events_acked":20000,'
says '"usage_matches":true'
says '"rejected":0,'
for key in seconds events_acked_per_second ack_p50_us ack_p99_us ack_p999_us server_cpu_seconds \
    server_anon_bytes; do
    says "\"$key\":[0-9.]"
done
# Without the right to real-time threads nothing is known.
for key in machine_paused_percent machine_pause_max_us; do
    says "\"$key\":\(null\|[0-9]\)"
done

load --events 6000 --rate 100000 --chunk 300 --threads 2 --connections 3 --shards 3 \
    --event-size 400 --duplicates 20 --subjects 7 --format json || fail "an open loop failed"
says '"events_acked":6000,'
says '"usage_matches":true'
says '"loop":"open"'

load --events 1000 --chunk 1 --in-flight 50 || fail "chunks of one event failed"
says '  machine paused  *[0-9u]'
says 'usage  *matches'

load --events 3000 --unix --zipf 0.99 --idle-connections 30 --format json ||
    fail "a unix socket failed"
says '"usage_matches":true'
says '"transport":"unix"'
says '"zipf":0.99,'
says '"idle_connections":30,'

load --events 4000 --udp --hot-subject 50 --format json || fail "UDP failed"
says '"events_acked":4000,'
says '"usage_matches":true'
says '"chunk":100,'
says '"datagrams_resent":[0-9]'
says '"hot_subject_percent":50,'

load --events 4000 --slow-clients 6 --sync-delay 3 --restart --format json ||
    fail "slow clients and a slow disk failed"
says '"usage_matches":true'
says '"slow_clients":6,'
says '"sync_delay_ms":3,'

load --events 3000 --prefill 70000 --restart --format json || fail "a prefilled window failed"
says '"usage_matches":true'
says '"prefill":70000,'
says '"server_restart_seconds":[0-9]'

load --events 40 --event-size 65536 || fail "events of 64 KiB failed"
says 'usage  *matches'

[ -z "$(ls "$work" | grep tally-bench)" ] || fail "a directory was left behind"

refuses() {
    expected=$1
    shift
    load "$@"
    status=$?
    [ $status -eq "$expected" ] || fail "\"$*\" ended with $status instead of $expected"
    [ -s "$work/err" ] || fail "\"$*\" gave no reason"
}
refuses 2 --events many
refuses 2 --no-such-option
refuses 2 --format xml
refuses 2 --threads 3 --connections 2
refuses 2 --udp --unix
refuses 2 --udp --idle-connections 3
refuses 2 --udp --slow-clients 3
refuses 2 --sync-delay 5 --to 127.0.0.1:1
refuses 2 --zipf steep
refuses 2 --prefill 5 --to 127.0.0.1:1
refuses 1 --events 1000000000000
refuses 1 --events 10 --udp --chunk 1000
refuses 1 --events 10 --event-size 60000 --chunk 100000
refuses 1 --to 127.0.0.1:1
exit 0
