#include "client/settings.h"

#include "base/clock.h"

#include <inttypes.h>

static const char SERVER_DEFAULT[] = "127.0.0.1:24224";
static const int64_t MS_NS = 1000000;

// One number of the options: what 0 stands for, and what is allowed.
struct number {
    const char *name;
    uint64_t *value;
    uint64_t fallback;
    uint64_t min, max;
};

static enum status
numbers_check(struct number *numbers, size_t count, struct error *error)
{
    for (size_t i = 0; i < count; i++) {
        struct number *number = &numbers[i];
        if (*number->value == 0)
            *number->value = number->fallback;
        if (*number->value < number->min || *number->value > number->max)
            return error_set(
                error,
                STATUS_INVALID,
                "%s is %" PRIu64 "; it may be %" PRIu64 " to %" PRIu64,
                number->name,
                *number->value,
                number->min,
                number->max);
    }
    return STATUS_OK;
}

static enum status
backfill_copy(const char *name, struct client_settings *settings, struct error *error)
{
    if (name == NULL)
        return STATUS_OK;
    size_t size = strnlen(name, BACKLOG_BACKFILL_MAX + 1);
    if (size == 0 || size > BACKLOG_BACKFILL_MAX)
        return error_set(
            error, STATUS_INVALID, "backfill is a name of 1 to %d bytes", BACKLOG_BACKFILL_MAX);
    memcpy(settings->backfill, name, size + 1);
    return STATUS_OK;
}

static enum status
spool_copy(
    const struct tally_options *options, struct client_settings *settings, struct error *error)
{
    if (options->spool_dir == NULL)
        return options->spool_bytes == 0 && !options->spool_sync
                   ? STATUS_OK
                   : error_set(error, STATUS_INVALID, "spool_bytes and spool_sync need spool_dir");
    size_t size = strlen(options->spool_dir);
    if (size == 0 || size >= sizeof settings->spool_dir)
        return error_set(error, STATUS_INVALID, "spool_dir is empty or too long");
    memcpy(settings->spool_dir, options->spool_dir, size + 1);
    settings->is_spool_sync = options->spool_sync;
    settings->spool_size = options->spool_bytes;
    struct number number = {
        "spool_bytes", &settings->spool_size, 256ULL << 20, BACKLOG_SIZE_MIN, 1ULL << 50};
    return numbers_check(&number, 1, error);
}

// An option of 1 to size_max bytes; out has one more. NULL leaves it empty.
static enum status
text_copy(const char *name, const char *text, char *out, size_t size_max, struct error *error)
{
    if (text == NULL)
        return STATUS_OK;
    size_t size = strnlen(text, size_max + 1);
    if (size == 0 || size > size_max)
        return error_set(error, STATUS_INVALID, "%s is a text of 1 to %zu bytes", name, size_max);
    memcpy(out, text, size + 1);
    return STATUS_OK;
}

static enum status
secrets_copy(
    const struct tally_options *options, struct client_settings *settings, struct error *error)
{
    struct login_secrets *out = &settings->secrets;
    login_host_fill(out->host);
    if ((options->username == NULL) != (options->password == NULL))
        return error_set(error, STATUS_INVALID, "username and password need each other");
    if (options->username != NULL && options->shared_key == NULL)
        return error_set(error, STATUS_INVALID, "username and password need shared_key");
    enum status status =
        text_copy("shared_key", options->shared_key, out->shared_key, LOGIN_KEY_MAX, error);
    if (status == STATUS_OK)
        status = text_copy("username", options->username, out->username, LOGIN_USER_MAX, error);
    if (status == STATUS_OK)
        status = text_copy("password", options->password, out->password, LOGIN_KEY_MAX, error);
    return status;
}

