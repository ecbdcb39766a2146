// Tiers whose unit price depends on a key.

#include "billing/price_events.h"
#include "billing/price_read.h"

static void
prices_read(
    struct price_reader *reader,
    const struct json *prices,
    bool is_tier,
    struct price_custom_tier *out)
{
    if (prices->type != JSON_OBJECT && !reader->is_strict) {
        out->fallback = price_read_price(reader, prices);
        return;
    }
    if (prices->type != JSON_OBJECT) {
        document_refuse(reader->in, prices, "expected an object with the price of each key");
        return;
    }
    struct arena *arena = reader->abacus->arena;
    struct price_key *keys = arena_array(arena, prices->count, struct price_key);
    if (prices->count > PRICE_KEYS_MAX)
        document_refuse(reader->in, prices, "has more than %d keys", PRICE_KEYS_MAX);
    for (const struct json *node = prices->first; node != NULL; node = node->next) {
        if (is_tier && bytes_equal(node->key, bytes_text("to")))
            continue;
        const struct rational *unit = price_read_price(reader, node);
        if (bytes_equal(node->key, bytes_text("default")))
            out->fallback = unit;
        if (node->key.size > PRICE_KEY_MAX)
            document_refuse(reader->in, node, "a key has at most %d bytes", PRICE_KEY_MAX);
        keys[out->keys_count++] = (struct price_key){arena_bytes(arena, node->key), unit};
    }
    out->keys = keys;
    // A run must have a price for whatever comes.
    if (reader->is_strict && out->fallback == NULL)
        document_refuse(reader->in, prices, "\"default\" is missing: the price of other keys");
}

// The prices of the keys stand in an object of their own, or beside "to".
static void
prices_find(struct price_reader *reader, const struct json *tier, struct price_custom_tier *out)
{
    static const char *const names[] = {"prices", "price", "unit", NULL};
    static const char *const keys[] = {"to", "prices", "price", "unit", NULL};
    static const char *const keys_strict[] = {"to", "prices", NULL};
    struct document *in = reader->in;
    const struct json *prices = price_member(tier, price_name(tier, names));
    if (prices != NULL || reader->is_strict)
        document_keys(in, tier, reader->is_strict ? keys_strict : keys);
    if (prices == NULL && (reader->is_strict || tier->count <= 1))
        document_refuse(in, tier, "\"prices\" is missing");
    if (!in->status)
        prices_read(reader, prices != NULL ? prices : tier, prices == NULL, out);
}

const struct price_custom_tier *
price_read_custom_tiers(struct price_reader *reader, const struct json *params, uint32_t *out_count)
{
    const struct json *tiers = document_array(reader->in, params, "tiers", PRICE_TIERS_MAX);
    if (tiers != NULL && tiers->count == 0)
        document_refuse(reader->in, tiers, "expected at least one tier");
    if (tiers == NULL || reader->in->status)
        return NULL;
    struct price_custom_tier *items =
        arena_array(reader->abacus->arena, tiers->count, struct price_custom_tier);
    const struct rational *above = &RATIONAL_ZERO;
    uint32_t count = 0;
    for (const struct json *node = tiers->first; node != NULL; node = node->next) {
        struct price_custom_tier *tier = &items[count++];
        const struct json *to = document_member(reader->in, node, "to");
        if (to != NULL && to->type != JSON_NULL)
            tier->to = price_read_node(reader, to, PRICE_NOT_NEGATIVE);
        price_bound_check(reader, node, tier->to, above);
        prices_find(reader, node, tier);
        if (reader->in->status)
            return NULL;
        above = tier->to;
    }
    *out_count = count;
    return items;
}
