#include "ledger/horizon.h"

#include "base/assert.h"
#include "base/clock.h"
#include "ledger/state_meta.h"

#include <stdio.h>

enum {
    KINDS_UTC = 4,
    NAME_SIZE = 4,  // "made", "kept", "rule"
    KEY_SIZE = NAME_SIZE + 1 + 2,
    ZONE_PREFIX_SIZE = 5,  // "zone:"
};

static size_t
horizon_key(const char *name, const struct window_kind *kind, uint8_t out[KEY_SIZE])
{
    uint16_t zone = __builtin_bswap16(kind->zone_number);
    memcpy(out, name, NAME_SIZE);
    out[NAME_SIZE] = (uint8_t)kind->width;
    memcpy(out + NAME_SIZE + 1, &zone, sizeof zone);
    return KEY_SIZE;
}

static size_t
zone_key(const char *name, uint8_t out[ZONE_PREFIX_SIZE + ZONE_NAME_MAX])
{
    size_t size = strlen(name);
    must(size > 0 && size <= ZONE_NAME_MAX);
    memcpy(out, "zone:", ZONE_PREFIX_SIZE);
    memcpy(out + ZONE_PREFIX_SIZE, name, size);
    return ZONE_PREFIX_SIZE + size;
}

static struct horizon *
horizons_add(struct horizons *horizons, enum cell_width width, uint16_t zone_number)
{
    must(horizons->count < WINDOW_KINDS_MAX);
    struct horizon *one = &horizons->list[horizons->count++];
    *one = (struct horizon){
        .kind = {.width = width, .zone_number = zone_number}
    };
    return one;
}

// Zones whose numbers are read may come in any order; their kinds are listed by number.
static enum status
read_zones(struct tx *state, struct horizons *out, struct error *error)
{
    const struct bytes prefix = bytes_text("zone:");
    enum status status = STATUS_OK;
    struct walk walk = walk_open(state, STATE_DB_META);
    for (bool more = walk_seek(&walk, prefix); more && !status; more = walk_next(&walk)) {
        uint64_t number;
        if (walk.key.size <= prefix.size || memcmp(walk.key.data, prefix.data, prefix.size) != 0)
            break;
        struct bytes name = bytes_of(walk.key.data + prefix.size, walk.key.size - prefix.size);
        if (state_meta_read(walk.key, walk.value, &number) || number == 0 ||
            number > BILLING_ZONES_MAX || name.size > ZONE_NAME_MAX) {
            status = error_set(
                error,
                STATUS_CORRUPT,
                "state: the record of a zone is damaged: "
                "rebuild the state with `tally ledger rebuild`");
            break;
        }
        (void)bytes_to_text(name, out->zones[number - 1], sizeof out->zones[number - 1]);
        if (number > out->zones_count)
            out->zones_count = (uint32_t)number;
    }
    walk_done(&walk);
    return status;
}

static enum status
read_number(
    struct tx *state,
    const char *name,
    const struct window_kind *kind,
    uint64_t *out,
    struct error *error)
{
    uint8_t bytes[KEY_SIZE];
    struct bytes key = bytes_of(bytes, horizon_key(name, kind, bytes));
    struct bytes value;
    uint64_t number = 0;
    if (tx_get(state, STATE_DB_META, key, &value) && state_meta_read(key, value, &number)) {
        return error_set(
            error,
            STATUS_CORRUPT,
            "state: the record of how far windows are %s is damaged: "
            "rebuild the state with `tally ledger rebuild`",
            name);
    }
    *out = number;
    return STATUS_OK;
}

static enum status
read_time(
    struct tx *state,
    const char *name,
    const struct window_kind *kind,
    int64_t *out,
    struct error *error)
{
    uint64_t number = 0;
    enum status status = read_number(state, name, kind, &number, error);
    if (!status && number > (uint64_t)(INT64_MAX / SECOND_NS))
        return error_set(
            error, STATUS_CORRUPT, "state: windows are %s up to no time there is", name);
    *out = (int64_t)number;
    return status;
}

