#pragma once
// The connection to the server: non-blocking, one at a time, read as whole msgpack messages.
//
//     uplink_init(&uplink, &options)
//     status = uplink_start(&uplink, index, &error)  // begins; wait for uplink_fd, then
//     status = uplink_finish(&uplink, &error)        // until it is up; STATUS_BUSY: a new step
//     status = uplink_write(&uplink, parts, count, &size, &error)
//     status = uplink_read(&uplink, &error)         // then uplink_message until it gives nothing
//     uplink_stop(&uplink)
//
//     down -- start --> looking --> connecting --> securing --> up
//                       (a name)                   (with TLS)
//
// Nothing here blocks: DNS is asked on a thread of its own, one for each server at most, which is
// left behind when its answer takes too long. Owner and thread: the sender, with SIGPIPE blocked.

#include "base/buffer.h"
#include "base/unpack.h"
#include "client/lookup.h"
#include "client/server_list.h"
#include "client/tls.h"

#include <sys/uio.h>

enum uplink_phase {
    UPLINK_DOWN,
    UPLINK_LOOKING,     // for the addresses of a name
    UPLINK_CONNECTING,  // to one of them
    UPLINK_SECURING,    // TLS
    UPLINK_UP,
};

struct uplink_options {
    const struct server_list *servers;
    size_t message_size_max;
    const struct tls_setup *tls;  // NULL: none
    const char *tls_name;         // what all certificates bear; NULL: their host's name
};

struct uplink {
    struct uplink_options options;
    enum uplink_phase phase;
    uint32_t server_index;
    // Asked and not taken yet, one for each server: a server whose name took too long once does not
    // begin a second thread. NULL: none
    struct lookup *lookups[SERVERS_MAX];
    int fd;  // -1: none
    struct tls tls;
    struct server_addresses addresses;
    int address_index;
    struct buffer received;
    size_t consumed_size;  // of received: given out as messages
    struct unpack_scan scan;
};

// What the options point to is borrowed until done.
void uplink_init(struct uplink *uplink, const struct uplink_options *options);
void uplink_done(struct uplink *uplink);

// index: of the list of servers. Leaves UPLINK_DOWN; on failure it is down, and error says why.
enum status uplink_start(struct uplink *uplink, uint32_t index, struct error *error) CHECKED;
// What poll is to wait for; -1 and 0 when down. is_writing: something is to be written.
int uplink_fd(const struct uplink *uplink);
short uplink_events(const struct uplink *uplink, bool is_writing);
// After poll, as long as it is not up: goes on, to UPLINK_UP in the end. STATUS_BUSY: a new address
// was begun, which has all the time again; any other failure: it is down.
enum status uplink_finish(struct uplink *uplink, struct error *error) CHECKED;
// The current step takes too long: as a failed uplink_finish.
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
