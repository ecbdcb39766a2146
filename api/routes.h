#pragma once
// What the table of api/routes.c calls: a handler per route, in the files of api/routes/. What each
// takes and answers is in api/openapi.yaml.

struct call;

// routes/events.c
void events_post(struct call *call);

// routes/health.c
void health_get(struct call *call);
void health_database_get(struct call *call);
void metrics_get(struct call *call);