enum status
horizons_look(struct tx *state, struct horizons *out, struct error *error)
{
    static const enum cell_width utc[KINDS_UTC] = {
        CELL_QUARTER_HOUR, CELL_HOUR, CELL_DAY, CELL_MONTH};
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < KINDS_UTC; i++)
        (void)horizons_add(out, utc[i], 0);
    enum status status = read_zones(state, out, error);
    for (uint16_t number = 1; number <= out->zones_count; number++) {
        (void)horizons_add(out, CELL_ZONE_DAY, number);
        (void)horizons_add(out, CELL_ZONE_MONTH, number);
    }
    for (uint32_t i = 0; i < out->count && !status; i++) {
        struct horizon *one = &out->list[i];
        status = read_time(state, "made", &one->kind, &one->made_s, error);
        if (!status)
            status = read_time(state, "kept", &one->kind, &one->kept_s, error);
        if (!status && one->kind.zone_number > 0)
            status = read_number(state, "rule", &one->kind, &one->rules, error);
    }
    return status ? status : tx_check(state, error);
}

enum status
horizons_read(struct tx *state, struct horizons *out, struct error *error)
{
    enum status status = horizons_look(state, out, error);
    return status ? status : state_meta_check(state, error);
}

static void
horizon_give(struct horizon *one, const struct zone *zone)
{
    one->kind.zone = zone;
    if (one->made_s == 0 || zone_rules(zone, one->made_s) == one->rules)
        return;
    one->is_other = true;
    one->made_s = 0;
    one->kept_s = 0;
}

bool
horizons_zone(struct horizons *horizons, const struct zone *zone, bool is_new)
{
    uint32_t number = 1;
    while (number <= horizons->zones_count &&
           strcmp(horizons->zones[number - 1], zone_name(zone)) != 0)
        number++;
    if (number > horizons->zones_count) {
        if (!is_new || number > BILLING_ZONES_MAX)
            return false;
        (void)snprintf(
            horizons->zones[number - 1], sizeof horizons->zones[0], "%s", zone_name(zone));
        horizons->zones_count = number;
        (void)horizons_add(horizons, CELL_ZONE_DAY, (uint16_t)number);
        (void)horizons_add(horizons, CELL_ZONE_MONTH, (uint16_t)number);
    }
    for (uint32_t i = KINDS_UTC; i < horizons->count; i++) {
        if (horizons->list[i].kind.zone_number == number)
            horizon_give(&horizons->list[i], zone);
    }
    return true;
}

uint16_t
horizons_use(struct horizons *horizons, const struct zone *zone)
{
    if (!horizons_zone(horizons, zone, false))
        return 0;
    for (uint32_t i = KINDS_UTC; i < horizons->count; i++) {
        if (horizons->list[i].kind.zone == zone)
            return horizons->list[i].kind.zone_number;
    }
    must(false && "a zone that was just given to its kinds");
    return 0;
}

const struct horizon *
horizons_find(const struct horizons *horizons, enum cell_width width, uint16_t zone_number)
{
    for (uint32_t i = 0; i < horizons->count; i++) {
        const struct horizon *one = &horizons->list[i];
        if (one->kind.width == width && one->kind.zone_number == zone_number)
            return one;
    }
    return NULL;
}

bool
horizon_key_is(struct bytes key)
{
    static const char *const names[] = {"made", "kept", "rule"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (key.size == KEY_SIZE && memcmp(key.data, names[i], NAME_SIZE) == 0)
            return true;
    }
    return key.size > ZONE_PREFIX_SIZE && key.size <= ZONE_PREFIX_SIZE + ZONE_NAME_MAX &&
           memcmp(key.data, "zone:", ZONE_PREFIX_SIZE) == 0;
}

static void
write_number(struct tx *state, struct bytes key, int64_t number)
{
    uint8_t value[16];
    state_meta_write(key, (uint64_t)number, value);
    tx_put(state, STATE_DB_META, key, bytes_of(value, sizeof value));
}

void
horizon_write(struct tx *state, const struct horizons *horizons, const struct horizon *one)
{
    uint8_t key[ZONE_PREFIX_SIZE + ZONE_NAME_MAX];
    uint16_t zone = one->kind.zone_number;
    write_number(state, bytes_of(key, horizon_key("made", &one->kind, key)), one->made_s);
    write_number(state, bytes_of(key, horizon_key("kept", &one->kind, key)), one->kept_s);
    if (zone == 0)
        return;
    const struct zone *clock = one->kind.zone;
    uint64_t rules = clock != NULL ? zone_rules(clock, one->made_s) : 0;
    write_number(state, bytes_of(key, horizon_key("rule", &one->kind, key)), (int64_t)rules);
    write_number(state, bytes_of(key, zone_key(horizons->zones[zone - 1], key)), zone);
}
