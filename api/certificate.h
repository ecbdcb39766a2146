#pragma once
// The certificate that we show over TLS, from PEM files, and again from them.
//
//     certificate_open(&(struct certificate_files){cert, key}, &certificate, &error);
//     MHD_OPTION_HTTPS_CERT_CALLBACK, certificate_callback()     // api/http.c
//     status = certificate_reload(certificate, &error);          // on SIGHUP
//     certificate_close(certificate);                            // after http_stop
//
// libmicrohttpd speaks TLS with GnuTLS, and its callback has no context: there is one certificate
// in a process, which the callback shows. Handshakes that are under way read the one before, so
// each that was ever shown stays until the end; a kilobyte or two for each reload.
// The only file that knows GnuTLS. Owner: main. Thread: main; the callback on any.

#include "base/status.h"

#include <stdint.h>

struct certificate;

struct certificate_files {
    const char *certificate;  // PEM; behind it those between it and the root
    const char *key;          // PEM, not encrypted, mode 600 or 640
};

// The files' names must live as long. STATUS_INVALID: they do not fit, or others can read the key.
// STATUS_IO: they cannot be read.
enum status certificate_open(
    const struct certificate_files *files, struct certificate **out, struct error *error) CHECKED;
// When it fails, the certificate before stays in use.
enum status certificate_reload(struct certificate *certificate, struct error *error) CHECKED;
// When it ends, in seconds since 1970.
int64_t certificate_expires_s(const struct certificate *certificate);
// NULL is accepted.
void certificate_close(struct certificate *certificate);

typedef void (*certificate_function)(void);
// What GnuTLS calls a gnutls_certificate_retrieve_function2.
certificate_function certificate_callback(void);
// TLS 1.2 and 1.3, as GnuTLS spells it.
extern const char CERTIFICATE_PRIORITIES[];
