#include "bench/idle.h"

#include "base/pool.h"

#include <inttypes.h>
#include <sys/resource.h>
#include <unistd.h>

enum { FILES_BESIDE = 256 };  // that are open for other reasons

static enum status
files_allow(uint32_t count, struct error *error)
{
    struct rlimit limit;
    const rlim_t wanted = (rlim_t)count + FILES_BESIDE;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return error_set_errno(error, "cannot see the limit of open files");
    if (limit.rlim_cur >= wanted)
        return STATUS_OK;
    limit.rlim_cur = wanted;
    if (limit.rlim_max < wanted)
        limit.rlim_max = wanted;
    if (setrlimit(RLIMIT_NOFILE, &limit) == 0)
        return STATUS_OK;
    return error_set(
        error,
        STATUS_FULL,
        "%" PRIu32 " connections need as many open files: raise `ulimit -n`",
        count);
}

enum status
idle_open(const struct endpoint *endpoint, uint32_t count, struct idle *out, struct error *error)
{
    *out = (struct idle){0};
    if (count == 0)
        return STATUS_OK;
    enum status status = files_allow(count, error);
    if (status != STATUS_OK)
        return status;
    out->fds = pool_take(count, sizeof *out->fds);
    if (out->fds == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for connections");
    while (out->count < count && status == STATUS_OK) {
        status = endpoint_connect(endpoint, &out->fds[out->count], error);
        if (status == STATUS_OK)
            out->count++;
    }
    return status;
}

void
idle_close(struct idle *idle)
{
    for (uint32_t i = 0; i < idle->count; i++)
        close(idle->fds[i]);
    pool_give(idle->fds);
    *idle = (struct idle){0};
}
