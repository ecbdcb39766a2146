#pragma once
// What the routes of customers share, whatever their version's words.
//
//     status = customer_write(call, &CUSTOMER_V1, NULL, &profile, &error);   // a new one
//     status = customer_read(call, id, &profile, &error);
//
// Thread: the call's.

#include "api/call.h"
#include "api/customer_json.h"

// Makes what the body says, or puts it in the place of the customer `id`; *out is what is kept.
enum status customer_write(
    struct call *call,
    const struct customer_words *words,
    const char *id,
    struct customer_profile *out,
    struct error *error) CHECKED;
enum status customer_read(
    struct call *call, const char *id, struct customer_profile *out, struct error *error) CHECKED;
