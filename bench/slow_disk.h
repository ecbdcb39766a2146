#pragma once
// A disk that is slow to sync: each fsync and fdatasync of a process waits before it is made.
//
//     slow_disk_prepare(10, &disk, &error);
//     fork(): in the child slow_disk_enter(&disk) before execv
//     slow_disk_begin(&disk, &error);           // in the parent, after fork
//     slow_disk_end(&disk);                     // when the child has ended
//
// The kernel asks us about these calls (seccomp_unotify(2)); we let each go on when its time has
// come. Syncs of several threads wait side by side. Owner: the caller. Thread: one at a time; it
// runs one of its own.

#include "base/ring.h"
#include "base/status.h"

#include <pthread.h>
#include <stdint.h>

struct slow_disk {
    uint32_t delay_ms;  // 0: none, and nothing here does anything
    int pair[2];        // by which the child hands over what the kernel asks on
    int listener;
    bool is_running;
    pthread_t thread;
    struct flag stop;
};

enum status
slow_disk_prepare(uint32_t delay_ms, struct slow_disk *out, struct error *error) CHECKED;
// Safe after fork. False: the system does not do it.
bool slow_disk_enter(const struct slow_disk *disk) CHECKED;
// Waits for the child's slow_disk_enter. STATUS_IO: it failed there.
enum status slow_disk_begin(struct slow_disk *disk, struct error *error) CHECKED;
void slow_disk_end(struct slow_disk *disk);
