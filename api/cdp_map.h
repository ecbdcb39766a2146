#pragma once
// What the events of the customer data platform are billed as (the guide's orchestrator).
//
//     const char *type = cdp_billable("event.tracked");     // "event_tracked"; NULL: nothing
//
// Thread: any.

// The billable type of a platform's event, or of a billable type itself.
const char *cdp_billable(const char *event_type);
