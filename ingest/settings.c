#include "ingest/settings.h"

#include "base/clock.h"
#include "ingest/listen.h"
#include "ledger/ledger.h"

#include <inttypes.h>
#include <stdlib.h>

#define OFFSET(member) offsetof(struct settings, member)

static const int64_t MEBIBYTE = INT64_C(1) << 20;
static const int64_t MEMORY_MIN = INT64_C(256) << 20;

static const struct option_row ROWS[] = {
    {.name = "data",
     .type = OPTION_TEXT,
     .offset = OFFSET(data),
     .env = "TALLY_DATA",
     .fallback = "./tally-data",
     .value_name = "DIR",
     .help = "data directory; made when it does not exist"},
    {.name = "tcp",
     .type = OPTION_TEXT,
     .offset = OFFSET(tcp),
     .env = "TALLY_TCP",
     .fallback = "127.0.0.1:24224",
     .value_name = "HOST:PORT",
     .help = "Forward protocol over TCP; port 0: any free one; none: off"},
    {.name = "udp",
     .type = OPTION_TEXT,
     .offset = OFFSET(udp),
     .env = "TALLY_UDP",
     .value_name = "HOST:PORT",
     .help = "Forward protocol over UDP (default as --tcp, 127.0.0.1:24224); none: off"},
    {.name = "udp-allow",
     .type = OPTION_TEXTS,
     .offset = OFFSET(udp_allow),
     .env = "TALLY_UDP_ALLOW",
     .value_name = "CIDR",
     .help = "take datagrams from this network only; needed beside a shared key"},
    {.name = "udp-buffer",
     .type = OPTION_SIZE,
     .offset = OFFSET(udp_buffer),
     .env = "TALLY_UDP_BUFFER",
     .fallback = "8M",
     .min = INT64_C(64) << 10,
     .max = INT64_C(1) << 30,
     .value_name = "SIZE",
     .help = "the kernel's buffer for datagrams (it may allow less)"},
    {.name = "unix",
     .type = OPTION_TEXT,
     .offset = OFFSET(unix_path),
     .env = "TALLY_UNIX",
     .value_name = "PATH",
     .help = "Forward protocol over a unix socket (default DIR/tallyd.sock)"},
    {.name = "metrics",
     .type = OPTION_TEXT,
     .offset = OFFSET(metrics),
     .env = "TALLY_METRICS",
     .fallback = "127.0.0.1:24280",
     .value_name = "HOST:PORT",
     .help = "HTTP for /metrics, /health and /rejects; none: off"},
    {.name = "shards",
     .type = OPTION_INT,
     .offset = OFFSET(shards),
     .env = "TALLY_SHARDS",
     .fallback = "0",
     .min = 0,
     .max = SHARDS_MAX,
     .value_name = "N",
     .help = "shards of a new ledger, fixed for good; 0: as it is, for a new one half the CPUs"},
    {.name = "map-size",
     .type = OPTION_SIZE,
     .offset = OFFSET(map_size),
     .env = "TALLY_MAP_SIZE",
     .fallback = "0",
     .min = 0,
     .max = INT64_MAX,
     .value_name = "SIZE",
     .help = "address space per environment of a new ledger; 0: 1T"},
    {.name = "frame-max",
     .type = OPTION_SIZE,
     .offset = OFFSET(frame_max),
     .env = "TALLY_FRAME_MAX",
     .fallback = "16M",
     .min = INT64_C(128) << 10,
     .max = INT64_C(256) << 20,
     .value_name = "SIZE",
     .help = "largest message; at least 128K, room for the largest event"},
    {.name = "connections-max",
     .type = OPTION_INT,
     .offset = OFFSET(connections_max),
     .env = "TALLY_CONNECTIONS_MAX",
     .fallback = "1024",
     .min = 1,
     .max = 65536,
     .value_name = "N",
     .help = "connections at a time; more are closed at once"},
    {.name = "connection-memory",
     .type = OPTION_SIZE,
     .offset = OFFSET(connection_memory),
     .env = "TALLY_CONNECTION_MEMORY",
     .fallback = "0",
     .min = 0,
     .max = INT64_C(1) << 40,
     .value_name = "SIZE",
     .help = "received bytes and unread acks of a connection; 0: twice --frame-max"},
    {.name = "memory",
     .type = OPTION_SIZE,
     .offset = OFFSET(memory),
     .env = "TALLY_MEMORY",
     .fallback = "0",
     .min = 0,
     .max = INT64_C(1) << 40,
     .value_name = "SIZE",
     .help = "all connections together; 0: 256M, or four times --frame-max + --inflated-max"},
    {.name = "inflated-max",
     .type = OPTION_SIZE,
     .offset = OFFSET(inflated_max),
     .env = "TALLY_INFLATED_MAX",
     .fallback = "64M",
     .min = INT64_C(64) << 10,
     .max = INT64_C(1) << 30,
     .value_name = "SIZE",
     .help = "largest inflated content of a compressed message (over UDP at most 4M)"},
    {.name = "ratio-max",
     .type = OPTION_INT,
     .offset = OFFSET(ratio_max),
     .env = "TALLY_RATIO_MAX",
     .fallback = "200",
     .min = 1,
     .max = 2000,
     .value_name = "N",
     .help = "inflated bytes for each compressed one, beyond 64 KiB"},
    {.name = "shared-key-file",
     .type = OPTION_TEXT,
     .offset = OFFSET(key_file),
     .env = "TALLY_SHARED_KEY_FILE",
     .value_name = "FILE",
     .help = "clients must know the key in it (or in TALLY_SHARED_KEY)"},
    {.name = "users",
     .type = OPTION_TEXT,
     .offset = OFFSET(users_file),
     .env = "TALLY_USERS",
     .value_name = "FILE",
     .help = "clients must also be one of its `user = password [scope]` lines"},
    {.name = "tls-cert",
     .type = OPTION_TEXT,
     .offset = OFFSET(tls.certificate),
     .env = "TALLY_TLS_CERT",
     .value_name = "FILE",
     .help = "TLS on the TCP listener: our certificate and its chain (PEM)"},
    {.name = "tls-key",
     .type = OPTION_TEXT,
     .offset = OFFSET(tls.key),
     .env = "TALLY_TLS_KEY",
     .value_name = "FILE",
     .help = "its private key (PEM), mode 600 or 640"},
    {.name = "tls-client-ca",
     .type = OPTION_TEXT,
     .offset = OFFSET(tls.client_ca),
     .env = "TALLY_TLS_CLIENT_CA",
     .value_name = "FILE",
     .help = "clients must show a certificate of one of these authorities (PEM)"},
    {.name = "handshake-timeout",
     .type = OPTION_DURATION,
     .offset = OFFSET(handshake_ns),
     .env = "TALLY_HANDSHAKE_TIMEOUT",
     .fallback = "10s",
     .min = INT64_C(1000000),
     .max = INT64_C(3600) * 1000000000,
     .value_name = "TIME",
     .help = "how long a client may take for TLS and to show the key"},
    {.name = "dedup-window",
     .type = OPTION_DURATION,
     .offset = OFFSET(dedup_window_ns),
     .env = "TALLY_DEDUP_WINDOW",
     .min = 1,
     .max = INT64_MAX / 4,
     .value_name = "TIME",
     .help = "how long a resent event is known; at least --past and --future together "
             "(default: as the ledger has it, 36d in a new one)"},
    {.name = "keep-quarter-hours",
     .type = OPTION_DURATION,
     .offset = OFFSET(keep_quarter_hours_ns),
     .env = "TALLY_KEEP_QUARTER_HOURS",
     .max = INT64_MAX / 4,
     .value_name = "TIME",
     .help = "how long usage is kept by the quarter hour; 0: for good "
             "(default: as the ledger has it, 3d in a new one)"},
    {.name = "keep-hours",
     .type = OPTION_DURATION,
     .offset = OFFSET(keep_hours_ns),
     .env = "TALLY_KEEP_HOURS",
     .max = INT64_MAX / 4,
     .value_name = "TIME",
     .help = "likewise by the hour; days and months are kept for good "
             "(default: as the ledger has it, 400d in a new one)"},
    {.name = "keep-log",
     .type = OPTION_DURATION,
     .offset = OFFSET(keep_log_ns),
     .env = "TALLY_KEEP_LOG",
     .max = INT64_MAX / 4,
     .value_name = "TIME",
     .help = "how long the events themselves are kept; 0: for good "
             "(default: as the ledger has it, for good in a new one)"},
    {.name = "max-groups",
     .type = OPTION_INT,
     .offset = OFFSET(groups_max),
     .env = "TALLY_MAX_GROUPS",
     .min = 1,
     .max = 1000000,
     .value_name = "N",
     .help = "groups (by dimensions) that an hour, a day or a month of a subject and meter keeps; "
             "of more it keeps the total (default: as the ledger has it, 1000 in a new one)"},
    {.name = "billing-zones",
     .type = OPTION_TEXT,
     .offset = OFFSET(billing_zones_text),
     .env = "TALLY_BILLING_ZONES",
     .value_name = "LIST",
     .help = "time zones, separated by commas, whose days and months are kept like those of UTC; "
             "none: no other (default: as the ledger has it)"},
    {.name = "dedup-memory",
     .type = OPTION_SIZE,
     .offset = OFFSET(dedup_memory),
     .env = "TALLY_DEDUP_MEMORY",
     .fallback = "2G",
     .min = 0,
     .max = INT64_C(1) << 40,
     .value_name = "SIZE",
     .help = "for the filters of known events; beyond it the oldest are looked up on disk"},
    {.name = "stall-timeout",
     .type = OPTION_DURATION,
     .offset = OFFSET(stall_ns),
     .env = "TALLY_STALL_TIMEOUT",
     .fallback = "30s",
     .min = INT64_C(1000000),
     .max = INT64_C(86400) * 1000000000,
     .value_name = "TIME",
     .help = "how long a client may leave a message unfinished or acks unread"},
    {.name = "idle-timeout",
     .type = OPTION_DURATION,
     .offset = OFFSET(idle_ns),
     .env = "TALLY_IDLE_TIMEOUT",
     .fallback = "1d",
     .min = INT64_C(1000000),
     .max = INT64_C(365) * 86400 * 1000000000,
     .value_name = "TIME",
     .help = "how long a client may say nothing between messages"},
    {.name = "past",
     .type = OPTION_DURATION,
     .offset = OFFSET(past_ns),
     .env = "TALLY_PAST",
     .fallback = "35d",
     .min = 1,
     .max = INT64_MAX / 4,
     .value_name = "TIME",
     .help = "how old an event may be, backfills aside"},
    {.name = "future",
     .type = OPTION_DURATION,
     .offset = OFFSET(future_ns),
     .env = "TALLY_FUTURE",
     .fallback = "5m",
     .min = 1,
     .max = INT64_MAX / 4,
     .value_name = "TIME",
     .help = "how far ahead an event's time may be"},
    {.name = "insecure",
     .type = OPTION_FLAG,
     .offset = OFFSET(is_insecure),
     .env = "TALLY_INSECURE",
     .help = "listen beyond this machine without authentication"},
    {.name = "log-format",
     .type = OPTION_TEXT,
     .offset = OFFSET(log_format_text),
     .env = "TALLY_LOG_FORMAT",
     .fallback = "text",
     .value_name = "text|json",
     .help = "form of the log's lines"},
    {.name = "log-level",
     .type = OPTION_TEXT,
     .offset = OFFSET(log_level_text),
     .env = "TALLY_LOG_LEVEL",
     .fallback = "info",
     .value_name = "LEVEL",
     .help = "debug, info, warn or error"},
    {.name = "config",
     .type = OPTION_TEXT,
     .offset = OFFSET(config),
     .env = "TALLYD_CONFIG",
     .value_name = "FILE",
     .help = "file of `key = value` lines"},
    {.name = NULL                                                       },
};