static enum status
tls_copy(const struct tally_options *options, struct client_settings *settings, struct error *error)
{
    bool is_told = options->tls_ca_file != NULL || options->tls_server_name != NULL ||
                   options->tls_cert_file != NULL || options->tls_key_file != NULL ||
                   options->tls_skip_verify;
    if (!options->tls)
        return !is_told ? STATUS_OK
                        : error_set(error, STATUS_INVALID, "the options tls_... need tls");
    if ((options->tls_cert_file == NULL) != (options->tls_key_file == NULL))
        return error_set(error, STATUS_INVALID, "tls_cert_file and tls_key_file need each other");
    if (options->tls_skip_verify && options->tls_ca_file != NULL)
        return error_set(error, STATUS_INVALID, "tls_skip_verify does not look at tls_ca_file");
    for (uint32_t i = 0; i < settings->servers.count; i++)
        if (settings->servers.items[i].is_unix)
            return error_set(error, STATUS_INVALID, "tls is for HOST:PORT, not for unix sockets");
    settings->is_tls = true;
    settings->tls = (struct tls_options){
        .ca_file = options->tls_ca_file,
        .cert_file = options->tls_cert_file,
        .key_file = options->tls_key_file,
        .skip_verify = options->tls_skip_verify,
    };
    return text_copy(
        "tls_server_name", options->tls_server_name, settings->tls_name, SERVER_HOST_MAX, error);
}

static enum status
numbers_read(
    const struct tally_options *options, struct client_settings *settings, struct error *error)
{
    uint64_t buffer = options->buffer_bytes, batch = options->batch_bytes;
    uint64_t events = options->batch_events, age = options->batch_age_ms;
    uint64_t in_flight = options->in_flight_batches, ack = options->ack_timeout_ms;
    uint64_t connect = options->connect_timeout_ms;
    uint64_t retry_min = options->retry_min_ms, retry_max = options->retry_max_ms;
    // A longer smallest pause alone lengthens the largest one too.
    uint64_t pause_max = retry_min > 10000 ? retry_min : 10000;
    struct number numbers[] = {
        {"buffer_bytes",       &buffer,    64ULL << 20,  BACKLOG_SIZE_MIN, 1ULL << 40          },
        {"batch_bytes",        &batch,     256ULL << 10, 1,                SETTINGS_BATCH_MAX  },
        {"batch_events",       &events,    1000,         1,                SETTINGS_EVENTS_MAX },
        {"batch_age_ms",       &age,       50,           1,                UINT32_MAX          },
        {"in_flight_batches",  &in_flight, 8,            1,                SETTINGS_FLIGHTS_MAX},
        {"ack_timeout_ms",     &ack,       30000,        1,                UINT32_MAX          },
        {"connect_timeout_ms", &connect,   5000,         1,                UINT32_MAX          },
        {"retry_min_ms",       &retry_min, 100,          1,                UINT32_MAX          },
        {"retry_max_ms",       &retry_max, pause_max,    1,                UINT32_MAX          },
    };
    enum status status = numbers_check(numbers, sizeof numbers / sizeof numbers[0], error);
    if (status != STATUS_OK)
        return status;
    if (retry_min > retry_max)
        return error_set(error, STATUS_INVALID, "retry_min_ms is larger than retry_max_ms");
    settings->limits = (struct backlog_limits){
        .size = buffer,
        .batch_size = batch,
        .batch_events = (uint32_t)events,
        .backfill = settings->backfill,
    };
    settings->batch_age_ns = (int64_t)age * MS_NS;
    settings->in_flight_batches = (uint32_t)in_flight;
    settings->ack_timeout_ns = (int64_t)ack * MS_NS;
    settings->connect_timeout_ns = (int64_t)connect * MS_NS;
    settings->retry_min_ns = (int64_t)retry_min * MS_NS;
    settings->retry_max_ns = (int64_t)retry_max * MS_NS;
    return STATUS_OK;
}

enum status
client_settings_read(
    const struct tally_options *options, struct client_settings *out, struct error *error)
{
    *out = (struct client_settings){.on_refusal = options->on_refusal, .context = options->context};
    const char *servers = options->server != NULL ? options->server : SERVER_DEFAULT;
    enum status status = server_list_parse(servers, &out->servers, error);
    if (status == STATUS_OK)
        status = backfill_copy(options->backfill, out, error);
    if (status == STATUS_OK)
        status = spool_copy(options, out, error);
    if (status == STATUS_OK)
        status = secrets_copy(options, out, error);
    if (status == STATUS_OK)
        status = tls_copy(options, out, error);
    if (status == STATUS_OK)
        status = numbers_read(options, out, error);
    return status;
}
