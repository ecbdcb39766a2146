// GET /api/v1/info/progress/{clientId}: how far a question is that brought a clientId.

#include "api/progress.h"

#include "api/api.h"
#include "api/call.h"
#include "api/routes.h"
#include "base/clock.h"

void
progress_get(struct call *call)
{
    struct progress_state state;
    char updated[CLOCK_TEXT_MAX];
    if (!progress_find(&call->api->progress, call->params[0], &state)) {
        call_problem(call, 404, "There is no question %s.", call->params[0]);
        return;
    }
    (void)clock_print(state.updated_ns, updated);
    struct json_out *out = call_json(call, 200);
    json_begin(out, '{');
    json_key(out, "success");
    json_int(out, state.success);
    json_key(out, "failed");
    json_int(out, state.failed);
    json_key(out, "total");
    json_int(out, state.total);
    json_key(out, "updatedAt");
    json_text(out, updated);
    json_end(out, '}');
}
