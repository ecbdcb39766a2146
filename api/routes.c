#include "api/routes.h"

#include "api/route.h"
#include "billing/api_key.h"

enum {
    ANYBODY = 0,
    INGEST = API_SCOPE_INGEST,
    READ = API_SCOPE_READ,
    BILLING = API_SCOPE_BILLING,
    ADMIN = API_SCOPE_ADMIN,
};

// clang-format off
const struct route ROUTES[] = {
    {"GET",  "/health",        ANYBODY, health_get},
    {"GET",  "/metrics",       READ,    metrics_get},
    {"GET",  "/api/health/db", ANYBODY, health_database_get},
    {"POST", "/api/v1/events", INGEST,  events_post},
    {NULL,   NULL,             0,       NULL},
};
// clang-format on
