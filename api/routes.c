#include "api/routes.h"

#include "api/route.h"
#include "billing/api_key.h"

enum {
    ANYBODY = 0,
    HEALTH = ROUTE_UNCOUNTED,  // for anybody, however often
    INGEST = API_SCOPE_INGEST,
    READ = API_SCOPE_READ,
    BILLING = API_SCOPE_BILLING,
    ADMIN = API_SCOPE_ADMIN,
    CREATES = ROUTE_CREATES,  // takes Idempotency-Key
};

// clang-format off
const struct route ROUTES[] = {
    {"GET",    "/health",                                         HEALTH,  health_get},
    {"GET",    "/metrics",                                        READ,    metrics_get},
    {"GET",    "/api/docs",                                       ANYBODY, description_page_get},
    {"GET",    "/api/health/db",                                  HEALTH,  health_database_get},
    {"GET",    "/api/v1/backfills",                               READ | BILLING, backfills_get},
    {"POST",   "/api/v1/backfills",                               BILLING, backfills_post},
    {"GET",    "/api/v1/backfills/{backfill}",                    READ | BILLING, backfill_get},
    {"POST",   "/api/v1/backfills/{backfill}/events",             BILLING, backfill_events_post},
    {"POST",   "/api/v1/backfills/{backfill}/close",              BILLING, backfill_close_post},
    {"POST",   "/api/v1/backfills/{backfill}/revert",             BILLING, backfill_revert_post},
    {"GET",    "/api/v1/corrections",                             READ | BILLING, corrections_get},
    {"POST",   "/api/v1/corrections",                             BILLING, corrections_post},
    {"GET",    "/api/v1/corrections/{correction}",                READ | BILLING, correction_get},
    {"GET",    "/api/v1/cuts",                                    READ | BILLING, cuts_get},
    {"POST",   "/api/v1/cuts",                                    BILLING, cuts_post},
    {"GET",    "/api/openapi.json",                               ANYBODY, description_json_get},
    {"GET",    "/api/openapi.yaml",                               ANYBODY, description_yaml_get},
    {"GET",    "/api/v1/customers/{customer}/entitlements/{meter}", READ,  entitlement_get},
    {"POST",   "/api/v1/entitlements/query",                      READ,    entitlements_post},
    {"GET",    "/api/v1/customers",                               READ | BILLING, customers_get},
    {"POST",   "/api/v1/customers",                               BILLING, customers_post},
    {"GET",    "/api/v1/customers/{customer}",                    READ | BILLING, customer_get},
    {"PUT",    "/api/v1/customers/{customer}",                    BILLING, customer_put},
    {"DELETE", "/api/v1/customers/{customer}",                    BILLING, customer_delete},
    {"GET",    "/api/v1/events",                                  READ,    events_get},
    {"POST",   "/api/v1/events",                                  INGEST,  events_post},
    {"GET",    "/api/v1/info/progress/{id}",                      READ,    progress_get},
    {"GET",    "/api/v1/meters",                                  READ,    meters_get},
    {"POST",   "/api/v1/meters",                                  ADMIN | CREATES, meters_post},
    {"GET",    "/api/v1/meters/{meter}",                          READ,    meter_get},
    {"PUT",    "/api/v1/meters/{meter}",                          ADMIN,   meter_put},
    {"DELETE", "/api/v1/meters/{meter}",                          ADMIN,   meter_delete},
    {"GET",    "/api/v1/meters/{meter}/query",                    READ,    meter_query_get},
    {"POST",   "/api/v1/meters/{meter}/query",                    READ,    meter_query_post},
    {"GET",    "/api/v1/meters/{meter}/subjects",                 READ,    meter_subjects_get},
    {"GET",    "/api/v1/meters/{meter}/group-by/{key}/values",    READ,    meter_group_values_get},
    {"GET",    "/api/v1/subjects",                                READ | BILLING, subjects_get},
    {"POST",   "/api/v1/subjects",                                BILLING, subjects_post},
    {"GET",    "/api/v1/subjects/{subject}",                      READ | BILLING, subject_get},
    {"DELETE", "/api/v1/subjects/{subject}",                      BILLING, subject_delete},
    {"GET",    "/api/v2/events",                                  READ,    events_v2_get},
    {"GET",    "/api/v3/openmeter/customers",                     READ | BILLING, customers_v3_get},
    {"POST",   "/api/v3/openmeter/customers",                     BILLING, customers_v3_post},
    {"GET",    "/api/v3/openmeter/customers/{customer}",          READ | BILLING, customer_v3_get},
    {"PUT",    "/api/v3/openmeter/customers/{customer}",          BILLING, customer_v3_put},
    {"DELETE", "/api/v3/openmeter/customers/{customer}",          BILLING, customer_delete},
    {"POST",   "/api/v3/openmeter/events",                        INGEST,  events_v3_post},
    {"GET",    "/api/v3/openmeter/meters",                        READ,    meters_v3_get},
    {"POST",   "/api/v3/openmeter/meters",                        ADMIN,   meters_v3_post},
    {"GET",    "/api/v3/openmeter/meters/{meter}",                READ,    meter_v3_get},
    {"PUT",    "/api/v3/openmeter/meters/{meter}",                ADMIN,   meter_v3_put},
    {"DELETE", "/api/v3/openmeter/meters/{meter}",                ADMIN,   meter_delete},
    {"POST",   "/api/v3/openmeter/meters/{meter}/query",          READ,    meter_v3_query_post},
    {NULL, NULL, 0, NULL},
};
// clang-format on
