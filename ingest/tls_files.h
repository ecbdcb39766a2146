#pragma once
// From PEM files to what OpenSSL wants to know of a listener. Inside of ingest/tls only: the two
// files are the pair that includes OpenSSL's headers of TLS.
//
//     status = tls_context_load(&files, &context, &error);
//
// Thread: any.

#include "ingest/tls.h"

#include <openssl/ssl.h>

struct tls_context {
    SSL_CTX *ssl;
    int64_t expires_s;  // when our certificate ends: seconds since 1970
};

enum status tls_context_load(
    const struct tls_files *files, struct tls_context *out, struct error *error) CHECKED;
// The newest error of this thread as OpenSSL names it; never NULL.
const char *tls_reason(void);
