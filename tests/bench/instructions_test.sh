#!/bin/sh
# How many instructions an event takes on its way from a frame to its cells, in the release build,
# which tools/test makes first. Of two runs of different length the difference is counted, so
# neither the start nor the end is in it. Beyond the bound the hot path does more than it did: find
# out what (callgrind says where), or raise the bound and say why in bench/README.md.
#   instructions_test.sh BIN_DIR
set -u
bench=$1/tally-bench
# Three hundredths above what was counted when it was last set; what the secret of a ledger and the
# C library bring into it is less than one.
bound=2350

skip() {
    echo "instructions_test: skipped: $1"
    exit 77
}
[ -x "$bench" ] || skip "there is no release build: cmake --preset release"
command -v valgrind > /dev/null || skip "there is no valgrind"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Instructions of the whole run with so many events.
count() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null \
        "$bench" micro --dir "$work" --subjects 1000 --events "$1" writer \
        > "$work/out" 2> "$work/err" || { cat "$work/out" "$work/err" >&2; exit 1; }
    sed -n 's/.*Collected : \([0-9]*\)$/\1/p' "$work/err"
}
few=32768
many=131072
first=$(count $few) && second=$(count $many) || exit 1
[ -n "$first" ] && [ -n "$second" ] || { cat "$work/err" >&2; exit 1; }
each=$(((second - first) / (many - few)))
echo "instructions an event: $each, at most $bound"
[ "$each" -gt 500 ] || { echo "that is not the whole way" >&2; exit 1; }
[ "$each" -le "$bound" ]
