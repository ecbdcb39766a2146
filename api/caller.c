#include "api/caller.h"

#include "api/address.h"
#include "api/api.h"
#include "api/route.h"
#include "base/assert.h"
#include "base/clock.h"

#include <inttypes.h>
#include <string.h>
#include <strings.h>

static const char *
bearer_of(const struct http_request *request)
{
    const char *text = http_field(request, "Authorization");
    if (text == NULL || strncasecmp(text, "Bearer ", 7) != 0)
        return NULL;
    return text + 7 + strspn(text + 7, " ");
}

// With a key every answer has two of these, and printf would cost more than the limits themselves.
static const char *
number_text(struct arena *arena, int64_t number)
{
    enum { DIGITS = 20 };
    char *text = arena_array(arena, DIGITS + 1, char);
    char *at = text + DIGITS;
    must(number >= 0);
    do {
        *--at = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    return at;
}

static void
limit_fields(struct call *call, const struct limit_verdict *verdict)
{
    http_add(call->response, "RateLimit-Policy", verdict->rule->policy);
    http_add(call->response, "RateLimit-Limit", verdict->rule->limit);
    http_add(call->response, "RateLimit-Remaining", number_text(call->arena, verdict->remaining));
    http_add(call->response, "RateLimit-Reset", number_text(call->arena, verdict->reset_s));
}

static void
limit_refuse(struct call *call, enum limit_kind kind, const struct limit_verdict *verdict)
{
    static const char *const whose[] = {
        [LIMIT_ANONYMOUS] = "without a good key (`tally key create`) from this address",
        [LIMIT_ADDRESS] = "from this address",
        [LIMIT_KEY] = "with this key",
    };
    call_problem(
        call,
        429,
        "Too many requests %s; wait %" PRId64 " seconds.",
        whose[kind],
        verdict->retry_s);
    http_add(call->response, "Retry-After", number_text(call->arena, verdict->retry_s));
}

// False: it was answered. Headers tell of an address's own rule only when it is beyond it: they
// are for the narrower one.
static bool
limit_take(struct call *call, enum limit_kind kind, const struct limit_rule *own, struct bytes who)
{
    struct limit_verdict verdict;
    limits_take(call->api->limits, kind, own, who, clock_monotonic_ns(), &verdict);
    if (verdict.is_limited && (kind != LIMIT_ADDRESS || !verdict.is_allowed))
        limit_fields(call, &verdict);
    if (!verdict.is_allowed)
        limit_refuse(call, kind, &verdict);
    return verdict.is_allowed;
}

static bool
is_counted(const struct call *call)
{
    bool is_free = call->route != NULL && (call->route->scopes & ROUTE_UNCOUNTED) != 0;
    return !is_free && strcmp(call->request->method, "OPTIONS") != 0;
}

bool
caller_is_known(struct call *call)
{
    const char *token = bearer_of(call->request);
    call->verdict = KEYS_UNKNOWN;
    if (token != NULL)
        call->verdict = keys_peek(call->api->keys, token, clock_now_ns(), &call->grant);
    return call->verdict == KEYS_GOOD;
}

// Of a quick call it is known.
static enum keys_verdict
key_check(struct call *call)
{
    const char *token = bearer_of(call->request);
    if (call->is_quick)
        return call->verdict;
    return token != NULL ? keys_check(call->api->keys, token, clock_now_ns(), &call->grant)
                         : KEYS_UNKNOWN;
}

bool
caller_admit(struct call *call)
{
    const struct settings *settings = call->api->settings;
    struct address address = {{0}};
    call->client = address_client(call->request, settings->proxies, settings->proxies_count);
    if (address_parse(call->client, &address))
        address = address_group(address);
    struct bytes group = bytes_of(address.bytes, sizeof address.bytes);
    if (!limit_take(call, LIMIT_ADDRESS, NULL, group))
        return false;
    call->verdict = key_check(call);
    if (call->verdict == KEYS_GOOD) {
        call->key_id = call->grant.id;
        const struct limit_rule *own = call->grant.has_limit ? &call->grant.limit : NULL;
        return limit_take(call, LIMIT_KEY, own, bytes_text(call->key_id));
    }
    return !is_counted(call) || limit_take(call, LIMIT_ANONYMOUS, NULL, group);
}

static void
unauthorized(struct call *call, const char *detail)
{
    call_problem(call, 401, "%s", detail);
    http_add(call->response, "WWW-Authenticate", "Bearer");
}

bool
caller_may(struct call *call)
{
    unsigned wanted = call->route->scopes & ~(unsigned)ROUTE_FLAGS;
    if (wanted == 0)
        return true;
    if (bearer_of(call->request) == NULL) {
        unauthorized(call, "Send the header Authorization: Bearer KEY (`tally key create`).");
        return false;
    }
    switch (call->verdict) {
    case KEYS_GOOD: break;
    case KEYS_UNKNOWN: unauthorized(call, "This key is not known, or was revoked."); return false;
    case KEYS_EXPIRED: unauthorized(call, "This key has expired."); return false;
    case KEYS_NOT_READ:
        call_away(call, "Keys are not known yet, for the database cannot be reached.");
        return false;
    }
    if ((call->grant.scopes & (wanted | API_SCOPE_ADMIN)) != 0)
        return true;
    call_problem(
        call,
        403,
        "This needs a key with the scope %s; this one has %s.",
        api_scopes_print(wanted, call->arena),
        api_scopes_print(call->grant.scopes, call->arena));
    return false;
}
