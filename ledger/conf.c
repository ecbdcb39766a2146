// A data directory on disk, and how it is made so that a crash at any moment leaves either no
// ledger or a whole one:
//
//   1. directories and environments are made (a second try finds and keeps them)
//   2. they are fsynced, bottom up
//   3. ledger.conf is written beside, fsynced, renamed: from here on the ledger exists
//
// The hash secret is made in step 3, so an environment that holds blocks belongs to a ledger.conf
// that is gone, and must not get another one.

#include "base/assert.h"
#include "base/buffer.h"
#include "base/hash.h"
#include "ledger/conf_text.h"
#include "ledger/files.h"
#include "ledger/head.h"
#include "ledger/ledger.h"
#include "ledger/lmdb_env.h"
#include "ledger/shard_view.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    CONF_SIZE_MAX = 16384,
    CONF_BUFFER_MAX = 1 << 20,
    SHARDS_DEFAULT_MAX = 8,
};

static const char checksum_key[] = "checksum = ";

// Environments are mapped whole, two to a shard, and a process has 128 TiB of addresses: beyond 16
// shards the default shrinks so that all of them take at most a quarter.
static const uint64_t MAP_SIZE_DEFAULT = 1ULL << 40;
static const uint64_t MAP_SIZE_SUM = 32ULL << 40;
static const uint64_t MAP_SIZE_MIN = 1ULL << 20;

// Makes the environment, or finds the one that an earlier try made.
static enum status
env_make(const char *path, const struct env_options *options, struct error *error)
{
    struct env *env = NULL;
    enum status status = dir_make(path, error);
    if (status == STATUS_OK)
        status = env_open(path, options, &env, error);
    if (status)
        return status;
    scoped(tx_done) struct tx tx = tx_read(env);
    uint64_t entries = tx_count(&tx, 0);
    status = tx_check(&tx, error);
    tx_done(&tx);
    env_close(env);
    if (status == STATUS_OK && entries > 0) {
        return error_set(
            error,
            STATUS_CORRUPT,
            "%s holds data, but ledger.conf is gone: restore ledger.conf from a backup",
            path);
    }
    return status;
}

static enum status
shard_make(const char *dir, uint32_t number, uint64_t map_size, struct error *error)
{
    const struct env_options log = {
        .map_size = map_size, .dbs = LOG_DBS, .dbs_count = LOG_DB_COUNT};
    const struct env_options state = {
        .map_size = map_size, .dbs = STATE_DBS, .dbs_count = STATE_DB_COUNT};
    struct path shard;
    struct path env;
    char name[32];
    (void)snprintf(name, sizeof name, "shards/%04" PRIu32, number);
    enum status status = path_make(&shard, dir, name, error);
    if (status == STATUS_OK)
        status = dir_make(shard.text, error);
    if (status == STATUS_OK)
        status = path_make(&env, shard.text, "log", error);
    if (status == STATUS_OK)
        status = env_make(env.text, &log, error);
    if (status == STATUS_OK)
        status = path_make(&env, shard.text, "state", error);
    if (status == STATUS_OK)
        status = env_make(env.text, &state, error);
    if (status == STATUS_OK)
        status = path_make(&env, shard.text, "head", error);
    if (status == STATUS_OK)
        status = head_make(env.text, error);
    return status ? status : dir_sync(shard.text, error);
}

static enum status
meters_make(const char *dir, struct error *error)
{
    struct path path;
    struct registry *registry = NULL;
    enum status status = path_make(&path, dir, "meters", error);
    if (status == STATUS_OK)
        status = dir_make(path.text, error);
    if (status == STATUS_OK)
        status = registry_open(dir, &registry, error);
    if (status == STATUS_OK)
        registry_close(registry);
    return status;
}

static enum status
shards_make(const char *dir, const struct ledger_conf *conf, struct error *error)
{
    struct path shards;
    enum status status = path_make(&shards, dir, "shards", error);
    if (status == STATUS_OK)
        status = dir_make(shards.text, error);
    for (uint32_t i = 0; status == STATUS_OK && i < conf->shards; i++)
        status = shard_make(dir, i, conf->map_size, error);
    return status ? status : dir_sync(shards.text, error);
}

enum status
ledger_lay_out(const char *dir, const struct ledger_conf *conf, struct error *error)
{
    enum status status = meters_make(dir, error);
    return status ? status : shards_make(dir, conf, error);
}

