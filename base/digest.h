#pragma once
// SHA-512 (OpenSSL's libcrypto behind it) as the Forward protocol's handshake wants it: of several
// parts, written as lower-case hexadecimal digits.
//
//     char digest[DIGEST_HEX_SIZE];
//     const struct bytes parts[] = {salt, host_name, nonce, shared_key};
//     if (!digest_hex(parts, 4, digest)) no memory
//     if (digest_equal(bytes_of(digest, sizeof digest), theirs)) ...
//
// Thread: any.

#include "base/bytes.h"

enum { DIGEST_HEX_SIZE = 128 };

// The parts one after the other; no NUL is written. False: the library has no memory.
bool digest_hex(const struct bytes *parts, size_t count, char out[DIGEST_HEX_SIZE])
    __attribute__((warn_unused_result));
// In a time that depends on the sizes only. Texts of different sizes are not equal.
bool digest_equal(struct bytes a, struct bytes b);
// Hexadecimal digits of bytes: 2 * size of them.
void digest_digits(const uint8_t *bytes, size_t size, char *out);
