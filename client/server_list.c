#include "client/server_list.h"

#include "base/assert.h"

#include <stdio.h>
#include <string.h>

// Copies what stands before the next comma, without the spaces around it. Returns where the rest
// begins, NULL when there is none; *out_is_whole is false when the name is too long for out.
static const char *
name_cut(const char *text, char out[SERVER_TEXT_MAX], bool *out_is_whole)
{
    const char *comma = strchr(text, ',');
    size_t size = comma != NULL ? (size_t)(comma - text) : strlen(text);
    size_t start = strspn(text, " ");
    start = start < size ? start : size;
    while (size > start && text[size - 1] == ' ')
        size--;
    *out_is_whole = size - start < SERVER_TEXT_MAX;
    size_t kept = *out_is_whole ? size - start : SERVER_TEXT_MAX - 1;
    memcpy(out, text + start, kept);
    out[kept] = '\0';
    return comma != NULL ? comma + 1 : NULL;
}

enum status
server_list_parse(const char *text, struct server_list *out, struct error *error)
{
    *out = (struct server_list){0};
    for (const char *rest = text; rest != NULL;) {
        char name[SERVER_TEXT_MAX];
        bool is_whole;
        if (out->count == SERVERS_MAX)
            return error_set(error, STATUS_INVALID, "server names more than %d", SERVERS_MAX);
        rest = name_cut(rest, name, &is_whole);
        if (!is_whole)
            return error_set(error, STATUS_INVALID, "server %u is too long", out->count + 1);
        enum status status = server_name_parse(name, &out->items[out->count], error);
        if (status != STATUS_OK)
            return status;
        out->count++;
    }
    must(out->count > 0);
    return STATUS_OK;
}

void
server_list_print(const struct server_list *list, uint32_t index, char out[SERVER_TEXT_MAX])
{
    must(index < list->count);
    const struct server_name *name = &list->items[index];
    if (name->is_unix)
        (void)snprintf(out, SERVER_TEXT_MAX, "unix:%s", name->path);
    else if (strchr(name->host, ':') != NULL)
        (void)snprintf(out, SERVER_TEXT_MAX, "[%s]:%s", name->host, name->port);
    else
        (void)snprintf(out, SERVER_TEXT_MAX, "%s:%s", name->host, name->port);
}
