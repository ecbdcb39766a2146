#pragma once
// OpenSSL's own client, without a socket, and certificates made on the spot.
//
//     char dir[] = "/tmp/tally-tls-XXXXXX";
//     struct identity identity;
//     identity_make(&identity, dir, "server", "tally.example");   // files server.crt, server.key
//     struct tls_client client;
//     tls_client_open(&client, &(struct tls_client_options){.ca = identity.certificate});
//     tls_client_step(&client);             // goes on with the handshake, reads into client.plain
//     tls_client_write(&client, bytes);
//     ... client.out is to be sent, tls_client_feed takes what came ...
//     tls_client_close(&client);
//
// Owner: the test.

#include "base/buffer.h"

#include <criterion/criterion.h>

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <unistd.h>

// --- files ---

struct identity {
    char certificate[128];  // path
    char key[128];          // path
};

static inline X509 *
certificate_make(EVP_PKEY *key, const char *name)
{
    X509 *certificate = X509_new();
    cr_assert_not_null(certificate);
    X509_NAME *subject = X509_get_subject_name(certificate);
    cr_assert_eq(X509_set_version(certificate, X509_VERSION_3), 1);
    cr_assert_eq(ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1), 1);
    cr_assert_not_null(X509_gmtime_adj(X509_getm_notBefore(certificate), -3600));
    cr_assert_not_null(X509_gmtime_adj(X509_getm_notAfter(certificate), 30L * 86400));
    cr_assert_eq(
        X509_NAME_add_entry_by_txt(
            subject, "CN", MBSTRING_UTF8, (const unsigned char *)name, -1, -1, 0),
        1);
    cr_assert_eq(X509_set_issuer_name(certificate, subject), 1);
    cr_assert_eq(X509_set_pubkey(certificate, key), 1);
    cr_assert_gt(X509_sign(certificate, key, EVP_sha256()), 0);
    return certificate;
}

static inline FILE *
test_file(const char *path, int mode)
{
    (void)unlink(path);
    FILE *file = fdopen(open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode), "w");
    cr_assert_not_null(file);
    return file;
}

// Self-signed, on the curve P-256. passphrase: NULL: the key lies open.
static inline void
identity_make_locked(
    struct identity *out, const char *dir, const char *file, const char *name, char *passphrase)
{
    (void)snprintf(out->certificate, sizeof out->certificate, "%s/%s.crt", dir, file);
    (void)snprintf(out->key, sizeof out->key, "%s/%s.key", dir, file);
    EVP_PKEY *key = EVP_EC_gen("P-256");
    cr_assert_not_null(key);
    X509 *certificate = certificate_make(key, name);
    FILE *crt = test_file(out->certificate, 0644);
    cr_assert_eq(PEM_write_X509(crt, certificate), 1);
    cr_assert_eq(fclose(crt), 0);
    FILE *pem = test_file(out->key, 0600);
    const EVP_CIPHER *cipher = passphrase != NULL ? EVP_aes_256_cbc() : NULL;
    cr_assert_eq(PEM_write_PrivateKey(pem, key, cipher, NULL, 0, NULL, passphrase), 1);
    cr_assert_eq(fclose(pem), 0);
    X509_free(certificate);
    EVP_PKEY_free(key);
}

static inline void
identity_make(struct identity *out, const char *dir, const char *file, const char *name)
{
    identity_make_locked(out, dir, file, name, NULL);
}

// --- a client ---

struct tls_client_options {
    const char *ca;              // of the server's certificate; NULL: it is not checked
    const struct identity *own;  // NULL: shows no certificate
    int version_max;             // TLS1_2_VERSION; 0: the newest
};

struct tls_client {
    SSL_CTX *context;
    SSL *ssl;
    BIO *in;
    BIO *out;
    struct buffer plain;  // what came, decrypted
    bool is_ended;        // close_notify came
    bool has_failed;
};

static inline void
tls_client_open(struct tls_client *client, const struct tls_client_options *options)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    cr_assert_not_null(context);
    if (options->ca != NULL) {
        cr_assert_eq(SSL_CTX_load_verify_locations(context, options->ca, NULL), 1);
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    }
    if (options->own != NULL) {
        cr_assert_eq(SSL_CTX_use_certificate_chain_file(context, options->own->certificate), 1);
        cr_assert_eq(SSL_CTX_use_PrivateKey_file(context, options->own->key, SSL_FILETYPE_PEM), 1);
    }
    if (options->version_max != 0) {
        // Old versions only work at the lowest level.
        SSL_CTX_set_security_level(context, 0);
        cr_assert_eq(SSL_CTX_set_min_proto_version(context, TLS1_VERSION), 1);
        cr_assert_eq(SSL_CTX_set_max_proto_version(context, options->version_max), 1);
    }
    *client = (struct tls_client){
        .context = context,
        .ssl = SSL_new(context),
        .in = BIO_new(BIO_s_mem()),
        .out = BIO_new(BIO_s_mem()),
    };
    cr_assert(client->ssl != NULL && client->in != NULL && client->out != NULL);
    SSL_set_bio(client->ssl, client->in, client->out);
    SSL_set_connect_state(client->ssl);
}

static inline void
tls_client_close(struct tls_client *client)
{
    SSL_free(client->ssl);
    SSL_CTX_free(client->context);
    buffer_done(&client->plain);
}

static inline void
tls_client_feed(struct tls_client *client, struct bytes bytes)
{
    if (bytes.size > 0)
        cr_assert_eq(BIO_write(client->in, bytes.data, (int)bytes.size), (int)bytes.size);
}

static inline void
tls_client_step(struct tls_client *client)
{
    uint8_t data[4096];
    size_t size;
    int result = 1;
    ERR_clear_error();
    while (result == 1) {
        result = SSL_read_ex(client->ssl, data, sizeof data, &size);
        if (result == 1)
            buffer_put(&client->plain, data, size);
    }
    int error = SSL_get_error(client->ssl, result);
    client->is_ended = client->is_ended || error == SSL_ERROR_ZERO_RETURN;
    client->has_failed =
        client->has_failed || (error != SSL_ERROR_ZERO_RETURN && error != SSL_ERROR_WANT_READ);
}

static inline void
tls_client_write(struct tls_client *client, struct bytes bytes)
{
    size_t size;
    cr_assert_eq(SSL_write_ex(client->ssl, bytes.data, bytes.size, &size), 1);
    cr_assert_eq(size, bytes.size);
}

// Moves what it wants to send behind out.
static inline void
tls_client_take(struct tls_client *client, struct buffer *out)
{
    uint8_t data[4096];
    int size;
    while ((size = BIO_read(client->out, data, sizeof data)) > 0)
        buffer_put(out, data, (size_t)size);
}

static inline bool
tls_client_is_open(const struct tls_client *client)
{
    return SSL_is_init_finished(client->ssl);
}

// The server's common name, as it showed it.
static inline void
tls_client_server_name(const struct tls_client *client, char *out, size_t out_size)
{
    X509 *certificate = SSL_get1_peer_certificate(client->ssl);
    cr_assert_not_null(certificate);
    int size = X509_NAME_get_text_by_NID(
        X509_get_subject_name(certificate), NID_commonName, out, (int)out_size);
    cr_assert_gt(size, 0);
    X509_free(certificate);
}
