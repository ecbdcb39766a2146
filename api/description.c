#include "api/description.h"

#include "api/description_page.h"
#include "api/yaml.h"

enum status
description_open(struct arena *arena, const struct description **out, struct error *error)
{
    scoped(buffer_done) struct buffer json = {0}, page = {0};
    struct description *description = arena_new(arena, struct description);
    struct json *root = NULL;
    description->yaml = bytes_of(OPENAPI_YAML, OPENAPI_YAML_SIZE);
    enum status status = yaml_read(description->yaml, &json, error);
    if (status)
        return status;
    description->json = arena_bytes(arena, buffer_view(&json));
    status = json_parse(description->json, NULL, arena, &root, error);
    if (status)
        return status;
    description_page(root, &page);
    if (buffer_failed(&page))
        return error_set(error, STATUS_NO_MEMORY, "no memory for the API's page");
    description->html = arena_bytes(arena, buffer_view(&page));
    *out = description;
    return STATUS_OK;
}
