#pragma once
// Who asks: the address behind proxies, the key that was shown, how often they asked, and whether
// the route is for them.
//
//     if (caller_admit(call) && ... && caller_may(call)) call->route->handle(call);
//
// Each request counts against its address. One with a good key counts against the key as well; one
// without against what its address may ask without a key, unless it is a route that is not counted
// (health) or OPTIONS, which a browser sends before each of a page's requests and never with a key.
// A key that was guessed wrong is no key. Thread: a worker's; caller_is_known any.

#include "api/call.h"

// Of a call that may become a quick one: whether the key that came is good, as far as can be told
// without waiting; caller_admit goes by that. Fills call->verdict and call->grant.
bool caller_is_known(struct call *call) CHECKED;
// False: it was answered with 429. Fills call->client, call->verdict and call->grant; of a quick
// call without waiting.
bool caller_admit(struct call *call) CHECKED;
// False: it was answered: 401, 403, or 503 when no key can be known.
bool caller_may(struct call *call) CHECKED;
