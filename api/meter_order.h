#pragma once
// The order of a list of meters, as version 1 and version 3 of OpenMeter's API ask for it.
//
//     status = meter_order_v1(&call->target, &order, &error);   // orderBy=name&order=DESC
//     status = meter_order_v3(&call->target, &order, &error);   // sort=name desc
//     meters_sort(meters, count, &order);
//
// By key without any; meters that are alike are ordered by key. Texts are compared as bytes.
// Thread: any.

#include "api/target.h"
#include "ledger/meter.h"

enum meter_field {
    METER_BY_KEY,
    METER_BY_NAME,
    METER_BY_AGGREGATION,
    METER_BY_CREATED,
    METER_BY_UPDATED,
};

struct meter_order {
    enum meter_field field;
    bool is_descending;
};

// STATUS_INVALID names the parameter and what it must be.
enum status
meter_order_v1(const struct target *target, struct meter_order *out, struct error *error) CHECKED;
enum status
meter_order_v3(const struct target *target, struct meter_order *out, struct error *error) CHECKED;
void meters_sort(struct meter *meters, uint32_t count, const struct meter_order *order);
