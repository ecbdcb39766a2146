// Catalogues that somebody else wrote. A refusal says why; what is accepted reads twice alike, and
// each charge, written in its canonical form and read again, is the same charge.

#include "billing/catalog.h"

#include "base/assert.h"
#include "billing/document.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const size_t TEXT_SIZE_MAX = 1 << 16;

static void
charge_check(const struct charge *charge, struct arena *arena)
{
    scoped(buffer_done) struct buffer first = {0};
    scoped(buffer_done) struct buffer second = {0};
    struct json_out out = json_out_to(&first);
    charge_write(&out, charge);
    must(!buffer_failed(&first));
    struct json *root = NULL;
    struct error error = {0};
    enum status status =
        json_parse(buffer_view(&first), &(struct json_limits){0}, arena, &root, &error);
    must(status == STATUS_OK);
    struct document in = {.name = "again", .arena = arena, .error = &error};
    struct charge again = {0};
    charge_read(&in, root, &again);
    must(in.status == STATUS_OK);
    must(charge_equal(charge, &again));
    out = json_out_to(&second);
    charge_write(&out, &again);
    must(bytes_equal(buffer_view(&first), buffer_view(&second)));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    scoped(arena_done) struct arena arena = {0};
    struct catalog catalog = {0};
    struct catalog again = {0};
    struct error error = {0};
    if (size > TEXT_SIZE_MAX)
        return 0;
    enum status status = catalog_read(bytes_of(data, size), "fuzz", &arena, &catalog, &error);
    must((status == STATUS_OK) == (error.text[0] == '\0'));
    if (status)
        return 0;
    status = catalog_read(bytes_of(data, size), "fuzz", &arena, &again, &error);
    must(status == STATUS_OK && catalog.plans_count == again.plans_count);
    for (uint32_t i = 0; i < catalog.plans_count; i++) {
        const struct plan *plan = &catalog.plans[i];
        must(plan_terms_equal(plan, &again.plans[i]));
        for (uint32_t j = 0; j < plan->charges_count; j++)
            charge_check(&plan->charges[j], &arena);
    }
    return 0;
}
