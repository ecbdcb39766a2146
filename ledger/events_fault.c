#include "ledger/events_fault.h"

#include "base/assert.h"
#include "base/buffer.h"
#include "ledger/shard_view.h"

#include <stdio.h>

enum { SHOWN_MAX = 64, LINE_MAX = 512 };

// The value in a message is cut, and made printable.
static void
text_show(struct bytes text, char out[4 * SHOWN_MAX + 8])
{
    bool is_cut = text.size > SHOWN_MAX;
    bytes_print(bytes_of(text.data, is_cut ? SHOWN_MAX : text.size), out, 4 * SHOWN_MAX + 5);
    if (is_cut)
        memcpy(out + strlen(out), "...", sizeof "...");
}

// Meters that look at the same property say the same.
static bool
is_said(const struct buffer *said, const char *line)
{
    struct bytes text = buffer_view(said);
    size_t size = strlen(line);
    for (size_t at = 0; at + size <= text.size; at++) {
        bool begins = at == 0 || text.data[at - 1] == '\n';
        bool ends = at + size == text.size || text.data[at + size] == '\n';
        if (begins && ends && memcmp(text.data + at, line, size) == 0)
            return true;
    }
    return false;
}

static void
line_say(const char *line, struct buffer *said)
{
    if (!is_said(said, line))
        buffer_format(said, "%s%s", said->size > 0 ? "\n" : "", line);
}

static void
fault_say(const struct meter_rule *rule, const struct entry *entry, struct buffer *said)
{
    char out[LINE_MAX] = "";
    char shown[4 * SHOWN_MAX + 8];
    struct bytes text = {NULL, 0};
    switch (meter_rule_fault(rule, entry, &text)) {
    case FOLD_USABLE: return;
    case FOLD_NO_PROPERTIES:
        // An empty map is no properties either: what OpenMeter says of each.
        line_say("invalid event: null and missing value property", said);
        __attribute__((fallthrough));
    case FOLD_MISSING:
        (void)snprintf(
            out,
            LINE_MAX,
            "invalid event: missing value property: \"%s\"",
            rule->meter->value_property);
        break;
    case FOLD_NULL: (void)snprintf(out, LINE_MAX, "invalid event: value cannot be null"); break;
    case FOLD_NAN: (void)snprintf(out, LINE_MAX, "invalid event: value cannot be NaN"); break;
    case FOLD_INFINITE:
        (void)snprintf(out, LINE_MAX, "invalid event: value cannot be infinity");
        break;
    case FOLD_TOO_LARGE:
        (void)snprintf(out, LINE_MAX, "invalid event: value must be below 10^19");
        break;
    case FOLD_NO_NUMBER:
        text_show(text, shown);
        (void)snprintf(
            out, LINE_MAX, "invalid event: value cannot be parsed as a number: %s", shown);
        break;
    case FOLD_NO_VALUE:
        (void)snprintf(out, LINE_MAX, "invalid event: value property cannot be parsed");
        break;
    }
    must(out[0] != '\0');
    line_say(out, said);
}

const char *
events_fault(const struct meter_set *set, const struct entry *entry, struct arena *arena)
{
    const struct meter_rule *rule = meter_set_first(set, entry->type);
    scoped(buffer_done) struct buffer said = {0};
    char line[LINE_MAX];
    if (rule == NULL) {
        bytes_print(entry->type, line, sizeof line);
        return arena_format(arena, "no meter found for event type: %s", line);
    }
    for (; rule != NULL; rule = rule->next_of_type)
        fault_say(rule, entry, &said);
    return said.size > 0 && !buffer_failed(&said) ? arena_text_of(arena, buffer_view(&said)) : NULL;
}
