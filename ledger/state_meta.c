#include "ledger/state_meta.h"

#include "ledger/batches.h"
#include "ledger/cell.h"
#include "ledger/cut_record.h"
#include "ledger/lmdb_env.h"

static bool
record_is_whole(struct bytes key, struct bytes value)
{
    struct cut cut;
    struct batch batch;
    uint64_t number;
    if (cut_key_is(key))
        return cut_read(key, value, &cut) == STATUS_OK;
    if (batch_key_is(key))
        return batch_read(key, value, &batch) == STATUS_OK;
    return state_meta_read(key, value, &number) == STATUS_OK;
}

enum status
state_meta_check(struct tx *state, struct error *error)
{
    if (tx_is_looked_through(state))
        return STATUS_OK;
    bool is_whole = tx_is_whole(state, STATE_DB_META, record_is_whole);
    enum status status = tx_check(state, error);
    if (!status && !is_whole)
        return error_set(
            error,
            STATUS_CORRUPT,
            "state: a record of how far it is, of a cut or of a batch is damaged: "
            "rebuild the state with `tally ledger rebuild`");
    if (!status)
        tx_looked_through(state);
    return status;
}