static void
conf_print(const struct ledger_conf *conf, struct buffer *out)
{
    buffer_format(out, "# Made once by the ledger. Keep it secret, and in backups: without it\n");
    buffer_format(out, "# the stored identities mean nothing.\n");
    buffer_format(out, "format = %" PRIu32 "\n", conf->format);
    buffer_format(out, "shards = %" PRIu32 "\n", conf->shards);
    buffer_format(out, "map_size = %" PRIu64 "\n", conf->map_size);
    buffer_text(out, "secret = ");
    for (size_t i = 0; i < sizeof conf->secret.bytes; i++)
        buffer_format(out, "%02x", conf->secret.bytes[i]);
    buffer_text(out, "\n");
    terms_print(&conf->terms, out);
}

static void
shape_print(const struct ledger_conf *conf, struct buffer *out)
{
    buffer_format(out, "# What readers have to know of ledger.conf, without its secret.\n");
    buffer_format(out, "format = %" PRIu32 "\n", conf->format);
    buffer_format(out, "shards = %" PRIu32 "\n", conf->shards);
    buffer_format(out, "map_size = %" PRIu64 "\n", conf->map_size);
    terms_print(&conf->terms, out);
}

// The last line, over all before it.
static void
checksum_print(struct buffer *text)
{
    if (!buffer_failed(text))
        buffer_format(text, "%s%016" PRIx64 "\n", checksum_key, hash64(buffer_view(text), 0));
}

// ledger.conf last: with it the ledger exists, and it is what counts where both can be read.
enum status
ledger_conf_write(const char *dir, const struct ledger_conf *conf, struct error *error)
{
    scoped(buffer_done) struct buffer text = {0};
    scoped(buffer_done) struct buffer shape = {0};
    conf_print(conf, &text);
    shape_print(conf, &shape);
    checksum_print(&text);
    checksum_print(&shape);
    if (buffer_failed(&text) || buffer_failed(&shape))
        return error_set(error, STATUS_NO_MEMORY, "no memory for ledger.conf");
    must(text.size < CONF_SIZE_MAX);
    enum status status = files_replace(dir, "ledger.shape", buffer_view(&shape), 0640, error);
    if (status == STATUS_OK)
        status = files_replace(dir, "ledger.conf", buffer_view(&text), 0600, error);
    return status ? status : parent_sync(dir, error);
}

// What stands in the file wins; a caller who asks for something else is told.
static enum status
conf_agree(
    const char *dir,
    const struct ledger_conf *conf,
    const struct ledger_create_options *options,
    struct error *error)
{
    if (options->shards != 0 && options->shards != conf->shards) {
        return error_set(
            error,
            STATUS_INVALID,
            "%s has %" PRIu32 " shards, not %" PRIu32 ": the number is fixed when it is made",
            dir,
            conf->shards,
            options->shards);
    }
    return error_set(error, STATUS_EXISTS, "%s is a ledger already", dir);
}

uint32_t
ledger_shards_default(void)
{
    long half = sysconf(_SC_NPROCESSORS_ONLN) / 2;
    if (half < 1)
        return 1;
    return half < SHARDS_DEFAULT_MAX ? (uint32_t)half : SHARDS_DEFAULT_MAX;
}

static enum status
ledger_make(const char *dir, const struct ledger_create_options *options, struct error *error)
{
    struct ledger_conf conf = {
        .format = LEDGER_FORMAT,
        .shards = options->shards != 0 ? options->shards : ledger_shards_default(),
        .map_size = options->map_size,
        .terms = LEDGER_TERMS_DEFAULT,
    };
    if (conf.shards > SHARDS_MAX) {
        return error_set(
            error, STATUS_INVALID, "%" PRIu32 " shards: at most %d", conf.shards, SHARDS_MAX);
    }
    if (conf.map_size == 0) {
        uint64_t share = MAP_SIZE_SUM / conf.shards;
        conf.map_size = share < MAP_SIZE_DEFAULT ? share : MAP_SIZE_DEFAULT;
    }
    if (conf.map_size < MAP_SIZE_MIN)
        return error_set(error, STATUS_INVALID, "the map size must be at least 1 MiB");
    random_fill(&conf.secret, sizeof conf.secret);
    enum status status = ledger_lay_out(dir, &conf, error);
    return status ? status : ledger_conf_write(dir, &conf, error);
}

enum status
ledger_create(const char *dir, const struct ledger_create_options *options, struct error *error)
{
    struct ledger_conf conf = {0};
    int lock = -1;
    enum status status = dir_make(dir, error);
    if (status)
        return status;
    status = ledger_conf_read(dir, &conf, error);
    if (status != STATUS_NOT_FOUND)
        return status ? status : conf_agree(dir, &conf, options, error);
    // Two creators at once: one of them waits for nothing and is told.
    struct path path;
    status = path_make(&path, dir, "lock", error);
    if (status == STATUS_OK)
        status = files_lock(path.text, dir, &lock, error);
    if (status)
        return status;
    // The other creator may have finished between our look and our lock.
    status = ledger_conf_read(dir, &conf, error);
    if (status == STATUS_NOT_FOUND)
        status = ledger_make(dir, options, error);
    else if (status == STATUS_OK)
        status = conf_agree(dir, &conf, options, error);
    (void)close(lock);
    return status;
}

