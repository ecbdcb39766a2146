// The other processes' side of control: by the read socket of the tallyd that writes the directory,
// or, when nobody listens, as its writer.

#include "base/assert.h"
#include "ledger/control_wire.h"
#include "ledger/ledger.h"

// A correction may look for its event in all of the log.
static const int CONTROL_TIMEOUT_S = 300;

static enum status
control_ask(
    struct memory_client *client,
    const struct control_request *request,
    struct control_answer *out,
    struct error *error)
{
    scoped(buffer_done) struct buffer frame = {0};
    struct bytes body;
    struct error said = {0};
    control_request_write(request, &frame);
    if (buffer_failed(&frame))
        return error_set(error, STATUS_NO_MEMORY, "no memory for a request");
    enum status status = memory_exchange(client, buffer_view(&frame), &body, error);
    if (status == STATUS_TIMEOUT || status == STATUS_CLOSED)
        return error_prefix(error, "the change may be made all the same, ask again");
    if (status)
        return status;
    if (!control_answer_read(body, out, &said))
        return error_set(error, STATUS_CLOSED, "read.sock answered in an unknown form");
    return said.status ? error_set(error, said.status, "%s", said.text) : STATUS_OK;
}

static enum status
control_alone(
    const char *dir,
    const struct control_request *request,
    struct control_answer *out,
    struct error *error)
{
    struct ledger *ledger = NULL;
    struct error closing = {0};
    const struct ledger_options options = {.is_visit = true};
    enum status status = ledger_open(dir, &options, &ledger, error);
    if (status)
        return status;
    status = control_run(ledger, request, out, error);
    if (ledger_close(ledger, &closing) && !status)
        status = error_set(error, closing.status, "%s", closing.text);
    return status;
}

static enum status
control_check(const struct control_request *request, struct error *error)
{
    const char *fault = NULL;
    if (request->kind == CONTROL_CORRECT)
        fault = correction_fault(&request->correction);
    if (request->kind == CONTROL_BACKFILL)
        fault = backfill_fault(&request->backfill);
    return fault != NULL ? error_set(error, STATUS_INVALID, "%s", fault) : STATUS_OK;
}

enum status
control_do(
    const char *dir,
    const struct control_request *request,
    struct control_answer *out,
    struct error *error)
{
    struct memory_client *client = NULL;
    enum status status = control_check(request, error);
    if (status)
        return status;
    status = memory_client_open(dir, &client, error);
    if (status == STATUS_NOT_FOUND)
        return control_alone(dir, request, out, error);
    if (status)
        return status;
    memory_client_wait(client, CONTROL_TIMEOUT_S);
    status = control_ask(client, request, out, error);
    memory_client_close(client);
    return status;
}

enum status
control_do_running(
    const char *dir,
    const struct control_request *request,
    int timeout_s,
    struct control_answer *out,
    struct error *error)
{
    struct memory_client *client = NULL;
    enum status status = control_check(request, error);
    if (status)
        return status;
    status = memory_client_open(dir, &client, error);
    if (status == STATUS_NOT_FOUND)
        return error_set(error, STATUS_CLOSED, "tallyd is away; nothing was changed");
    if (status)
        return status;
    memory_client_wait(client, timeout_s);
    status = control_ask(client, request, out, error);
    memory_client_close(client);
    return status;
}