static const struct option_spec SPEC = {
    .program = "tallyd",
    .summary = "takes usage events over the Fluent Forward protocol and keeps them",
    .usage = "[options]",
    .details =
        "An ack means: in the log and fsynced, or known already, or rejected for a stated reason.\n"
        "SIGTERM drains: what arrived whole is committed and acked, then it exits 0.\n"
        "SIGHUP reads the files of --tls-cert, --tls-key and --tls-client-ca again.\n"
        "Exit status: 0 success, 1 failure, 2 usage.\n",
    .rows = ROWS,
};

enum option_result
settings_read(int argc, char **argv, struct arena *arena, struct settings *out, struct error *error)
{
    struct option_texts_rest rest = {0};
    out->keep_quarter_hours_ns = SETTINGS_AS_IT_IS;
    out->keep_hours_ns = SETTINGS_AS_IT_IS;
    out->keep_log_ns = SETTINGS_AS_IT_IS;
    return options_read(&SPEC, argc, argv, out, arena, &rest, error);
}

bool
settings_is_none(const char *address)
{
    return strcmp(address, "none") == 0;
}

// may_be_far: whoever reaches it has to show a key, or the operator said that it is insecure.
static enum status
address_check(const char *option, const char *address, bool may_be_far, struct error *error)
{
    bool is_loopback = false;
    if (settings_is_none(address))
        return STATUS_OK;
    enum status status = listen_is_loopback(address, &is_loopback, error);
    if (status)
        return error_prefix(error, "--%s", option);
    if (!is_loopback && !may_be_far)
        return error_set(
            error,
            STATUS_INVALID,
            "--%s %s can be reached from other machines, and whoever reaches it can write or read "
            "usage: listen on 127.0.0.1 or [::1], give the clients of --tcp a shared key "
            "(--shared-key-file), or say --insecure where the network itself is trusted",
            option,
            address);
    return STATUS_OK;
}

