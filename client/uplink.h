#pragma once
// The connection to the server: non-blocking, one at a time, read as whole msgpack messages.
//
//     uplink_init(&uplink, message_size_max)
//     status = uplink_start(&uplink, name, &error)  // begins to connect; wait for uplink.fd, then
//     status = uplink_finish(&uplink, &error)       // STATUS_BUSY: trying the next address
//     status = uplink_write(&uplink, parts, count, &size, &error)
//     status = uplink_read(&uplink, &error)         // then uplink_message until it gives nothing
//     uplink_stop(&uplink)
//
// Nothing here blocks but the question to DNS in uplink_start. Owner and thread: the sender.

#include "base/buffer.h"
#include "base/unpack.h"
#include "client/server_name.h"

#include <sys/uio.h>

enum uplink_phase { UPLINK_DOWN, UPLINK_CONNECTING, UPLINK_UP };

struct uplink {
    enum uplink_phase phase;
    int fd;  // -1: none
    struct server_addresses addresses;
    int address_index;
    struct buffer received;
    size_t consumed_size;  // of received: given out as messages
    struct unpack_scan scan;
    size_t message_size_max;
};

void uplink_init(struct uplink *uplink, size_t message_size_max);
void uplink_done(struct uplink *uplink);

// From UPLINK_DOWN to UPLINK_CONNECTING. On failure it is down, and error says why.
enum status
uplink_start(struct uplink *uplink, const struct server_name *name, struct error *error) CHECKED;
// When the socket is writable: to UPLINK_UP, or the next address is begun (STATUS_BUSY, still
// connecting), or down.
enum status uplink_finish(struct uplink *uplink, struct error *error) CHECKED;
// The current address takes too long: as a failed uplink_finish.
enum status uplink_give_up(struct uplink *uplink, struct error *error) CHECKED;
void uplink_stop(struct uplink *uplink);

// Writes what the socket takes; *out_size may be less than all, and 0. Never raises SIGPIPE.
enum status uplink_write(
    struct uplink *uplink,
    struct iovec *parts,
    size_t parts_count,
    size_t *out_size,
    struct error *error) CHECKED;
// Reads what has arrived. STATUS_CLOSED at the end of the stream; what came before it can still
// be taken.
enum status uplink_read(struct uplink *uplink, struct error *error) CHECKED;
// The next whole message, good until the next uplink_read. STATUS_NOT_FOUND: none yet;
// STATUS_INVALID: no msgpack.
enum status uplink_message(struct uplink *uplink, struct bytes *out, struct error *error) CHECKED;