// -1: no digit.
static int
hex_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

static bool
conf_secret(const char *text, struct hash_secret *out)
{
    size_t size = 0;
    const char *value = conf_value(text, "secret", &size);
    if (value == NULL || size != 2 * sizeof out->bytes)
        return false;
    for (size_t i = 0; i < sizeof out->bytes; i++) {
        int high = hex_value(value[2 * i]);
        int low = hex_value(value[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out->bytes[i] = (uint8_t)(high * 16 + low);
    }
    return true;
}

// A digit that turned into another one is a setting nobody chose, or the secret of no identity.
static bool
conf_is_whole(const char *text, size_t size)
{
    const size_t line = sizeof checksum_key - 1 + 16 + 1;
    char wanted[64];
    if (size < line || strlen(text) != size)
        return false;
    uint64_t checksum = hash64(bytes_of(text, size - line), 0);
    (void)snprintf(wanted, sizeof wanted, "%s%016" PRIx64 "\n", checksum_key, checksum);
    return memcmp(text + size - line, wanted, line) == 0;
}

static enum status
conf_parse(
    const char *path,
    const char *text,
    bool has_secret,
    struct ledger_conf *out,
    struct error *error)
{
    struct ledger_conf conf = {.terms = LEDGER_TERMS_DEFAULT};
    uint64_t format = 0;
    uint64_t shards = 0;
    if (!conf_number(text, "format", 1, UINT32_MAX, &format))
        return error_set(error, STATUS_INVALID, "%s: format is missing or no number", path);
    if (format != LEDGER_FORMAT) {
        return error_set(
            error,
            STATUS_INVALID,
            "%s: format %" PRIu64 " was written by another version of tally; this one reads %d",
            path,
            format,
            LEDGER_FORMAT);
    }
    if (!conf_number(text, "shards", 1, SHARDS_MAX, &shards))
        return error_set(error, STATUS_INVALID, "%s: shards must be 1 to %d", path, SHARDS_MAX);
    if (!conf_number(text, "map_size", MAP_SIZE_MIN, INT64_MAX, &conf.map_size))
        return error_set(error, STATUS_INVALID, "%s: map_size is missing or too small", path);
    if (has_secret && !conf_secret(text, &conf.secret)) {
        return error_set(error, STATUS_INVALID, "%s: secret must be 384 digits 0-9 a-f", path);
    }
    enum status status = terms_read(path, text, &conf.terms, error);
    if (status)
        return status;
    conf.format = (uint32_t)format;
    conf.shards = (uint32_t)shards;
    *out = conf;
    return STATUS_OK;
}

static enum status
conf_read(
    const char *dir,
    const char *name,
    bool has_secret,
    struct ledger_conf *out,
    struct error *error)
{
    struct path path;
    scoped(buffer_done) struct buffer text = {.limit = CONF_BUFFER_MAX};
    enum status status = path_make(&path, dir, name, error);
    if (status == STATUS_OK)
        status = files_load(path.text, &text, error);
    if (status == STATUS_NOT_FOUND)
        return error_set(error, STATUS_NOT_FOUND, "%s: no ledger there", dir);
    buffer_u8(&text, 0);
    if (!status && buffer_failed(&text))
        status = error_set(error, STATUS_INVALID, "%s is too large", path.text);
    struct ledger_conf conf = {0};
    if (!status)
        status = conf_parse(path.text, (const char *)text.data, has_secret, &conf, error);
    if (!status && !conf_is_whole((const char *)text.data, text.size - 1)) {
        status = error_set(
            error,
            STATUS_CORRUPT,
            "%s: its checksum does not match: it was damaged, or edited by hand; put it back from "
            "a "
            "backup",
            path.text);
    }
    if (!status)
        *out = conf;
    return status;
}

enum status
ledger_conf_read(const char *dir, struct ledger_conf *out, struct error *error)
{
    return conf_read(dir, "ledger.conf", true, out, error);
}

enum status
ledger_shape_check(const char *dir, struct error *error)
{
    struct ledger_conf conf;
    return conf_read(dir, "ledger.shape", false, &conf, error);
}

enum status
ledger_shape_read(const char *dir, struct ledger_conf *out, struct error *error)
{
    struct path path;
    enum status status = path_make(&path, dir, "ledger.conf", error);
    if (status)
        return status;
    bool is_readable = access(path.text, R_OK) == 0 || errno != EACCES;
    return conf_read(dir, is_readable ? "ledger.conf" : "ledger.shape", is_readable, out, error);
}