// Anybody can forge a datagram, so beyond this machine either the senders' networks are named or
// the operator has said that the network is trusted.
static enum status
udp_check(struct settings *settings, struct arena *arena, struct error *error)
{
    bool is_asked = settings->udp != NULL && !settings_is_none(settings->udp);
    if (settings->udp == NULL)
        settings->udp = settings->tcp;
    size_t count = settings->udp_allow.count;
    struct network *allowed = arena_array(arena, count > 0 ? count : 1, struct network);
    for (size_t i = 0; i < count; i++)
        if (network_parse(settings->udp_allow.items[i], &allowed[i], error))
            return error_prefix(error, "--udp-allow");
    settings->udp_allowed = allowed;
    settings->udp_allowed_count = count;
    // A datagram cannot show the shared key: then only named networks may send any.
    bool is_barred = credentials_are_set(&settings->credentials) && count == 0;
    if (is_barred && is_asked)
        return error_set(
            error,
            STATUS_INVALID,
            "--udp %s: datagrams cannot show the shared key; name the senders' networks with "
            "--udp-allow CIDR, or leave --udp out",
            settings->udp);
    if (is_barred)
        settings->udp = "none";
    if (settings_is_none(settings->udp))
        return STATUS_OK;
    bool is_loopback = false;
    enum status status = listen_is_loopback(settings->udp, &is_loopback, error);
    if (status)
        return error_prefix(error, "--udp");
    if (is_loopback || count > 0 || settings->is_insecure)
        return STATUS_OK;
    return error_set(
        error,
        STATUS_INVALID,
        "--udp %s can be reached from other machines, and datagrams prove nothing about who sent "
        "them: name the senders' networks with --udp-allow CIDR, listen on 127.0.0.1 or [::1], or "
        "say --insecure where the network itself is trusted",
        settings->udp);
}

