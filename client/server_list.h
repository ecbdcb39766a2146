#pragma once
// The servers that a client may talk to, in the order of preference: "a:1,b:2,unix:/run/t.sock".
//
//     struct server_list list;
//     server_list_parse(text, &list, &error)
//     const struct server_name *name = &list.items[index];
//     server_list_print(&list, index, text)          // as it was written
//
// No name may hold a comma. Spaces around a name do not belong to it. Values. Thread: any.

#include "client/server_name.h"

enum {
    SERVERS_MAX = 8,
    SERVER_TEXT_MAX = PATH_MAX + 8,  // of one name
};

struct server_list {
    struct server_name items[SERVERS_MAX];
    uint32_t count;
};

// STATUS_INVALID names what is wrong with which of them.
enum status
server_list_parse(const char *text, struct server_list *out, struct error *error) CHECKED;
void server_list_print(const struct server_list *list, uint32_t index, char out[SERVER_TEXT_MAX]);
