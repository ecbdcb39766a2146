// The layout of an entry, offsets from its first byte:
//
//     0    0x92, EventTime (0xd7 0x00, seconds and nanoseconds as big-endian uint32)
//     11   0x86, "subject": "s-00001234", "type": "load", "id": UUID, "value": fixint,
//     88   the value, "tokens": uint16,
//     99   "region": text of what is left
//
// Every field has a fixed place and width, so filling an entry is a handful of stores.
#include "bench/generate.h"

#include "base/assert.h"
#include "base/buffer.h"
#include "base/clock.h"
#include "base/pack.h"
#include "bench/weights.h"

const char GENERATE_TYPE[] = "load";

static const char SUBJECT[] = "s-00000000";
static const char ID[] = "00000000-0000-4000-8000-000000000000";
static const char REGIONS[8][3] = {"eu", "us", "ap", "sa", "af", "me", "ca", "au"};

enum {
    // Where the changing bytes of an entry lie.
    TIME_OFFSET = 3,
    SUBJECT_OFFSET = 12 + 8 + 1 + 2,  // of its digits
    ID_OFFSET = 12 + 8 + 11 + 5 + 5 + 3 + 2,
    VALUE_OFFSET = ID_OFFSET + 36 + 6,
    TOKENS_OFFSET = VALUE_OFFSET + 1 + 7 + 1,
    REGION_HEADER_OFFSET = TOKENS_OFFSET + 2 + 7,
    // Where the chunk lies, from the end of the frame.
    CHUNK_FROM_END = 16 + 6 + 1 + 8 + 1,
    // Sizes of tokens: 256 and up, in steps of 16, so that their shortest form has one width.
    TOKENS_FIRST = 256,
    TOKENS_STEP = 16,
};

// The text "region" must fill `budget` bytes with its header; a header may be wider than its text
// needs.
static uint32_t
region_header_size(uint32_t budget)
{
    if (budget <= 32)
        return 1;
    return budget <= 257 ? 2 : 3;
}

static void
region_header_write(uint8_t *out, uint32_t header_size, uint32_t size)
{
    switch (header_size) {
    case 1: out[0] = (uint8_t)(0xa0 | size); break;
    case 2:
        out[0] = 0xd9;
        out[1] = (uint8_t)size;
        break;
    default:
        out[0] = 0xda;
        out[1] = (uint8_t)(size >> 8);
        out[2] = (uint8_t)size;
        break;
    }
}

static uint32_t
region_budget(const struct generator *generator)
{
    return generator->options.event_size - REGION_HEADER_OFFSET;
}

static void
head_pack(const struct generator *generator, struct buffer *out)
{
    uint32_t events_size = generator->options.event_size * generator->options.chunk_events;
    pack_array(out, 3);
    pack_text(out, GENERATE_TYPE);
    buffer_u8(out, 0xc6);
    buffer_u32be(out, events_size);
}

static void
tail_pack(const struct generator *generator, struct buffer *out)
{
    static const char chunk[GENERATE_CHUNK_TEXT_SIZE + 1] = "0000000000000000";
    pack_map(out, 3);
    pack_text(out, "size");
    pack_uint(out, generator->options.chunk_events);
    pack_text(out, "chunk");
    pack_text(out, chunk);
    pack_text(out, "tally");
    pack_map(out, 1);
    pack_text(out, "results");
    pack_bool(out, true);
}

// Everything of an entry up to the region's header, with zeros where something changes.
static void
entry_pack(struct buffer *out)
{
    pack_array(out, 2);
    pack_event_time(out, SECOND_NS);
    pack_map(out, 6);
    pack_text(out, "subject");
    pack_text(out, SUBJECT);
    pack_text(out, "type");
    pack_text(out, GENERATE_TYPE);
    pack_text(out, "id");
    pack_text(out, ID);
    pack_text(out, "value");
    pack_uint(out, 1);
    pack_text(out, "tokens");
    pack_uint(out, TOKENS_FIRST);
    pack_text(out, "region");
    must(out->size == REGION_HEADER_OFFSET);
}