static enum status
memory_check(struct settings *settings, struct error *error)
{
    if (settings->connection_memory == 0)
        settings->connection_memory = settings->frame_max * 2;
    if (settings->memory == 0) {
        int64_t wanted = settings->frame_max * 4 + settings->inflated_max;
        settings->memory = wanted > MEMORY_MIN ? wanted : MEMORY_MIN;
    }
    if (settings->connection_memory < settings->frame_max)
        return error_set(
            error,
            STATUS_INVALID,
            "--connection-memory must be at least --frame-max (%" PRId64 " MiB)",
            settings->frame_max / MEBIBYTE);
    int64_t needed = settings->frame_max * 2 + settings->inflated_max;
    if (settings->memory < needed)
        return error_set(
            error,
            STATUS_INVALID,
            "--memory must be at least twice --frame-max and once --inflated-max (%" PRId64 " MiB)",
            needed / MEBIBYTE);
    return STATUS_OK;
}

static enum status
keys_check(struct settings *settings, struct arena *arena, struct error *error)
{
    struct credential_sources sources = {
        .key_file = settings->key_file,
        .key_text = getenv("TALLY_SHARED_KEY"),  // NOLINT(concurrency-mt-unsafe): no thread yet
        .users_file = settings->users_file,
    };
    return credentials_read(&sources, arena, &settings->credentials, error);
}

