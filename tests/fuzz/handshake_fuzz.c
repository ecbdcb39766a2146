// Any bytes as the answer to HELO: nobody comes in who cannot know the nonce's digest, and what is
// said of it is a reason.

#include "ingest/handshake.h"

#include "base/assert.h"
#include "base/unpack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
answer_check(enum handshake_fault fault, const struct handshake_answer *answer)
{
    struct buffer out = {0};
    struct unpack_scan scan = {0};
    handshake_pack_pong(fault, answer, &out);
    must(unpack_scan(&scan, buffer_view(&out), HANDSHAKE_PING_MAX) == UNPACK_COMPLETE);
    must(scan.size == out.size);
    buffer_done(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct user users[] = {
        {.name = {(const uint8_t *)"acme", 4}, .password = {(const uint8_t *)"secret", 6}},
    };
    static const struct credentials known[] = {
        {.shared_key = {(const uint8_t *)"a shared key", 12}},
        { .shared_key = {(const uint8_t *)"a shared key", 12}, .users = users, .users_count = 1},
    };
    for (size_t i = 0; i < 2; i++) {
        struct handshake handshake;
        struct handshake_answer answer = {0};
        struct unpack_scan scan = {0};
        struct bytes bytes = bytes_of(data, size);
        handshake_begin(&handshake, &known[i]);
        // As a connection does it, and without looking for the end first.
        enum handshake_fault fault = handshake_check(&handshake, &known[i], bytes, &answer);
        must(fault != HANDSHAKE_FINE && fault != HANDSHAKE_TIMEOUT);
        answer_check(fault, NULL);
        if (unpack_scan(&scan, bytes, HANDSHAKE_PING_MAX) != UNPACK_COMPLETE)
            continue;
        fault = handshake_check(&handshake, &known[i], bytes_of(data, scan.size), &answer);
        must(fault != HANDSHAKE_FINE && fault < HANDSHAKE_FAULT_COUNT);
    }
    return 0;
}