static void
tables_init(struct generator *generator)
{
    for (uint32_t i = 0; i < 10000; i++) {
        const char text[4] = {
            (char)('0' + i / 1000),
            (char)('0' + i / 100 % 10),
            (char)('0' + i / 10 % 10),
            (char)('0' + i % 10)};
        memcpy(&generator->digits[i], text, sizeof text);
    }
}

static enum status
range_check(const char *name, uint32_t value, uint32_t min, uint32_t max, struct error *error)
{
    if (value >= min && value <= max)
        return STATUS_OK;
    return error_set(error, STATUS_INVALID, "%s is %u; it may be %u to %u", name, value, min, max);
}

static enum status
options_check(const struct generate_options *options, struct error *error)
{
    enum status status = range_check(
        "event size", options->event_size, GENERATE_EVENT_MIN, GENERATE_EVENT_MAX, error);
    if (status == STATUS_OK)
        status = range_check("chunk", options->chunk_events, 1, GENERATE_CHUNK_EVENTS_MAX, error);
    if (status == STATUS_OK)
        status = range_check("subjects", options->subjects, 1, GENERATE_SUBJECTS_MAX, error);
    if (status == STATUS_OK)
        status = range_check("duplicates", options->duplicates_percent, 0, 90, error);
    uint64_t size = (uint64_t)options->event_size * options->chunk_events;
    if (status == STATUS_OK && size > GENERATE_EVENTS_SIZE_MAX)
        status = error_set(error, STATUS_INVALID, "a chunk would be larger than 8 MiB");
    return status;
}

enum status
generator_init(
    struct generator *generator, const struct generate_options *options, struct error *error)
{
    scoped(buffer_done) struct buffer head = {0};
    scoped(buffer_done) struct buffer tail = {0};
    enum status status = options_check(options, error);
    if (status != STATUS_OK)
        return status;
    *generator = (struct generator){.options = *options};
    generator->random = options->seed ^ (uint64_t)options->lane << 56;
    uint32_t budget = region_budget(generator);
    generator->region_size = budget - region_header_size(budget);
    tables_init(generator);
    head_pack(generator, &head);
    tail_pack(generator, &tail);
    if (buffer_failed(&head) || buffer_failed(&tail))
        return error_set(error, STATUS_NO_MEMORY, "no memory for a frame");
    generator->head_size = (uint32_t)head.size;
    generator->tail_size = (uint32_t)tail.size;
    return STATUS_OK;
}

uint32_t
generator_frame_size(const struct generator *generator)
{
    uint32_t events_size = generator->options.event_size * generator->options.chunk_events;
    return generator->head_size + events_size + generator->tail_size;
}

static void
entry_prepare(const struct generator *generator, const struct buffer *pattern, uint8_t *entry)
{
    uint32_t budget = region_budget(generator);
    uint32_t header_size = region_header_size(budget);
    memcpy(entry, pattern->data, pattern->size);
    region_header_write(entry + REGION_HEADER_OFFSET, header_size, generator->region_size);
    memset(entry + REGION_HEADER_OFFSET + header_size, '-', generator->region_size);
}

void
generator_prepare(const struct generator *generator, uint8_t *frame)
{
    scoped(buffer_done) struct buffer pattern = {0};
    scoped(buffer_done) struct buffer head = {0};
    scoped(buffer_done) struct buffer tail = {0};
    head_pack(generator, &head);
    tail_pack(generator, &tail);
    entry_pack(&pattern);
    must(!buffer_failed(&head) && !buffer_failed(&tail) && !buffer_failed(&pattern));
    memcpy(frame, head.data, head.size);
    uint8_t *entry = frame + head.size;
    for (uint32_t i = 0; i < generator->options.chunk_events; i++) {
        entry_prepare(generator, &pattern, entry);
        entry += generator->options.event_size;
    }
    memcpy(entry, tail.data, tail.size);
}

