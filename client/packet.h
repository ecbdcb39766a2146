#pragma once
// What stands around a batch's events on the wire: ["tally", bin(events), {"size": n, "chunk":
// id, "tally": {...}}].
//
//     packet_head(&head, batch)
//     packet_tail(&tail, batch)
//
// Both follow from the batch alone, so a batch that is sent again has the same bytes. Values.
// Thread: any.

#include "base/buffer.h"
#include "client/backlog.h"

void packet_head(struct buffer *out, const struct batch *batch);
void packet_tail(struct buffer *out, const struct batch *batch);
