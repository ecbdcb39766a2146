#include "api/certificate.h"

#include "base/arena.h"
#include "base/assert.h"
#include "base/pool.h"

#include <fcntl.h>
#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_MAX = 1 << 20, CHAIN_MAX = 16 };

const char CERTIFICATE_PRIORITIES[] = "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2";

// One reading of the files.
struct shown {
    struct shown *before;
    gnutls_pcert_st chain[CHAIN_MAX];
    unsigned chain_size;
    gnutls_privkey_t key;
    int64_t expires_s;
};

struct certificate {
    struct certificate_files files;
    struct shown *newest;
};

// What handshakes show: written by main with everything in it set, read by the loops.
static _Atomic(struct shown *) current;

static enum status
file_read(
    const char *path, bool is_secret, struct arena *arena, gnutls_datum_t *out, struct error *error)
{
    struct stat state;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(error, "cannot read %s", path);
    enum status status = STATUS_OK;
    ssize_t size = -1;
    if (fstat(fd, &state) < 0)
        status = error_set_errno(error, "cannot read %s", path);
    else if (!S_ISREG(state.st_mode) || state.st_size > FILE_MAX)
        status = error_set(error, STATUS_INVALID, "%s is no file of a certificate or key", path);
    else if (is_secret && (state.st_mode & (S_IRWXO | S_IWGRP)) != 0)
        status = error_set(
            error, STATUS_INVALID, "%s is readable by others: chmod 600 it, or 640", path);
    if (status == STATUS_OK) {
        out->data = arena_take(arena, FILE_MAX + 1, 1);
        size = read(fd, out->data, FILE_MAX);
        out->size = size > 0 ? (unsigned)size : 0;
        if (size < 0)
            status = error_set_errno(error, "cannot read %s", path);
    }
    (void)close(fd);
    return status;
}

static enum status
refused(const char *path, int rc, struct error *error)
{
    return error_set(error, STATUS_INVALID, "%s: %s", path, gnutls_strerror(rc));
}

static void
shown_free(struct shown *shown)
{
    for (unsigned i = 0; i < shown->chain_size; i++)
        gnutls_pcert_deinit(&shown->chain[i]);
    gnutls_privkey_deinit(shown->key);
    pool_give(shown);
}

// Reads the chain, and what of its first certificate is asked later.
static enum status
chain_read(const char *path, const gnutls_datum_t *text, struct shown *out, struct error *error)
{
    gnutls_x509_crt_t list[CHAIN_MAX];
    unsigned count = CHAIN_MAX;
    int rc = gnutls_x509_crt_list_import(
        list,
        &count,
        text,
        GNUTLS_X509_FMT_PEM,
        GNUTLS_X509_CRT_LIST_IMPORT_FAIL_IF_EXCEED | GNUTLS_X509_CRT_LIST_FAIL_IF_UNSORTED);
    if (rc < 0)
        return refused(path, rc, error);
    out->expires_s = gnutls_x509_crt_get_expiration_time(list[0]);
    unsigned size = count;
    rc = gnutls_pcert_import_x509_list(out->chain, list, &size, 0);
    out->chain_size = rc < 0 ? 0 : size;
    for (unsigned i = 0; i < count; i++)
        gnutls_x509_crt_deinit(list[i]);
    return rc < 0 ? refused(path, rc, error) : STATUS_OK;
}

