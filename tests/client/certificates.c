#include "tests/client/certificates.h"

#include <criterion/criterion.h>

#include <limits.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <sys/stat.h>

enum { DAY_S = 24 * 60 * 60 };

static FILE *
file_open(const char *dir, const char *name, const char *suffix, const char *mode)
{
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/%s.%s", dir, name, suffix);
    FILE *file = fopen(path, mode);
    cr_assert_not_null(file, "%s", path);
    return file;
}

static void
extension_add(X509 *certificate, X509V3_CTX *context, int id, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, context, id, value);
    cr_assert_not_null(extension, "%s", value);
    cr_assert_eq(X509_add_ext(certificate, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

// What stands in it, but the signature.
static X509 *
certificate_fill(const struct certificate *wanted, EVP_PKEY *key, X509 *issuer)
{
    X509 *certificate = X509_new();
    X509V3_CTX context;
    X509_NAME *name = X509_get_subject_name(certificate);
    cr_assert_eq(X509_set_version(certificate, 2), 1);
    cr_assert_eq(
        X509_NAME_add_entry_by_txt(
            name, "CN", MBSTRING_ASC, (const unsigned char *)wanted->file, -1, -1, 0),
        1);
    cr_assert_eq(ASN1_INTEGER_set(X509_get_serialNumber(certificate), wanted->file[0]), 1);
    cr_assert_not_null(X509_gmtime_adj(X509_getm_notBefore(certificate), -2 * DAY_S));
    cr_assert_not_null(
        X509_gmtime_adj(X509_getm_notAfter(certificate), wanted->is_expired ? -DAY_S : DAY_S));
    cr_assert_eq(X509_set_pubkey(certificate, key), 1);
    cr_assert_eq(
        X509_set_issuer_name(
            certificate, X509_get_subject_name(issuer != NULL ? issuer : certificate)),
        1);
    X509V3_set_ctx(&context, issuer != NULL ? issuer : certificate, certificate, NULL, NULL, 0);
    extension_add(
        certificate,
        &context,
        NID_basic_constraints,
        wanted->is_authority ? "critical,CA:TRUE" : "CA:FALSE");
    if (wanted->names != NULL)
        extension_add(certificate, &context, NID_subject_alt_name, wanted->names);
    return certificate;
}

void
certificate_make(const char *dir, const struct certificate *wanted)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    EVP_PKEY *issuer_key = NULL;
    X509 *issuer = NULL;
    cr_assert_not_null(key);
    if (wanted->issuer != NULL) {
        FILE *file = file_open(dir, wanted->issuer, "pem", "r");
        issuer = PEM_read_X509(file, NULL, NULL, NULL);
        (void)fclose(file);
        file = file_open(dir, wanted->issuer, "key", "r");
        issuer_key = PEM_read_PrivateKey(file, NULL, NULL, NULL);
        (void)fclose(file);
        cr_assert(issuer != NULL && issuer_key != NULL);
    }
    X509 *certificate = certificate_fill(wanted, key, issuer);
    cr_assert_gt(X509_sign(certificate, issuer_key != NULL ? issuer_key : key, EVP_sha256()), 0);
    FILE *file = file_open(dir, wanted->file, "pem", "w");
    cr_assert_eq(PEM_write_X509(file, certificate), 1);
    cr_assert_eq(fclose(file), 0);
    file = file_open(dir, wanted->file, "key", "w");
    cr_assert_eq(fchmod(fileno(file), 0600), 0, "tallyd takes no key that others can read");
    cr_assert_eq(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL), 1);
    cr_assert_eq(fclose(file), 0);
    X509_free(certificate);
    X509_free(issuer);
    EVP_PKEY_free(key);
    EVP_PKEY_free(issuer_key);
}
