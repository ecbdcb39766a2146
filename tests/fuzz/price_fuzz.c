// Lines that ask for a price, from anybody. Whatever they are, the answer is one line of JSON: a
// price, a list or an object of prices, or an error; the steps change nothing of it; and every
// item of a list or a split has its exact text.

#include "base/assert.h"
#include "base/json.h"
#include "billing/price_line.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const size_t LINE_MAX_SIZE = 1 << 14;

static const struct json *
answer_read(const struct buffer *text, struct arena *arena)
{
    struct json *root = NULL;
    struct error error;
    must(!buffer_failed(text) && text->size > 0);
    must(text->data[text->size - 1] == '\n');
    must(memchr(text->data, '\n', text->size - 1) == NULL);
    enum status status =
        json_parse(buffer_view(text), &(struct json_limits){0}, arena, &root, &error);
    must(status == STATUS_OK);
    return root;
}

// Every price has an exact text, the same in both answers.
static void
price_compare(const struct json *plain, const struct json *explained)
{
    const struct json *exact = json_member(plain, "exact");
    const struct json *again = json_member(explained, "exact");
    must(exact != NULL && exact->type == JSON_STRING && exact->text.size > 0);
    must(again != NULL && bytes_equal(exact->text, again->text));
    const struct json *rounded = json_member(plain, "rounded");
    if (rounded != NULL)
        must(bytes_equal(rounded->text, json_member(explained, "rounded")->text));
}

static void
answers_compare(const struct json *plain, const struct json *explained)
{
    const struct json *exact = json_member(plain, "exact");
    if (exact != NULL && exact->type == JSON_STRING) {
        price_compare(plain, explained);
        return;
    }
    must(plain->count == explained->count);
    const struct json *other = explained->first;
    for (const struct json *item = plain->first; item != NULL; item = item->next) {
        price_compare(item, other);
        other = other->next;
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    scoped(arena_done) struct arena arena = {0};
    scoped(buffer_done) struct buffer plain = {0};
    scoped(buffer_done) struct buffer explained = {0};
    if (size > LINE_MAX_SIZE)
        return 0;
    struct price_options options = {.currency = currency_find(bytes_text("USD"))};
    bool is_priced = price_line(bytes_of(data, size), &options, &arena, &plain);
    options.wants_steps = true;
    bool is_explained = price_line(bytes_of(data, size), &options, &arena, &explained);
    must(is_priced == is_explained);
    const struct json *root = answer_read(&plain, &arena);
    const struct json *error = json_member(root, "error");
    // A split may have a key "error", whose value is no text.
    must(is_priced || (error != NULL && error->type == JSON_STRING && error->text.size > 0));
    if (is_priced)
        answers_compare(root, answer_read(&explained, &arena));
    return 0;
}
