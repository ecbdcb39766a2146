#include "base/digest.h"

#include "base/assert.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <pthread.h>

_Static_assert(DIGEST_HEX_SIZE == 2 * 512 / 8, "two digits for each byte of SHA-512");

void
digest_digits(const uint8_t *bytes, size_t size, char *out)
{
    static const char DIGITS[] = "0123456789abcdef";
    for (size_t i = 0; i < size; i++) {
        out[2 * i] = DIGITS[bytes[i] >> 4];
        out[2 * i + 1] = DIGITS[bytes[i] & 15];
    }
}

static pthread_once_t once = PTHREAD_ONCE_INIT;
static EVP_MD *sha512;

// Finding the algorithm takes libcrypto longer than a short text's digest.
static void
sha512_find(void)
{
    sha512 = EVP_MD_fetch(NULL, "SHA512", NULL);
}

bool
digest_hex(const struct bytes *parts, size_t count, char out[DIGEST_HEX_SIZE])
{
    uint8_t digest[DIGEST_HEX_SIZE / 2];
    unsigned size = 0;
    must(pthread_once(&once, sha512_find) == 0);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool is_fine =
        context != NULL && sha512 != NULL && EVP_DigestInit_ex(context, sha512, NULL) == 1;
    for (size_t i = 0; is_fine && i < count; i++)
        is_fine = EVP_DigestUpdate(context, parts[i].data, parts[i].size) == 1;
    is_fine = is_fine && EVP_DigestFinal_ex(context, digest, &size) == 1;
    EVP_MD_CTX_free(context);
    if (!is_fine)
        return false;
    must(size == sizeof digest);
    digest_digits(digest, sizeof digest, out);
    return true;
}

bool
digest_equal(struct bytes a, struct bytes b)
{
    return a.size == b.size && (a.size == 0 || CRYPTO_memcmp(a.data, b.data, a.size) == 0);
}
