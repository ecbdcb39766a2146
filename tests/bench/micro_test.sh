#!/bin/sh
# A small ledger made and asked by `tally-bench micro`: right answers, all figures, nothing left
# behind, and bad options refused.
#   micro_test.sh BIN_DIR
set -u
bench=$1/tally-bench
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
    echo "micro_test: $1" >&2
    cat "$work/out" "$work/err" >&2
    exit 1
}

micro() {
    "$bench" micro --dir "$work" "$@" > "$work/out" 2> "$work/err"
}

micro --subjects 300 --cells 3000 --questions 20 --runs 2 --format json usage || fail "usage failed"
for figure in '"usage_month_subjects":300,' '"usage_days_cells":2700,'; do
    grep -q "$figure" "$work/out" || fail "the result lacks $figure"
done
for key in usage_cells_on_disk usage_subject_by_day_p50_us usage_subject_by_day_p99_us \
    usage_month_totals_seconds usage_days_cells_per_second; do
    grep -q "\"$key\":[0-9.]" "$work/out" || fail "the result lacks $key"
done

micro --identities 70000 --questions 3 --format json dedup || fail "dedup failed"
grep -q '"dedup_identities":131072,' "$work/out" || fail "identities come in whole groups"
grep -q '"dedup_open_seconds":[0-9.]' "$work/out" || fail "the result lacks dedup_open_seconds"

micro --subjects 300 --questions 20 --format json quota || fail "quota failed"
grep -q '"quota_subjects":300,' "$work/out" || fail "the result lacks quota_subjects"
for key in quota_totals_seconds quota_in_memory_p50_us quota_in_memory_p99_us \
    quota_in_cells_p50_us quota_in_cells_p99_us quota_at_rate_p50_us \
    quota_at_rate_p99_us quota_at_full_load_p50_us quota_at_full_load_p99_us; do
    grep -q "\"$key\":[0-9.]" "$work/out" || fail "the result lacks $key"
done

micro --subjects 30 --events 20000 --format json writer || fail "writer failed"
for key in front judge store fold; do
    grep -q "\"writer_${key}_cpu_ns\":[0-9.]" "$work/out" || fail "the result lacks $key"
done

micro --prices 2000 --format json price || fail "price failed"
for key in price_standard price_graduated price_volume price_package; do
    grep -q "\"$key\":[0-9.]" "$work/out" || fail "the result lacks $key"
done

micro --events 20000 --format json limits || fail "limits failed"
for key in receive_events_per_second memory_events_per_second lmdb_bytes_per_second \
    disk_bytes_per_second disk_sync_p50_us touch_bytes_per_second; do
    grep -q "\"limits_$key\":[1-9]" "$work/out" || fail "the result lacks $key"
done

micro --connections 30 --seconds 1 --format json idle || fail "idle failed"
grep -q '"idle_connections":30,' "$work/out" || fail "the result lacks idle_connections"
for key in cpu_percent wakeups_per_second crowded_cpu_percent crowded_wakeups_per_second; do
    grep -q "\"idle_$key\":[0-9]" "$work/out" || fail "the result lacks $key"
done

# Without the right to real-time threads nothing is known.
micro --seconds 1 --format json pauses || fail "pauses failed"
for key in machine_paused_percent machine_pause_max_us; do
    grep -q "\"$key\":\(null\|[0-9]\)" "$work/out" || fail "the result lacks $key"
done

# Fewer cells than subjects, and a table.
micro --subjects 50 --cells 20 --questions 5 --runs 1 usage || fail "few cells failed"
grep -q 'usage_month_subjects  *20 ' "$work/out" || fail "a table was expected"

[ -z "$(ls "$work" | grep tally-bench)" ] || fail "a directory was left behind"

refuses() {
    expected=$1
    shift
    micro "$@"
    status=$?
    [ $status -eq "$expected" ] || fail "\"$*\" ended with $status instead of $expected"
    [ -s "$work/err" ] || fail "\"$*\" gave no reason"
}
refuses 2 no-such-part
refuses 2 --cells none
refuses 2 --format xml
refuses 1 --dir /dev/null
exit 0
