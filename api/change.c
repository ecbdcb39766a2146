#include "api/change.h"

#include "api/api.h"

#include <stdatomic.h>
#include <string.h>

static enum status
change_ask(
    struct call *call,
    const struct control_request *request,
    struct control_answer *out,
    struct error *error)
{
    struct api *api = call->api;
    enum status status = STATUS_BUSY;
    uint32_t others = atomic_fetch_add_explicit(&api->changes, 1, memory_order_relaxed);
    if (others >= CHANGES_MAX)
        (void)error_set(
            error, status, "other changes of the ledger are being made; nothing was changed");
    else
        status = control_do_running(api->settings->data, request, CHANGE_TIMEOUT_S, out, error);
    atomic_fetch_sub_explicit(&api->changes, 1, memory_order_relaxed);
    return status;
}

bool
change_do(struct call *call, const struct control_request *request, struct control_answer *out)
{
    struct error error = {0};
    enum status status = change_ask(call, request, out, &error);
    if (status == STATUS_FULL)
        call_problem(call, 507, "%s", error.text);
    else if (status)
        call_failed(call, &error);
    return status == STATUS_OK;
}

struct bytes
change_who(const struct call *call, const char *who)
{
    if (who != NULL)
        return bytes_text(who);
    return bytes_text(arena_format(call->arena, "key %s", call->key_id));
}
