#!/bin/sh
# What a user of the installed library does: install into a prefix, compile the example with what
# pkg-config says, run it against a real tallyd; with the shared library and with the static one.
#   install_test.sh SOURCE_DIR BUILD_DIR BIN_DIR CC FLAGS...
set -eu
source=$1 build=$2 bin=$3 cc=$4
shift 4
work=$(mktemp -d)
server=
finish() {
    if [ -n "$server" ]; then
        kill "$server" 2> /dev/null || true
        wait "$server" 2> /dev/null || true
    fi
    rm -rf "$work"
}
trap finish EXIT

fail() {
    echo "install_test: $1" >&2
    exit 1
}

cmake --install "$build" --prefix "$work/first" --component sdk > "$work/log" 2>&1 ||
    { cat "$work/log" >&2; fail "cmake --install"; }
# A package is built in one place and used in another.
mv "$work/first" "$work/prefix"
prefix=$work/prefix
lib=$(dirname "$(find "$prefix" -name libtally.a)")
for file in "$lib/libtally.so" "$lib/pkgconfig/tally.pc" "$prefix/include/tally.h" \
    "$prefix/share/man/man3/tally.3"; do
    [ -s "$file" ] || fail "$file was not installed"
done
[ ! -e "$prefix/bin" ] || fail "the component sdk holds programs"
PKG_CONFIG_PATH=$lib/pkgconfig
export PKG_CONFIG_PATH
[ "$(pkg-config --modversion tally)" = "$(sed -n 's/^project(tally VERSION \([^ ]*\).*/\1/p' \
    "$source/CMakeLists.txt")" ] || fail "tally.pc has another version"

# shellcheck disable=SC2046 # what pkg-config prints is meant to be split
$cc -std=c99 -Wall -Wextra -Werror "$@" "$source/examples/c/send.c" \
    $(pkg-config --cflags --libs tally) -o "$work/send_shared"
# shellcheck disable=SC2046
$cc -std=c99 -Wall -Wextra -Werror "$@" "$source/examples/c/send.c" \
    $(pkg-config --cflags tally) "$lib/libtally.a" \
    $(pkg-config --static --libs-only-l tally | sed 's/-ltally//') -o "$work/send_static"

LD_LIBRARY_PATH=$lib "$work/send_shared" nowhere acme call 1 2> "$work/error" &&
    fail "the example sends nowhere"
grep -q "HOST:PORT" "$work/error" || fail "the example does not say why it cannot send"

"$bin/tallyd" --data "$work/data" --tcp none --metrics none --shards 1 --log-level error &
server=$!
socket=$work/data/tallyd.sock
# The library waits for the server by itself: it connects again until the close is over.
LD_LIBRARY_PATH=$lib "$work/send_shared" "unix:$socket" acme call 1.5 > "$work/out" ||
    fail "the example with libtally.so: $(cat "$work/out")"
[ "$(cat "$work/out")" = ok ] || fail "the example with libtally.so said $(cat "$work/out")"
"$work/send_static" "unix:$socket" acme call 2 > "$work/out" ||
    fail "the example with libtally.a: $(cat "$work/out")"
kill "$server"
wait "$server" || fail "tallyd did not end well"
server=
events=$("$bin/tally" ledger stat --data "$work/data" --format json |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["shards"][0]["events"])')
[ "$events" = 2 ] || fail "the ledger has $events events, not 2"

if command -v man > /dev/null; then
    man --warnings -l "$prefix/share/man/man3/tally.3" > "$work/page" 2> "$work/warnings"
    [ ! -s "$work/warnings" ] || fail "tally.3: $(cat "$work/warnings")"
    for name in $(sed -n 's/^tally_\([a-z_]*\)(.*/tally_\1/p; s/.* \**\(tally_[a-z_]*\)(.*/\1/p' \
        "$prefix/include/tally.h" | sort -u); do
        grep -q "$name" "$work/page" || fail "tally.3 does not know $name"
    done
else
    echo "install_test: no man here, the manual page was not rendered"
fi
