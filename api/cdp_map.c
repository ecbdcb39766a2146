#include "api/cdp_map.h"

#include <stddef.h>
#include <string.h>

static const struct {
    const char *event, *billable;
} MAP[] = {
    {"profile.created",    "profile_enrichment" },
    {"event.tracked",      "event_tracked"      },
    {"segment.computed",   "segment_computation"},
    {"audience.activated", "audience_activation"},
    {"data.exported",      "data_export"        },
    {"api.called",         "api_call"           },
    {"email.sent",         "email_sent"         },
    {"sms.sent",           "sms_sent"           },
    {"webhook.delivered",  "webhook_delivery"   },
    {"ai.brief_generated", "ai_brief_generated" },
};

const char *
cdp_billable(const char *event_type)
{
    for (size_t i = 0; i < sizeof MAP / sizeof MAP[0]; i++)
        if (strcmp(MAP[i].event, event_type) == 0 || strcmp(MAP[i].billable, event_type) == 0)
            return MAP[i].billable;
    return NULL;
}
