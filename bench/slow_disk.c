#include "bench/slow_disk.h"

#include "base/clock.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { WAITING_MAX = 1024, LOOK_MS = 50 };

// A sync that waits; all wait equally long, so the first that came is the first that goes on.
struct sync_wait {
    uint64_t id;
    int64_t due_ns;
};

struct sync_queue {
    struct sync_wait waits[WAITING_MAX];
    uint32_t first, count;
};

enum status
slow_disk_prepare(uint32_t delay_ms, struct slow_disk *out, struct error *error)
{
    *out = (struct slow_disk){
        .delay_ms = delay_ms, .pair = {-1, -1},
             .listener = -1
    };
    if (delay_ms > 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, out->pair) != 0)
        return error_set_errno(error, "cannot make a pair of sockets");
    return STATUS_OK;
}

// --- in the child ---

// The architecture needs no look: only tallyd runs behind it, a program of our own.
static int
filter_install(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fdatasync, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fsync, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {.len = sizeof filter / sizeof filter[0], .filter = filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return -1;
    return (int)syscall(
        SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
}

bool
slow_disk_enter(const struct slow_disk *disk)
{
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    char byte = 0;
    if (disk->delay_ms == 0)
        return true;
    int listener = filter_install();
    if (listener < 0)
        return false;
    struct iovec part = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {
        .msg_iov = &part,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = sizeof control.bytes};
    control.head = (struct cmsghdr){
        .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof listener)};
    memcpy(CMSG_DATA(&control.head), &listener, sizeof listener);
    bool is_sent = sendmsg(disk->pair[1], &message, MSG_NOSIGNAL) == 1;
    (void)close(listener);
    return is_sent;
}

// --- in the parent ---

static int
listener_receive(int from)
{
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    char byte;
    int listener = -1;
    struct iovec part = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {
        .msg_iov = &part,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = sizeof control.bytes};
    if (recvmsg(from, &message, MSG_CMSG_CLOEXEC) != 1 || CMSG_FIRSTHDR(&message) == NULL)
        return -1;
    memcpy(&listener, CMSG_DATA(&control.head), sizeof listener);
    return listener;
}

// A call that was interrupted is asked about no more; answers to it fail, and nobody minds.
static void
queue_take(struct sync_queue *queue, const struct slow_disk *disk)
{
    struct seccomp_notif asked;
    memset(&asked, 0, sizeof asked);
    if (queue->count == WAITING_MAX || ioctl(disk->listener, SECCOMP_IOCTL_NOTIF_RECV, &asked) != 0)
        return;
    queue->waits[(queue->first + queue->count++) % WAITING_MAX] = (struct sync_wait){
        .id = asked.id, .due_ns = clock_monotonic_ns() + disk->delay_ms * (SECOND_NS / 1000)};
}

static void
queue_let_go(struct sync_queue *queue, const struct slow_disk *disk, int64_t now_ns)
{
    while (queue->count > 0 && queue->waits[queue->first].due_ns <= now_ns) {
        struct seccomp_notif_resp answer = {
            .id = queue->waits[queue->first].id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
        (void)ioctl(disk->listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
        queue->first = (queue->first + 1) % WAITING_MAX;
        queue->count--;
    }
}

// Until the first is due, rounded up, or for a moment when nobody waits.
static int
queue_patience_ms(const struct sync_queue *queue)
{
    if (queue->count == 0)
        return LOOK_MS;
    int64_t left_ns = queue->waits[queue->first].due_ns - clock_monotonic_ns();
    return left_ns > 0 ? (int)((left_ns + SECOND_NS / 1000 - 1) / (SECOND_NS / 1000)) : 0;
}

static void *
slow_disk_run(void *argument)
{
    const struct slow_disk *disk = argument;
    struct sync_queue queue = {.count = 0};
    while (flag_get(&disk->stop) == 0) {
        struct pollfd look = {.fd = disk->listener, .events = POLLIN};
        int found = poll(&look, 1, queue_patience_ms(&queue));
        if (found > 0 && (look.revents & POLLIN) != 0)
            queue_take(&queue, disk);
        else if (found > 0)
            break;  // the child has ended
        queue_let_go(&queue, disk, clock_monotonic_ns());
    }
    return NULL;
}

enum status
slow_disk_begin(struct slow_disk *disk, struct error *error)
{
    if (disk->delay_ms == 0)
        return STATUS_OK;
    // The child's end is closed here, so that a child that fails is an end of what is read.
    (void)close(disk->pair[1]);
    disk->pair[1] = -1;
    disk->listener = listener_receive(disk->pair[0]);
    if (disk->listener < 0)
        return error_set(
            error, STATUS_IO, "this system does not let us make syncs slow (seccomp_unotify)");
    flag_set(&disk->stop, 0);
    errno = pthread_create(&disk->thread, NULL, slow_disk_run, disk);
    if (errno != 0)
        return error_set_errno(error, "cannot start a thread");
    disk->is_running = true;
    return STATUS_OK;
}

static void
fd_close(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

void
slow_disk_end(struct slow_disk *disk)
{
    if (disk->delay_ms == 0)
        return;
    flag_set(&disk->stop, 1);
    if (disk->is_running)
        (void)pthread_join(disk->thread, NULL);
    fd_close(&disk->listener);
    fd_close(&disk->pair[0]);
    fd_close(&disk->pair[1]);
    *disk = (struct slow_disk){
        .pair = {-1, -1},
          .listener = -1
    };
}
