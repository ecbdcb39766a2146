#include "api/meter_find.h"

#include "api/meter_json.h"

#include <string.h>

// Whose ULID it is: that of no meter is stored, so all are read.
static enum status
ulid_find(
    struct registry *registry,
    const char *ulid,
    struct arena *arena,
    struct meter *out,
    struct error *error)
{
    struct meter *meters = NULL;
    uint32_t count = 0;
    enum status status = registry_list(registry, arena, &meters, &count, error);
    if (status)
        return status;
    for (uint32_t i = 0; i < count; i++) {
        char id[ULID_SIZE + 1];
        meter_ulid(&meters[i], id);
        if (strcmp(id, ulid) == 0) {
            *out = meters[i];
            return STATUS_OK;
        }
    }
    return error_set(error, STATUS_NOT_FOUND, "There is no meter %.64s.", ulid);
}

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
    enum status status = registry_find(registry, id_or_key, arena, out, error);
    return status == STATUS_NOT_FOUND ? ulid_find(registry, id_or_key, arena, out, error) : status;
}
