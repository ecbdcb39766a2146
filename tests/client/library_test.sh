#!/bin/sh
# What users get: a header that C99 and C++11 compile, and two libraries that show tally_* only.
#   library_test.sh SOURCE_DIR BIN_DIR CC FLAGS...
set -eu
source=$1 bin=$2 cc=$3
shift 3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cat > "$work/user.c" <<'END'
#include "tally.h"
#include <stdio.h>
#include <string.h>

int
main(void)
{
    struct tally_options options;
    char error[200] = "";
    memset(&options, 0, sizeof options);
    options.server = "nowhere";
    if (tally_open(&options, error, sizeof error) != NULL || error[0] == '\0')
        return 1;
    return puts(tally_version()) < 0;
}
END
cp "$work/user.c" "$work/user.cc"

fail() {
    echo "library_test: $1" >&2
    exit 1
}

$cc -std=c99 -Wall -Wextra -Wpedantic -Werror -I"$source/client" -fsyntax-only "$work/user.c"
if command -v c++ > /dev/null; then
    c++ -std=c++11 -Wall -Wextra -Wpedantic -Werror -I"$source/client" -fsyntax-only "$work/user.cc"
else
    echo "library_test: no C++ compiler here, the header was compiled as C only"
fi

strange=$(nm -D --defined-only "$bin/libtally.so" |
    awk '$3 !~ /^tally_/ && $2 ~ /[A-Z]/ {print $3}')
[ -z "$strange" ] || fail "libtally.so shows: $strange"
strange=$(nm -g --defined-only "$bin/libtally.a" | awk 'NF == 3 && $3 !~ /^tally_/ {print $3}')
[ -z "$strange" ] || fail "libtally.a shows: $strange"
for name in tally_open tally_send tally_send_wait tally_flush tally_stats tally_close \
    tally_result_text tally_version; do
    nm -D --defined-only "$bin/libtally.so" | grep -q " T $name\$" || fail "libtally.so lacks $name"
    nm -g --defined-only "$bin/libtally.a" | grep -q " T $name\$" || fail "libtally.a lacks $name"
done

abi=$(sed -n 's/^#define TALLY_ABI \([0-9]*\)$/\1/p' "$source/client/tally.h")
readelf -d "$bin/libtally.so" | grep -q "SONAME.*\[libtally\.so\.$abi\]" ||
    fail "libtally.so is not named after TALLY_ABI $abi"

$cc -std=c99 "$@" -I"$source/client" "$work/user.c" -o "$work/shared" -L"$bin" -ltally
LD_LIBRARY_PATH=$bin "$work/shared"
$cc -std=c99 "$@" -I"$source/client" "$work/user.c" -o "$work/static" "$bin/libtally.a" \
    -lssl -lcrypto -lpthread
"$work/static"
