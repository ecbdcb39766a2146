#include "ledger/readers.h"

int
readers_look(struct readers *readers, int64_t monotonic_ns)
{
    struct env_stat stat;
    struct error error;
    int cleared = env_clear_dead_readers(readers->env);
    // Figures that cannot be read are no reason to stop: the next look has them again.
    if (env_stat(readers->env, &stat, &error))
        return cleared;
    uint64_t oldest = stat.oldest_reader_txns > 0 ? stat.last_txn - stat.oldest_reader_txns : 0;
    if (oldest != readers->oldest_txn) {
        readers->oldest_txn = oldest;
        readers->since_ns = monotonic_ns;
    }
    readers->age_ns = oldest > 0 ? monotonic_ns - readers->since_ns : 0;
    return cleared;
}
