// Corrections that no ledger writes, and what verify says of them.

#include "ledger/intake.h"
#include "ledger/verify.h"
#include "tests/ledger/writing.h"

#include <criterion/criterion.h>

#include <string.h>

static void
count_wrong(void *context, const struct verify_finding *finding)
{
    uint64_t *count = context;
    *count += strstr(finding->what, "corrects what does not count") != NULL;
}

static uint64_t
findings(const struct writing *writing)
{
    uint64_t count = 0;
    struct error error = {0};
    struct verify_summary summary;
    const struct verify_options options = {.on_finding = count_wrong, .context = &count};
    succeed(verify_run(writing->dir, &options, &summary, &error), &error);
    cr_assert_eq(summary.findings > 0, count > 0);
    return count;
}

// As control would write it, but nobody asks whether it may be. *out_block: where it lies.
static void
correct(
    struct writing *writing,
    enum entry_kind kind,
    const struct event_bytes *event,
    uint64_t block,
    uint64_t *out_block)
{
    uint8_t raw[512];
    struct entry entry = {
        .kind = kind,
        .time_ns = writing_now_ns,
        .value = DECIMAL_ONE,
        .subject = event->event.subject,
        .type = event->event.type,
        .id = event->event.id,
        .properties = event->event.properties[0],
        .properties_count = event->event.properties_count,
        .note = {.who = bytes_text("me"), .why = bytes_text("so"), .block = block},
    };
    if (kind == ENTRY_AMEND)
        entry.note.amended = (struct entry_payload){
            .type = entry.type,
            .value = entry.value,
            .properties = entry.properties,
            .properties_count = entry.properties_count,
        };
    cr_assert(entry_is_sound(&entry) && entry_raw_size(&entry) <= sizeof raw);
    entry_put(&entry, raw);
    struct order order = {
        .kind = ORDER_CORRECT, .entry = &entry, .raw = bytes_of(raw, entry_raw_size(&entry))};
    writing_order(writing, 0, &order);
    *out_block = order.block;
}

struct wrong_row {
    const char *what;
    enum entry_kind second;  // after an amend or a cancel of the first event,
    enum entry_kind first;
    bool is_of_first;  // takes out what the first took out; else what the first is
    bool is_of_other;  // or the other event's place
    uint64_t findings;
};

static const struct wrong_row rows[] = {
    {"an amend of an amend",      ENTRY_AMEND,  ENTRY_AMEND,  false, false, 0},
    {"a cancel of an amend",      ENTRY_CANCEL, ENTRY_AMEND,  false, false, 0},
    {"twice amended",             ENTRY_AMEND,  ENTRY_AMEND,  true,  false, 1},
    {"cancelled behind an amend", ENTRY_CANCEL, ENTRY_AMEND,  true,  false, 1},
    {"twice cancelled",           ENTRY_CANCEL, ENTRY_CANCEL, true,  false, 1},
    {"the cancel itself",         ENTRY_CANCEL, ENTRY_CANCEL, false, false, 1},
    {"another event",             ENTRY_CANCEL, ENTRY_AMEND,  false, true,  1},
};

Test(verify_correct, each_takes_out_one_that_counts)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct wrong_row *row = &rows[i];
        struct writing writing;
        struct event_bytes event;
        struct event_bytes other;
        uint64_t block = 0;
        uint64_t last = 0;
        writing_begin(&writing, 1);
        writing_open(&writing, NULL);
        event_make(&event, "s", "a", 1);
        event_make(&other, "s", "b", 1);
        cr_assert_eq(writing_fate(&writing, &event.event), FATE_STORED);
        cr_assert_eq(writing_fate(&writing, &other.event), FATE_STORED);
        correct(&writing, row->first, &event, 1, &block);
        if (row->is_of_first || row->is_of_other)
            block = row->is_of_first ? 1 : 2;
        correct(&writing, row->second, &event, block, &last);
        cr_assert_eq(last, 4);
        writing_close(&writing);
        cr_assert_eq(findings(&writing), row->findings, "%s", row->what);
        writing_end(&writing);
    }
}