// Whether the key is that of the certificate: by their public halves.
static enum status
pair_check(const struct certificate_files *files, struct shown *shown, struct error *error)
{
    gnutls_pubkey_t of_key;
    unsigned char ids[2][64];
    size_t sizes[2] = {sizeof ids[0], sizeof ids[1]};
    int rc = gnutls_pubkey_init(&of_key);
    if (rc < 0)
        return refused(files->key, rc, error);
    rc = gnutls_pubkey_import_privkey(of_key, shown->key, 0, 0);
    if (rc >= 0)
        rc = gnutls_pubkey_get_key_id(of_key, GNUTLS_KEYID_USE_SHA256, ids[0], &sizes[0]);
    gnutls_pubkey_deinit(of_key);
    if (rc >= 0)
        rc = gnutls_pubkey_get_key_id(
            shown->chain[0].pubkey, GNUTLS_KEYID_USE_SHA256, ids[1], &sizes[1]);
    if (rc < 0)
        return refused(files->key, rc, error);
    if (sizes[0] == sizes[1] && memcmp(ids[0], ids[1], sizes[0]) == 0)
        return STATUS_OK;
    return error_set(
        error,
        STATUS_INVALID,
        "the key %s belongs to another certificate than %s",
        files->key,
        files->certificate);
}

static enum status
shown_read(const struct certificate_files *files, struct shown *out, struct error *error)
{
    scoped(arena_done) struct arena arena = {0};
    gnutls_datum_t chain = {0}, key = {0};
    enum status status = file_read(files->certificate, false, &arena, &chain, error);
    if (status == STATUS_OK)
        status = file_read(files->key, true, &arena, &key, error);
    if (status)
        return status;
    int rc = gnutls_privkey_init(&out->key);
    if (rc >= 0)
        rc = gnutls_privkey_import_x509_raw(out->key, &key, GNUTLS_X509_FMT_PEM, NULL, 0);
    must(key.data != NULL);
    explicit_bzero(key.data, key.size);
    if (rc < 0)
        return refused(files->key, rc, error);
    status = chain_read(files->certificate, &chain, out, error);
    return status == STATUS_OK ? pair_check(files, out, error) : status;
}

enum status
certificate_reload(struct certificate *certificate, struct error *error)
{
    struct shown *shown = pool_take(1, sizeof *shown);
    if (shown == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for the certificate");
    enum status status = shown_read(&certificate->files, shown, error);
    if (status) {
        shown_free(shown);
        return status;
    }
    shown->before = certificate->newest;
    certificate->newest = shown;
    atomic_store_explicit(&current, shown, memory_order_release);
    return STATUS_OK;
}

enum status
certificate_open(
    const struct certificate_files *files, struct certificate **out, struct error *error)
{
    struct certificate *certificate = pool_take(1, sizeof *certificate);
    if (certificate == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for the certificate");
    must(atomic_load(&current) == NULL);
    certificate->files = *files;
    enum status status = certificate_reload(certificate, error);
    if (status) {
        pool_give(certificate);
        return status;
    }
    *out = certificate;
    return STATUS_OK;
}

int64_t
certificate_expires_s(const struct certificate *certificate)
{
    return certificate->newest->expires_s;
}

void
certificate_close(struct certificate *certificate)
{
    if (certificate == NULL)
        return;
    atomic_store(&current, NULL);
    while (certificate->newest != NULL) {
        struct shown *shown = certificate->newest;
        certificate->newest = shown->before;
        shown_free(shown);
    }
    pool_give(certificate);
}

// GnuTLS neither changes nor gives back what it is shown.
static int
certificate_show(  // NOLINT(readability-function-size): the library chose the parameters
    gnutls_session_t session,
    const gnutls_datum_t *authorities,
    int authorities_count,
    const gnutls_pk_algorithm_t *algorithms,
    int algorithms_count,
    gnutls_pcert_st **out_chain,
    unsigned *out_chain_size,
    gnutls_privkey_t *out_key)
{
    (void)session;
    (void)authorities;
    (void)authorities_count;
    (void)algorithms;
    (void)algorithms_count;
    struct shown *shown = atomic_load_explicit(&current, memory_order_acquire);
    must(shown != NULL);
    *out_chain = shown->chain;
    *out_chain_size = shown->chain_size;
    *out_key = shown->key;
    return 0;
}

certificate_function
certificate_callback(void)
{
    return (certificate_function)certificate_show;
}
