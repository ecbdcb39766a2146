#pragma once
// What the table of api/routes.c calls: a handler per route, in the files of api/routes/. What each
// takes and answers is in api/openapi.yaml.

struct call;

// routes/events_v3.c
void events_v3_get(struct call *call);
// routes/backfills.c
void backfills_get(struct call *call);
void backfills_post(struct call *call);
void backfill_get(struct call *call);
void backfill_events_post(struct call *call);
void backfill_close_post(struct call *call);
void backfill_revert_post(struct call *call);
// routes/description.c
void description_page_get(struct call *call);
void description_json_get(struct call *call);
void description_yaml_get(struct call *call);
// routes/entitlements.c
void entitlement_get(struct call *call);
void entitlements_post(struct call *call);

// routes/corrections.c
void corrections_get(struct call *call);
void corrections_post(struct call *call);
void correction_get(struct call *call);
// routes/events_list.c
void events_get(struct call *call);
void events_v2_get(struct call *call);

// routes/cuts.c
void cuts_get(struct call *call);
void cuts_post(struct call *call);
// routes/events.c
void events_post(struct call *call);
void events_v3_post(struct call *call);

// routes/live.c
void ingest_stream_get(struct call *call);

// routes/meters.c
void meters_get(struct call *call);
void meters_post(struct call *call);
void meter_get(struct call *call);
void meter_put(struct call *call);
void meter_delete(struct call *call);

// routes/query.c
void meter_late_usage_get(struct call *call);
void meter_query_get(struct call *call);
void meter_query_post(struct call *call);
void meter_subjects_get(struct call *call);
void meter_group_values_get(struct call *call);

// routes/thresholds.c
void thresholds_get(struct call *call);
void thresholds_post(struct call *call);
void threshold_get(struct call *call);
void threshold_put_one(struct call *call);
void threshold_delete(struct call *call);
void fired_get(struct call *call);

// routes/health.c
void health_get(struct call *call);
void health_database_get(struct call *call);
void metrics_get(struct call *call);

// routes/customers.c
void customers_get(struct call *call);
void customers_post(struct call *call);
void customer_get(struct call *call);
void customer_put(struct call *call);
void customer_delete(struct call *call);

// routes/guide_usage.c
void guide_usage_get(struct call *call);
void guide_usage_post(struct call *call);

// routes/progress.c
void progress_get(struct call *call);

// routes/subjects.c
void subjects_get(struct call *call);
void subjects_post(struct call *call);
void subject_get(struct call *call);
void subject_delete(struct call *call);

// routes/v3.c
void customers_v3_get(struct call *call);
void customer_v3_post(struct call *call);
void customer_v3_get(struct call *call);
void customer_v3_put(struct call *call);
void meters_v3_get(struct call *call);
void meters_v3_post(struct call *call);
void meter_v3_get(struct call *call);
void meter_v3_put(struct call *call);
void meter_v3_query_post(struct call *call);
