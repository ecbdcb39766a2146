#include "ledger/lmdb_crash.h"

#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static _Thread_local const char *path_now;

static struct iovec
part(const char *text)
{
    struct iovec out = {.iov_len = strlen(text)};
    // writev does not write to it, but does not say so.
    memcpy(&out.iov_base, &text, sizeof text);
    return out;
}

void
crash_tell(const char *path, const char *name)
{
    const struct iovec parts[] = {
        part(path),
        part(": reading it crashed ("),
        part(name),
        part("): it seems to be damaged; look with `tally ledger verify`, then mend it "
             "with `tally ledger repair`\n"),
    };
    (void)!writev(STDERR_FILENO, parts, sizeof parts / sizeof parts[0]);
}

static struct sigaction before_segv, before_bus;

// The signal comes again, and does what it would have done.
static void
on_crash(int number)
{
    (void)sigaction(number, number == SIGBUS ? &before_bus : &before_segv, NULL);
    if (path_now != NULL)
        crash_tell(path_now, number == SIGBUS ? "SIGBUS" : "SIGSEGV");
}

void
crash_guard(void)
{
    struct sigaction action = {.sa_handler = on_crash};
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGSEGV, &action, &before_segv);
    (void)sigaction(SIGBUS, &action, &before_bus);
}

void
crash_reading(const char *path)
{
    path_now = path;
}

void
crash_forget(const char *path)
{
    if (path_now == path)
        path_now = NULL;
}
