#include "ledger/touch.h"

void
touch_do(const struct touch *touch)
{
    if (touch->has_buckets)
        id_table_touch_buckets(touch->table);
    id_table_touch_entries(touch->table, touch->entries);
    if (touch->spare == NULL)
        return;
    // One is enough.
    id_table_close(slot_take_back(touch->spare));
    slot_offer(touch->spare, touch->table);
}

void
touch_drop(const struct touch *touch)
{
    if (touch->spare != NULL)
        id_table_close(touch->table);
}
