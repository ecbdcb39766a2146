#pragma once
// Customers and subjects as OpenMeter has them: read from a body, written into an answer.
//
//     if (customer_json_read(body, &CUSTOMER_V1, &arena, &profile, &error)) refuse(error.text);
//     customer_json_write(&profile, &CUSTOMER_V1, &arena, out);
//
// Its versions differ in how members are called. A customer's id is its key. Thread: any.

#include "base/json.h"
#include "billing/customer.h"
#include "billing/subject.h"

enum { CUSTOMER_ADDRESS_MEMBERS = 7, CUSTOMER_SUBJECTS_MAX = 1000 };

struct customer_words {
    const char *metadata, *attribution, *subject_keys, *email, *address, *created, *updated;
    const char *address_members[CUSTOMER_ADDRESS_MEMBERS];
    const char *const *read_only;  // members of an answer, ignored in a request
};

extern const struct customer_words CUSTOMER_V1, CUSTOMER_V3;

// out->id is NULL where the body has no key. STATUS_INVALID names the member.
enum status customer_json_read(
    struct bytes body,
    const struct customer_words *words,
    struct arena *arena,
    struct customer_profile *out,
    struct error *error) CHECKED;
void customer_json_write(
    const struct customer_profile *profile,
    const struct customer_words *words,
    struct arena *arena,
    struct json_out *out);

// One of a list; out_members: which of SUBJECT_NAME and so on it has.
enum status subject_json_read(
    const struct json *object,
    struct arena *arena,
    struct subject *out,
    unsigned *out_members,
    struct error *error) CHECKED;
void subject_json_write(const struct subject *subject, struct json_out *out);
