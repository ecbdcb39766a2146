#include "billing/price_line.h"

#include "base/assert.h"
#include "base/clock.h"
#include "billing/price_words.h"

#include <string.h>

enum { MODEL_NAME_MAX = 64, LINE_DEPTH_MAX = 16, WORD_LISTS = 5 };

static struct price_words
words_at(uint32_t list)
{
    switch (list) {
    case 0: return price_words_usage();
    case 1: return price_words_level();
    case 2: return price_words_money();
    case 3: return price_words_split();
    default: return price_words_killbill();
    }
}

static const struct price_word *
word_find(const char *name)
{
    for (uint32_t list = 0; list < WORD_LISTS; list++) {
        struct price_words words = words_at(list);
        for (uint32_t i = 0; i < words.count; i++)
            if (strcmp(words.items[i].name, name) == 0)
                return &words.items[i];
    }
    return NULL;
}

// ---- what the words use

const struct rational *
call_units(struct price_call *call)
{
    if (call->units_node == NULL) {
        document_refuse(call->reader.in, call->params->parent, "\"units\" is missing");
        return &RATIONAL_ZERO;
    }
    return price_read_node(&call->reader, call->units_node, PRICE_ANY);
}

const struct rational *
call_number_or_units(struct price_call *call, const char *key)
{
    if (price_member(call->params, key) != NULL)
        return price_read_number(&call->reader, call->params, key, PRICE_ANY);
    if (call->units_node == NULL)
        return price_read_number(&call->reader, call->params, key, PRICE_ANY);
    return call_units(call);
}

const struct json *
call_units_types(struct price_call *call)
{
    const char *name = price_name(call->params, WORD_KEYS("usage", "units", "quantities"));
    const struct json *types = price_member(call->params, name);
    if (types != NULL || call->units_node == NULL || call->units_node->type != JSON_OBJECT)
        return types;
    call->has_types = true;
    return call->units_node;
}

struct price_item *
call_items(struct price_call *call, enum price_shape shape, uint32_t count)
{
    call->answer = (struct price_answer){
        shape, arena_array(call->reader.abacus->arena, count, struct price_item), count};
    return call->answer.items;
}

void
call_places(struct price_call *call, const struct rational *exact, int32_t places)
{
    *call_items(call, PRICE_ONE, 1) = (struct price_item){.exact = exact, .places = places};
}

void
call_major(struct price_call *call, const struct rational *exact)
{
    call_places(call, exact, call->decimals);
}

void
call_minor(struct price_call *call, const struct rational *exact)
{
    call_places(call, exact, 0);
}

void
call_quantity(struct price_call *call, const struct rational *exact)
{
    call_places(call, exact, PRICE_NOT_ROUNDED);
}

int64_t
call_date(struct price_call *call, const struct json *object, const char *key)
{
    struct document *in = call->reader.in;
    int64_t time_ns = 0;
    const char *text = document_text(in, object, key, 40);
    if (in->status)
        return 0;
    if (strlen(text) != 10 || clock_parse(bytes_text(text), &time_ns) != STATUS_OK)
        document_refuse(in, json_member(object, key), "expected a date such as \"2011-01-31\"");
    return time_ns / DAY_NS - (time_ns % DAY_NS < 0);
}

// ---- the question

// The keys of a word, and the decimals of a currency, which every model may name.
static void
keys_check(struct document *in, const struct json *params, const struct price_word *word)
{
    enum { KEYS_MAX = 32 };
    const char *keys[KEYS_MAX];
    uint32_t count = 0;
    for (const char *at = word->keys; *at != '\0'; at += *at == ' ') {
        size_t size = strcspn(at, " ");
        must(count + 3 < KEYS_MAX);
        keys[count++] = arena_text_of(in->arena, bytes_of(at, size));
        at += size;
    }
    keys[count++] = "decimals";
    keys[count++] = "currency_decimals";
    keys[count] = NULL;
    document_keys(in, params, keys);
}

static int32_t
decimals_read(struct price_call *call, const struct currency *currency)
{
    static const int64_t range[2] = {0, PRICE_DECIMALS_MAX};
    const char *key = price_name(call->params, WORD_KEYS("currency_decimals", "decimals"));
    return (int32_t)price_read_int(&call->reader, call->params, key, range, currency->decimals);
}

static const struct currency *
currency_read(struct document *in, const struct json *root, const struct currency *fallback)
{
    const char *code = document_text_optional(in, root, "currency", 3);
    if (code == NULL || in->status)
        return fallback;
    const struct currency *currency = currency_find(bytes_text(code));
    if (currency == NULL)
        document_refuse(
            in,
            json_member(root, "currency"),
            "\"%s\" is not the code of an active currency (ISO 4217)",
            code);
    return currency;
}