// splitmix64 (Steele, Lea, Flood): a bijection that mixes well.
static uint64_t
mix(uint64_t value)
{
    value += UINT64_C(0x9e3779b97f4a7c15);
    value = (value ^ value >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ value >> 27) * UINT64_C(0x94d049bb133111eb);
    return value ^ value >> 31;
}

static uint64_t
next_random(struct generator *generator)
{
    generator->random += UINT64_C(0xd1342543de82ef95);
    return mix(generator->random);
}

// The eight hexadecimal digits of a 32-bit value as one 64-bit word, lowest nibble first: the
// nibbles are spread to a byte each, then all eight become digits at once. The order is of no
// matter in a random id.
static uint64_t
hex_of(uint32_t value)
{
    uint64_t x = value;
    x = (x | x << 16) & UINT64_C(0x0000ffff0000ffff);
    x = (x | x << 8) & UINT64_C(0x00ff00ff00ff00ff);
    x = (x | x << 4) & UINT64_C(0x0f0f0f0f0f0f0f0f);
    uint64_t letters = (x + UINT64_C(0x0606060606060606)) >> 4 & UINT64_C(0x0101010101010101);
    return x + UINT64_C(0x3030303030303030) + letters * ('a' - '0' - 10);
}

// A UUID of version 4, form 8-4-4-4-12.
static void
id_put(uint8_t *out, uint64_t high, uint64_t low)
{
    static const char variants[4] = {'8', '9', 'a', 'b'};
    uint64_t words[4] = {
        hex_of((uint32_t)high),
        hex_of((uint32_t)(high >> 32)),
        hex_of((uint32_t)low),
        hex_of((uint32_t)(low >> 32)),
    };
    const uint8_t *middle = (const uint8_t *)&words[1], *late = (const uint8_t *)&words[2];
    memcpy(out, &words[0], 8);
    memcpy(out + 9, middle, 4);
    memcpy(out + 14, middle + 4, 4);
    memcpy(out + 19, late, 4);
    memcpy(out + 24, late + 4, 4);
    memcpy(out + 28, &words[3], 8);
    out[14] = '4';
    out[19] = (uint8_t)variants[low & 3];
}

static const uint64_t LOW_SALT = UINT64_C(0xa0761d6478bd642f);
static const uint64_t REST_SALT = UINT64_C(0xe7037ed1a0b428db);
static const uint64_t SUBJECT_SALT = UINT64_C(0x8ebc6af09c88c6e3);

struct event_values {
    uint32_t value;
    uint32_t tokens;
};

static uint32_t
subject_pick(const struct generator *generator, uint64_t base, uint64_t rest)
{
    const struct generate_options *options = &generator->options;
    if (options->weights != NULL)
        return weights_pick(options->weights, mix(base ^ SUBJECT_SALT));
    return (uint32_t)((rest >> 32) * options->subjects >> 32);
}

// Writes event number `key` of this lane.
static struct event_values
event_put(const struct generator *generator, uint8_t *entry, uint64_t key)
{
    uint64_t base = generator->options.seed + ((uint64_t)generator->options.lane << 48) + key;
    // Three values that do not wait for one another.
    uint64_t high = mix(base), low = mix(base ^ LOW_SALT), rest = mix(base ^ REST_SALT);
    struct event_values values = {
        .value = 1 + (uint32_t)(rest & 63),
        .tokens = TOKENS_FIRST + TOKENS_STEP * (uint32_t)(rest >> 6 & 63),
    };
    uint32_t region_header = region_header_size(region_budget(generator));
    uint32_t subject = subject_pick(generator, base, rest);
    memcpy(entry + SUBJECT_OFFSET, &generator->digits[subject / 10000], 4);
    memcpy(entry + SUBJECT_OFFSET + 4, &generator->digits[subject % 10000], 4);
    id_put(entry + ID_OFFSET, high, low);
    entry[VALUE_OFFSET] = (uint8_t)values.value;
    entry[TOKENS_OFFSET] = (uint8_t)(values.tokens >> 8);
    entry[TOKENS_OFFSET + 1] = (uint8_t)values.tokens;
    // The region's text is at least two bytes long at the smallest event size.
    memcpy(entry + REGION_HEADER_OFFSET + region_header, REGIONS[rest >> 12 & 7], 2);
    return values;
}

