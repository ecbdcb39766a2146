#include "ledger/files.h"

#include "base/assert.h"
#include "base/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DIR_MODE = 02770, FILES_STEP = 64 << 10, PIECE_SIZE = 1 << 20 };

enum status
path_make(struct path *out, const char *dir, const char *below, struct error *error)
{
    size_t dir_size = strlen(dir);
    size_t below_size = strlen(below);
    if (dir_size + below_size + 2 > sizeof out->text)
        return error_set(error, STATUS_INVALID, "%s: path is too long", dir);
    memcpy(out->text, dir, dir_size);
    out->text[dir_size] = below_size > 0 ? '/' : '\0';
    memcpy(out->text + dir_size + (below_size > 0), below, below_size + 1);
    return STATUS_OK;
}

enum status
dir_make(const char *path, struct error *error)
{
    if (mkdir(path, 0770) == 0) {
        // mkdir does not take the setgid bit, and the umask may have taken the group's.
        if (chmod(path, DIR_MODE) != 0)
            return error_set_errno(error, "cannot set the mode of %s", path);
        return STATUS_OK;
    }
    struct stat there;
    if (errno == EEXIST && stat(path, &there) == 0 && S_ISDIR(there.st_mode))
        return STATUS_OK;
    return error_set_errno(error, "cannot make the directory %s", path);
}

enum status
dir_sync(const char *path, struct error *error)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(error, "cannot open %s", path);
    int rc = fsync(fd);
    (void)close(fd);
    return rc == 0 ? STATUS_OK : error_set_errno(error, "cannot fsync %s", path);
}

// The directory that holds path, "." when path has no slash.
enum status
parent_sync(const char *path, struct error *error)
{
    struct path parent;
    enum status status = path_make(&parent, path, "", error);
    if (status)
        return status;
    size_t size = strlen(parent.text);
    while (size > 1 && parent.text[size - 1] == '/')
        parent.text[--size] = '\0';
    char *slash = strrchr(parent.text, '/');
    if (slash == NULL)
        return dir_sync(".", error);
    slash[slash == parent.text ? 1 : 0] = '\0';
    return dir_sync(parent.text, error);
}

enum status
fd_write(int fd, struct bytes bytes)
{
    while (bytes.size > 0) {
        ssize_t count = write(fd, bytes.data, bytes.size);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return STATUS_IO;
        bytes = bytes_of(bytes.data + count, bytes.size - (size_t)count);
    }
    return STATUS_OK;
}

enum status
files_write(const char *path, struct bytes text, mode_t mode, struct error *error)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    if (fd < 0)
        return error_set_errno(error, "cannot make %s", path);
    // The umask, or an older file there, may say otherwise.
    bool is_written = fchmod(fd, mode) == 0 && !fd_write(fd, text) && fsync(fd) == 0;
    enum status status = is_written ? STATUS_OK : error_set_errno(error, "cannot write %s", path);
    (void)close(fd);
    return status;
}

enum status
files_replace(
    const char *dir, const char *name, struct bytes text, mode_t mode, struct error *error)
{
    struct path path;
    struct path new_path;
    char new_name[64];
    int size = snprintf(new_name, sizeof new_name, "%s.new", name);
    must(size > 0 && (size_t)size < sizeof new_name);
    enum status status = path_make(&path, dir, name, error);
    if (status == STATUS_OK)
        status = path_make(&new_path, dir, new_name, error);
    if (status == STATUS_OK)
        status = files_write(new_path.text, text, mode, error);
    if (status)
        return status;
    if (rename(new_path.text, path.text) != 0)
        return error_set_errno(error, "cannot rename %s", new_path.text);
    return dir_sync(dir, error);
}

// Zero at the end, -1 with errno.
static ssize_t
load_some(int fd, struct buffer *out)
{
    uint8_t *room = buffer_reserve(out, FILES_STEP);
    if (room == NULL) {
        errno = ENOMEM;
        return -1;
    }
    ssize_t count;
    do
        count = read(fd, room, FILES_STEP);
    while (count < 0 && errno == EINTR);
    if (count > 0)
        buffer_commit(out, (size_t)count);
    return count;
}

enum status
files_load(const char *path, struct buffer *out, struct error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT ? error_set(error, STATUS_NOT_FOUND, "%s is not there", path)
                               : error_set_errno(error, "cannot open %s", path);
    }
    ssize_t count;
    do
        count = load_some(fd, out);
    while (count > 0);
    enum status status = count == 0 ? STATUS_OK : error_set_errno(error, "cannot read %s", path);
    (void)close(fd);
    if (status && buffer_failed(out))
        return error_set(error, STATUS_NO_MEMORY, "%s: no memory to read it", path);
    return status;
}

// Fills the piece as far as the file goes.
static enum status
piece_read(int fd, uint8_t *piece, size_t *out_size)
{
    size_t size = 0;
    ssize_t got = 1;
    while (size < PIECE_SIZE && got > 0) {
        got = read(fd, piece + size, PIECE_SIZE - size);
        if (got < 0 && errno == EINTR)
            got = 1;
        else if (got > 0)
            size += (size_t)got;
    }
    *out_size = size;
    return got < 0 ? STATUS_IO : STATUS_OK;
}

static enum status
pieces_copy(int from, int to, uint64_t *out_size, uint64_t *out_checksum)
{
    scoped(buffer_done) struct buffer memory = {0};
    uint8_t *piece = buffer_reserve(&memory, PIECE_SIZE);
    uint64_t total = 0;
    uint64_t checksum = 0;
    size_t size = 1;
    enum status status = piece == NULL ? STATUS_NO_MEMORY : STATUS_OK;
    while (!status && size > 0) {
        status = piece_read(from, piece, &size);
        if (!status && size > 0)
            checksum = hash64(bytes_of(piece, size), checksum);
        if (!status && to >= 0)
            status = fd_write(to, bytes_of(piece, size));
        total += size;
    }
    if (!status && to >= 0 && fsync(to) != 0)
        status = STATUS_IO;
    *out_size = total;
    *out_checksum = checksum;
    return status;
}

enum status
files_copy(
    const char *from,
    const char *to,
    uint64_t *out_size,
    uint64_t *out_checksum,
    struct error *error)
{
    int out = -1;
    int in = open(from, O_RDONLY | O_CLOEXEC);
    if (in < 0)
        return error_set_errno(error, "cannot open %s", from);
    if (to != NULL)
        out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0660);
    enum status status =
        to != NULL && out < 0 ? error_set_errno(error, "cannot make %s", to) : STATUS_OK;
    if (!status && pieces_copy(in, out, out_size, out_checksum))
        status = error_set_errno(error, "cannot copy %s", from);
    if (out >= 0)
        (void)close(out);
    (void)close(in);
    return status;
}

enum status
files_lock(const char *path, const char *what, int *out_fd, struct error *error)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0660);
    if (fd < 0)
        return error_set_errno(error, "cannot open %s", path);
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
        *out_fd = fd;
        return STATUS_OK;
    }
    bool is_held = errno == EWOULDBLOCK;
    (void)close(fd);
    return is_held ? error_set(error, STATUS_BUSY, "%s: another process has it (%s)", what, path)
                   : error_set_errno(error, "cannot lock %s", path);
}
