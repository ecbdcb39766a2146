#pragma once
// Inside the registry: what its definitions share. Used by ledger/registry and ledger/threshold.

#include "ledger/lmdb_env.h"
#include "ledger/meter.h"

enum registry_db { REGISTRY_DB, REGISTRY_DB_THRESHOLDS, REGISTRY_DB_COUNT };

struct env *registry_env(struct registry *registry);
// An id is given once for ever, to a meter's version or a threshold: the counter survives them.
enum status registry_next_id(struct tx *tx, uint32_t *out, struct error *error) CHECKED;