static void
time_put(uint8_t *entry, int64_t now_ns)
{
    uint32_t seconds = __builtin_bswap32((uint32_t)(now_ns / SECOND_NS));
    uint32_t rest = __builtin_bswap32((uint32_t)(now_ns % SECOND_NS));
    memcpy(entry + TIME_OFFSET, &seconds, sizeof seconds);
    memcpy(entry + TIME_OFFSET + 4, &rest, sizeof rest);
}

// One of the last events again, when chance says so and there are any.
static bool
is_duplicate(struct generator *generator, uint64_t *out_key)
{
    uint64_t made = generator->totals.events;
    if (generator->options.duplicates_percent == 0 || made == 0)
        return false;
    uint64_t random = next_random(generator);
    if ((random & 0xffffff) * 100 >> 24 >= generator->options.duplicates_percent)
        return false;
    uint64_t recent = made < GENERATE_RECENT_MAX ? made : GENERATE_RECENT_MAX;
    *out_key = made - 1 - (random >> 24) % recent;
    return true;
}

static void
chunk_put(uint8_t *out, uint64_t chunk)
{
    static const char hex[] = "0123456789abcdef";
    for (uint32_t i = 0; i < GENERATE_CHUNK_TEXT_SIZE; i++)
        out[i] = (uint8_t)hex[chunk >> (60 - 4 * i) & 15];
}

void
generator_fill(struct generator *generator, uint8_t *frame, uint64_t chunk, int64_t now_ns)
{
    struct generate_totals *totals = &generator->totals;
    uint8_t *entry = frame + generator->head_size;
    for (uint32_t i = 0; i < generator->options.chunk_events; i++) {
        uint64_t key;
        time_put(entry, now_ns);
        if (is_duplicate(generator, &key)) {
            (void)event_put(generator, entry, key);
            totals->duplicates++;
        } else {
            struct event_values values = event_put(generator, entry, totals->events);
            totals->events++;
            totals->value_sum += values.value;
            totals->tokens_sum += values.tokens;
        }
        entry += generator->options.event_size;
    }
    uint8_t *end = frame + generator_frame_size(generator);
    chunk_put(end - CHUNK_FROM_END, chunk);
}

void
generator_event(
    const struct generator *generator, const uint8_t *frame, uint32_t i, struct generated *out)
{
    uint32_t size = generator->options.event_size;
    uint32_t header = region_header_size(region_budget(generator));
    must(i < generator->options.chunk_events);
    const uint8_t *entry = frame + generator->head_size + (size_t)size * i;
    *out = (struct generated){
        .entry = bytes_of(entry, size),
        .subject = bytes_of(entry + SUBJECT_OFFSET - 2, sizeof SUBJECT - 1),
        .id = bytes_of(entry + ID_OFFSET, sizeof ID - 1),
        .region = bytes_of(entry + REGION_HEADER_OFFSET + header, sizeof REGIONS[0] - 1),
        .value = entry[VALUE_OFFSET],
        .tokens = (uint32_t)entry[TOKENS_OFFSET] << 8 | entry[TOKENS_OFFSET + 1],
    };
}

bool
generator_chunk_parse(const uint8_t *text, uint32_t size, uint64_t *out_chunk)
{
    uint64_t chunk = 0;
    if (size != GENERATE_CHUNK_TEXT_SIZE)
        return false;
    for (uint32_t i = 0; i < size; i++) {
        uint32_t digit = text[i];
        if (digit >= '0' && digit <= '9')
            digit -= '0';
        else if (digit >= 'a' && digit <= 'f')
            digit -= 'a' - 10;
        else
            return false;
        chunk = chunk << 4 | digit;
    }
    *out_chunk = chunk;
    return true;
}