static enum status
tls_check(const struct settings *settings, struct error *error)
{
    const struct tls_files *tls = &settings->tls;
    if ((tls->certificate == NULL) != (tls->key == NULL))
        return error_set(error, STATUS_INVALID, "--tls-cert and --tls-key: give both, or neither");
    if (tls->client_ca != NULL && tls->certificate == NULL)
        return error_set(error, STATUS_INVALID, "--tls-client-ca needs --tls-cert and --tls-key");
    if (tls->certificate != NULL && settings_is_none(settings->tcp))
        return error_set(error, STATUS_INVALID, "--tls-cert is for --tcp, which is none");
    return STATUS_OK;
}

// The names between the commas; the ledger knows whether they are zones.
static enum status
zones_check(struct settings *settings, struct arena *arena, struct error *error)
{
    const char *text = settings->billing_zones_text;
    if (text == NULL)
        return STATUS_OK;
    const char **zones = arena_array(arena, strlen(text) + 1, const char *);
    settings->billing_zones = zones;
    if (strcmp(text, "none") == 0)
        return STATUS_OK;
    for (const char *at = text;; at++) {
        const char *end = strchrnul(at, ',');
        if (end == at)
            return error_set(
                error,
                STATUS_INVALID,
                "--billing-zones %s: names such as Europe/Berlin, separated by commas, or none",
                text);
        zones[settings->billing_zones_count++] =
            arena_text_of(arena, bytes_of(at, (size_t)(end - at)));
        at = end;
        if (*at == '\0')
            return STATUS_OK;
    }
}

enum status
settings_check(struct settings *settings, struct arena *arena, struct error *error)
{
    if (!log_format_parse(settings->log_format_text, &settings->log_format))
        return error_set(
            error, STATUS_INVALID, "--log-format %s: text or json", settings->log_format_text);
    if (!log_level_parse(settings->log_level_text, &settings->log_level))
        return error_set(
            error,
            STATUS_INVALID,
            "--log-level %s: debug, info, warn or error",
            settings->log_level_text);
    if (settings->unix_path == NULL)
        settings->unix_path = arena_format(arena, "%s/tallyd.sock", settings->data);
    enum status status = zones_check(settings, arena, error);
    if (status == STATUS_OK)
        status = tls_check(settings, error);
    if (status == STATUS_OK)
        status = keys_check(settings, arena, error);
    bool may_be_far = settings->is_insecure || credentials_are_set(&settings->credentials);
    if (status == STATUS_OK)
        status = address_check("tcp", settings->tcp, may_be_far, error);
    if (status == STATUS_OK)
        status = udp_check(settings, arena, error);
    if (status == STATUS_OK)
        status = address_check("metrics", settings->metrics, settings->is_insecure, error);
    return status ? status : memory_check(settings, error);
}
