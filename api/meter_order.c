#include "api/meter_order.h"

#include "api/param.h"

#include <stdlib.h>
#include <string.h>

enum status
meter_order_v1(const struct target *target, struct meter_order *out, struct error *error)
{
    static const char *const fields[] = {
        "key", "name", "aggregation", "createdAt", "updatedAt", NULL};
    static const char *const directions[] = {"ASC", "DESC", NULL};
    size_t field = METER_BY_KEY, direction = 0;
    enum status status = param_word(target, "orderBy", fields, &field, error);
    if (status == STATUS_OK)
        status = param_word(target, "order", directions, &direction, error);
    *out = (struct meter_order){(enum meter_field)field, direction == 1};
    return status;
}

enum status
meter_order_v3(const struct target *target, struct meter_order *out, struct error *error)
{
    static const char *const fields[] = {
        "key", "name", "aggregation", "created_at", "updated_at", NULL};
    size_t field = METER_BY_KEY;
    *out = (struct meter_order){METER_BY_KEY, false};
    enum status status = param_sort(target, fields, &field, &out->is_descending, error);
    out->field = (enum meter_field)field;
    return status;
}

static int
time_compare(int64_t left, int64_t right)
{
    return (left > right) - (left < right);
}

static const char *
name_of(const struct meter *meter)
{
    return meter->name != NULL ? meter->name : meter->key;
}

static int
field_compare(const struct meter *left, const struct meter *right, enum meter_field field)
{
    switch (field) {
    case METER_BY_NAME: return strcmp(name_of(left), name_of(right));
    case METER_BY_AGGREGATION:
        return strcmp(aggregation_name(left->aggregation), aggregation_name(right->aggregation));
    case METER_BY_CREATED: return time_compare(left->created_ns, right->created_ns);
    case METER_BY_UPDATED: return time_compare(left->updated_ns, right->updated_ns);
    case METER_BY_KEY: break;
    }
    return strcmp(left->key, right->key);
}

static int
meter_compare(const void *left, const void *right, void *context)
{
    const struct meter_order *order = context;
    int by_field = field_compare(left, right, order->field);
    if (by_field != 0)
        return order->is_descending ? -by_field : by_field;
    return field_compare(left, right, METER_BY_KEY);
}

void
meters_sort(struct meter *meters, uint32_t count, const struct meter_order *order)
{
    struct meter_order copy = *order;
    if (count > 1)
        qsort_r(meters, count, sizeof *meters, meter_compare, &copy);
}
