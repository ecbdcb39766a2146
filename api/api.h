#pragma once
// What every request goes through: ids, CORS, routes, keys, the access log; and what handlers
// share.
//
//     struct api api = {.settings = &settings, .database = database, .keys = keys, ...};
//     api_metrics_init(&api);
//     struct http_options options = {
//         .handle = api_handle,
//         .begin = api_begin, .begin_max = API_QUICK_MAX, .context = &api, ...};
//
// Owner: main; lives until http_stop. Thread: api_handle runs on several at a time, so what it
// points to guards itself.

#include "api/certificate.h"
#include "api/customer_book.h"
#include "api/database.h"
#include "api/description.h"
#include "api/http.h"
#include "api/ingest.h"
#include "api/keys.h"
#include "api/limits.h"
#include "api/progress.h"
#include "api/quotas.h"
#include "api/readers.h"
#include "api/settings.h"
#include "base/metric.h"

enum {
    // A body that is read on a loop's thread takes it no longer than a fifth of a millisecond.
    API_QUICK_MAX = 8192,
};

struct route_metrics {
    struct metric requests[4];  // answered 2xx, 4xx, 5xx, and the rest
    struct metric microseconds;
};

struct api {
    const struct settings *settings;
    struct database *database;
    struct keys *keys;
    struct limits *limits;
    struct ingest *ingest;
    struct readers *readers;
    struct quotas *quotas;
    struct customer_book *customers;
    struct progress progress;
    struct certificate *certificate;  // NULL: no TLS
    const struct description *description;
    struct http *http;   // for its figures; set once it runs
    struct arena arena;  // of main, before and after the server runs
    char id_prefix[9];
    _Atomic uint64_t ids;
    _Atomic uint32_t changes;      // of the ledger that requests wait for (api/change.h)
    struct route_metrics *routes;  // as ROUTES, and one more for what has no route
};

void api_metrics_init(struct api *api);
void api_metrics_print(struct api *api, struct buffer *out);
// As http_begin and http_handle.
enum http_turn api_begin(
    void *context, const struct http_request *request, struct http_response *response) CHECKED;
void api_handle(void *context, const struct http_request *request, struct http_response *response);
