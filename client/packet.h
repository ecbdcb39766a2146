#pragma once
// What stands around a batch's events on the wire: ["tally", bin(events), {"size": n, "chunk":
// id, "tally": {...}}].
//
//     packet_head(&head, batch)
//     packet_tail(&tail, batch, backfill)
//
// Both follow from the batch alone, so a batch that is sent again has the same bytes. Values.
// Thread: any.

#include "base/buffer.h"
#include "client/backlog.h"

enum { PACKET_BACKFILL_MAX = 100 };

void packet_head(struct buffer *out, const struct batch *batch);
// backfill: the batch's name, or empty.
void packet_tail(struct buffer *out, const struct batch *batch, const char *backfill);