static void
line_price(struct price_call *call, const struct json *root, const struct price_options *options)
{
    struct document *in = call->reader.in;
    document_keys(in, root, WORD_KEYS("model", "params", "units", "currency", "id"));
    const char *name = document_text(in, root, "model", MODEL_NAME_MAX);
    const struct price_word *word = word_find(name);
    if (!in->status && word == NULL)
        document_refuse(in, json_member(root, "model"), "there is no price model \"%s\"", name);
    const struct currency *currency = currency_read(in, root, options->currency);
    call->params = document_member(in, root, "params");
    if (word == NULL || in->status)
        return;
    keys_check(in, call->params, word);
    if (in->status)
        return;
    call->units_node = price_member(root, "units");
    bool is_object = call->units_node != NULL && call->units_node->type == JSON_OBJECT;
    // Also of a model that does not ask for them: what is no number is somebody's mistake.
    if (call->units_node != NULL && !is_object)
        (void)price_read_node(&call->reader, call->units_node, PRICE_ANY);
    call->decimals = decimals_read(call, currency);
    if (!in->status)
        word->price(call);
    if (!in->status && is_object && !call->has_types)
        document_refuse(in, call->units_node, "expected a number, such as \"0.0025\"");
    if (!in->status && call->reader.abacus->is_too_long)
        document_refuse(in, root, "the exact amount would have more digits than anybody needs");
    must(in->status || call->answer.items != NULL);
}

// ---- the answer

static void
steps_write(struct json_out *out, const struct abacus_step *step, const struct abacus_step *end)
{
    json_key(out, "steps");
    json_begin(out, '[');
    for (; step != end; step = step->next)
        json_text(out, step->text);
    json_end(out, ']');
}

static void
item_write(struct json_out *out, struct abacus *abacus, const struct price_item *item)
{
    json_key(out, "exact");
    json_text(out, rational_text(item->exact, abacus->arena));
    if (item->places == PRICE_NOT_ROUNDED)
        return;
    const struct rational *rounded = item->rounded != NULL ? item->rounded : item->exact;
    json_key(out, "rounded");
    json_text(out, rational_text_places(rounded, (uint32_t)item->places, abacus->arena));
}

// A list's steps stand with its items, a map's with the first of them: they are the whole split's.
static void
answer_write(struct json_out *out, struct abacus *abacus, const struct price_answer *answer)
{
    if (answer->shape != PRICE_ONE)
        json_begin(out, answer->shape == PRICE_LIST ? '[' : '{');
    for (uint32_t i = 0; i < answer->count; i++) {
        const struct price_item *item = &answer->items[i];
        if (answer->shape == PRICE_MAP)
            json_key_bytes(out, item->key);
        json_begin(out, '{');
        item_write(out, abacus, item);
        if (abacus->wants_steps && answer->shape == PRICE_LIST)
            steps_write(out, item->first_step, i + 1 < answer->count ? item[1].first_step : NULL);
        else if (abacus->wants_steps && i == 0)
            steps_write(out, abacus->first, NULL);
        json_end(out, '}');
    }
    if (answer->shape != PRICE_ONE)
        json_end(out, answer->shape == PRICE_LIST ? ']' : '}');
}

static void
error_write(struct json_out *out, const struct error *error)
{
    json_begin(out, '{');
    json_key(out, "error");
    json_text(out, error->text);
    json_end(out, '}');
}

bool
price_line(
    struct bytes text,
    const struct price_options *options,
    struct arena *arena,
    struct buffer *buffer)
{
    const struct json_limits limits = {.size_max = PRICE_LINE_MAX, .depth_max = LINE_DEPTH_MAX};
    struct error error = {0};
    struct json *root = NULL;
    scoped(abacus_done) struct abacus abacus = {
        .arena = arena, .wants_steps = options->wants_steps};
    struct document in = {.arena = arena, .error = &error};
    struct price_call call = {
        .reader = {.in = &in, .abacus = &abacus}
    };
    in.status = json_parse(text, &limits, arena, &root, &error);
    if (!in.status)
        line_price(&call, root, options);
    struct json_out out = json_out_to(buffer);
    if (in.status)
        error_write(&out, &error);
    else
        answer_write(&out, &abacus, &call.answer);
    buffer_text(buffer, "\n");
    return !in.status;
}
