#include "api/meter_find.h"

#include "api/meter_json.h"

#include <string.h>

// Keys are lower case, ULIDs upper case or digits; what looks like both is first a key.
enum status
meter_find(
    struct reader *reader,
    const char *id_or_key,
    struct arena *arena,
    struct meter *out,
    struct error *error)
{
    struct registry *registry = reader_registry(reader);
    struct meter *meters = NULL;
    uint32_t count = 0;
    enum status status = registry_list(registry, arena, &meters, &count, error);
    if (status)
        return status;
    const struct meter *found = NULL;
    for (uint32_t i = 0; i < count; i++) {
        char id[ULID_SIZE + 1];
        if (strcmp(meters[i].key, id_or_key) == 0) {
            *out = meters[i];
            return STATUS_OK;
        }
        meter_ulid(&meters[i], id);
        if (strcmp(id, id_or_key) == 0)
            found = &meters[i];
    }
    if (found == NULL)
        return error_set(error, STATUS_NOT_FOUND, "There is no meter %.64s.", id_or_key);
    *out = *found;
    return STATUS_OK;
}
