#include "tests/torture/place.h"

#include "base/assert.h"
#include "tests/torture/record.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

// No power is cut here, so a sync there proves nothing and takes most of the time.
void
place_make(char out[PLACE_SIZE])
{
    const char *place = getenv("TMPDIR");
    if (place == NULL)
        place = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    (void)snprintf(out, PLACE_SIZE, "%s/tally-crash-XXXXXX", place);
    must(mkdtemp(out) != NULL);
}

static int
remove_one(const char *path, const struct stat *stat, int kind, struct FTW *place)
{
    (void)stat;
    (void)kind;
    (void)place;
    return remove(path);
}

void
place_remove(const char *path)
{
    must(nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0);
}

uint64_t
place_mix(uint64_t a, uint64_t b)
{
    uint64_t z = a * 0x9e3779b97f4a7c15ULL + b + 0x632be59bd9b4e019ULL;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

int
place_run_recorded(const char *root, const char *file, const char *const *arguments)
{
    enum { ARGUMENTS_MAX = 6 };
    char self[PLACE_SIZE];
    char recorder[PLACE_SIZE + 32];
    char *command[ARGUMENTS_MAX + 2] = {self};
    int status = 0;
    ssize_t size = readlink("/proc/self/exe", self, sizeof self - 1);
    must(size > 0);
    self[size] = '\0';
    for (size_t i = 0; arguments[i] != NULL; i++) {
        must(i < ARGUMENTS_MAX);
        command[i + 1] = (char *)(uintptr_t)arguments[i];
    }
    (void)snprintf(recorder, sizeof recorder, "%s", self);
    (void)snprintf(strrchr(recorder, '/'), 32, "/librecorder.so");
    must(access(recorder, R_OK) == 0);
    pid_t child = fork();
    must(child >= 0);
    if (child == 0) {
        must(setenv("LD_PRELOAD", recorder, 1) == 0);
        must(setenv(RECORD_ROOT_VARIABLE, root, 1) == 0);
        must(setenv(RECORD_FILE_VARIABLE, file, 1) == 0);
        must(setenv(RECORD_SYNC_VARIABLE, "200", 1) == 0);
        must(setenv(RECORD_TICK_VARIABLE, "11000", 1) == 0);
        // The recorder stands before the sanitizer's library, and asks it nothing.
        must(setenv("ASAN_OPTIONS", "verify_asan_link_order=0", 1) == 0);
        (void)execv(self, command);
        _exit(127);
    }
    must(waitpid(child, &status, 0) == child);
    return status;
}

void
place_leave_socket(const char *dir)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int size = snprintf(address.sun_path, sizeof address.sun_path, "%s/read.sock", dir);
    if (size < 0 || (size_t)size >= sizeof address.sun_path)
        return;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(fd >= 0);
    (void)bind(fd, (const struct sockaddr *)&address, sizeof address);
    (void)close(fd);
}
