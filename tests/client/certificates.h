#pragma once
// Certificates for tests: authorities, and what they sign, as PEM files in a directory of the test.
//
//     certificate_make(dir, &(struct certificate){.file = "ca", .is_authority = true});
//     certificate_make(dir, &(struct certificate){.file = "a", .issuer = "ca", .names = "DNS:a"});
//
// Writes DIR/FILE.pem and DIR/FILE.key; fails the test when it cannot. Thread: one at a time.

#include <stdbool.h>

struct certificate {
    const char *file;
    const char *issuer;  // another's file; NULL: signed by itself
    const char *names;   // "DNS:host,IP:127.0.0.1"; NULL: none
    bool is_authority;
    bool is_expired;  // since yesterday
};

void certificate_make(const char *dir, const struct certificate *certificate);
