#include "ingest/tls_files.h"

#include "ingest/secrets.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <time.h>

static const char CIPHERS[] = "ECDHE+AESGCM:ECDHE+CHACHA20";  // of TLS 1.2

static void
context_free(SSL_CTX **context)
{
    SSL_CTX_free(*context);
}

static void
bio_free(BIO **bio)
{
    (void)BIO_free(*bio);
}

static void
certificate_free(X509 **certificate)
{
    X509_free(*certificate);
}

static void
key_free(EVP_PKEY **key)
{
    EVP_PKEY_free(*key);
}

const char *
tls_reason(void)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    return reason != NULL ? reason : "unknown error";
}

// OpenSSL would ask on the terminal.
static int
// NOLINTNEXTLINE(readability-non-const-parameter): the type is OpenSSL's
passphrase_refuse(char *text, int size, int is_writing, void *context)
{
    (void)text;
    (void)size;
    (void)is_writing;
    (void)context;
    return -1;
}

// The next certificate of a PEM file; NULL at its end, or (OpenSSL has an error) when it is broken.
static X509 *
certificate_next(BIO *in)
{
    X509 *certificate = PEM_read_bio_X509(in, NULL, passphrase_refuse, NULL);
    unsigned long code = ERR_peek_last_error();
    bool is_end = ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE;
    if (certificate == NULL && is_end)
        ERR_clear_error();
    return certificate;
}

typedef bool (*certificate_fn)(SSL_CTX *context, X509 *certificate, bool is_first);

// Hands every certificate of a file over.
static enum status
certificates_load(const char *path, SSL_CTX *context, certificate_fn use, struct error *error)
{
    scoped(arena_done) struct arena arena = {0};
    struct bytes text;
    enum status status = public_read(path, &arena, &text, error);
    if (status)
        return status;
    ERR_clear_error();
    scoped(bio_free) BIO *in =
        BIO_new_mem_buf(text.size > 0 ? text.data : (const void *)"", (int)text.size);
    size_t count = 0;
    bool is_used = true;
    while (is_used && in != NULL) {
        scoped(certificate_free) X509 *certificate = certificate_next(in);
        if (certificate == NULL)
            break;
        is_used = use(context, certificate, count == 0);
        count++;
    }
    if (!is_used || ERR_peek_last_error() != 0)
        return error_set(
            error,
            STATUS_INVALID,
            "%s: certificate %zu cannot be used: %s",
            path,
            is_used ? count + 1 : count,
            tls_reason());
    if (count == 0)
        return error_set(error, STATUS_INVALID, "%s holds no certificate in PEM form", path);
    return STATUS_OK;
}

static bool
own_use(SSL_CTX *context, X509 *certificate, bool is_first)
{
    if (is_first)
        return SSL_CTX_use_certificate(context, certificate) == 1;
    return SSL_CTX_add1_chain_cert(context, certificate) == 1;
}

static bool
ca_use(SSL_CTX *context, X509 *certificate, bool is_first)
{
    (void)is_first;
    return X509_STORE_add_cert(SSL_CTX_get_cert_store(context), certificate) == 1 &&
           SSL_CTX_add_client_CA(context, certificate) == 1;
}

static enum status
key_load(const struct tls_files *files, SSL_CTX *context, struct error *error)
{
    scoped(arena_done) struct arena arena = {0};
    struct bytes text;
    enum status status = secrets_read(files->key, &arena, &text, error);
    if (status)
        return status;
    ERR_clear_error();
    scoped(bio_free) BIO *in =
        BIO_new_mem_buf(text.size > 0 ? text.data : (const void *)"", (int)text.size);
    scoped(key_free) EVP_PKEY *key = NULL;
    if (in != NULL)
        key = PEM_read_bio_PrivateKey(in, NULL, passphrase_refuse, NULL);
    if (key == NULL)
        return error_set(
            error,
            STATUS_INVALID,
            "%s holds no private key in PEM form, or an encrypted one: %s",
            files->key,
            tls_reason());
    if (X509_check_private_key(SSL_CTX_get0_certificate(context), key) != 1)
        return error_set(
            error,
            STATUS_INVALID,
            "the private key in %s is not that of the certificate in %s",
            files->key,
            files->certificate);
    if (SSL_CTX_use_PrivateKey(context, key) != 1)
        return error_set(
            error, STATUS_INVALID, "%s: the key cannot be used: %s", files->key, tls_reason());
    return STATUS_OK;
}

static enum status
clients_load(const struct tls_files *files, SSL_CTX *context, struct error *error)
{
    if (files->client_ca == NULL)
        return STATUS_OK;
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL_CTX_set_max_cert_list(context, TLS_CLIENT_CHAIN_MAX);
    return certificates_load(files->client_ca, context, ca_use, error);
}

static bool
rules_set(SSL_CTX *context)
{
    (void)SSL_CTX_set_options(
        context,
        SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET |
            SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    (void)SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    // Idle connections give their buffers back.
    (void)SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    return SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1 &&
           SSL_CTX_set_num_tickets(context, 0) == 1 &&
           SSL_CTX_set_cipher_list(context, CIPHERS) == 1;
}

static int64_t
certificate_expires_s(const X509 *certificate)
{
    struct tm end = {0};
    if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &end) != 1)
        return 0;
    return timegm(&end);
}

enum status
tls_context_load(const struct tls_files *files, struct tls_context *out, struct error *error)
{
    scoped(context_free) SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (context == NULL || !rules_set(context))
        return error_set(error, STATUS_NO_MEMORY, "OpenSSL makes no context: %s", tls_reason());
    enum status status = certificates_load(files->certificate, context, own_use, error);
    if (status == STATUS_OK)
        status = key_load(files, context, error);
    if (status == STATUS_OK)
        status = clients_load(files, context, error);
    if (status)
        return status;
    out->expires_s = certificate_expires_s(SSL_CTX_get0_certificate(context));
    out->ssl = context;
    context = NULL;
    return STATUS_OK;
}
