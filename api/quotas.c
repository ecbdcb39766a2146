#include "api/quotas.h"

#include "api/meter_json.h"
#include "base/assert.h"
#include "base/pool.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

// One reading of the registry. Replaced as a whole.
struct copy {
    struct arena arena;
    uint64_t revision;
    struct meter *meters;
    uint32_t meters_count;
    struct threshold *thresholds;  // by meter, then by subject, those for everybody first
    uint32_t thresholds_count;
};

struct quotas {
    pthread_rwlock_t lock;  // for copy
    struct copy *copy;      // NULL: never read
};

enum status
quotas_open(struct quotas **out, struct error *error)
{
    struct quotas *quotas = pool_take(1, sizeof *quotas);
    if (quotas == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for thresholds");
    pthread_rwlock_init(&quotas->lock, NULL);
    *out = quotas;
    return STATUS_OK;
}

static void
copy_free(struct copy *copy)
{
    if (copy == NULL)
        return;
    arena_done(&copy->arena);
    pool_give(copy);
}

void
quotas_close(struct quotas *quotas)
{
    if (quotas == NULL)
        return;
    copy_free(quotas->copy);
    pthread_rwlock_destroy(&quotas->lock);
    pool_give(quotas);
}

static int
subject_compare(const char *a, const char *b)
{
    return strcmp(a != NULL ? a : "", b != NULL ? b : "");
}

static int
threshold_compare(const void *a, const void *b)
{
    const struct threshold *left = a, *right = b;
    int order = strcmp(left->meter, right->meter);
    return order != 0 ? order : subject_compare(left->subject, right->subject);
}

static enum status
copy_read(struct copy *copy, struct registry *registry, struct error *error)
{
    // Before the lists: a change in between is seen by the next request.
    copy->revision = registry_revision(registry);
    enum status status =
        registry_list(registry, &copy->arena, &copy->meters, &copy->meters_count, error);
    if (!status)
        status = threshold_list(
            registry, &copy->arena, &copy->thresholds, &copy->thresholds_count, error);
    if (!status && copy->thresholds_count > 1)
        qsort(
            copy->thresholds, copy->thresholds_count, sizeof *copy->thresholds, threshold_compare);
    return status;
}

static bool
quotas_is_fresh(const struct quotas *quotas, struct registry *registry)
{
    return quotas->copy != NULL && quotas->copy->revision == registry_revision(registry);
}

// With the lock held for writing. What was there stays when it fails.
static enum status
quotas_renew(struct quotas *quotas, struct registry *registry, struct error *error)
{
    struct copy *copy = pool_take(1, sizeof *copy);
    if (copy == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for thresholds");
    enum status status = copy_read(copy, registry, error);
    if (!status) {
        struct copy *before = quotas->copy;
        quotas->copy = copy;
        copy = before;
    }
    copy_free(copy);
    return status;
}

// Holds the lock for reading when it returns STATUS_OK.
static enum status
quotas_lock(struct quotas *quotas, struct reader *reader, struct error *error)
{
    struct registry *registry = reader_registry(reader);
    pthread_rwlock_rdlock(&quotas->lock);
    if (quotas_is_fresh(quotas, registry))
        return STATUS_OK;
    pthread_rwlock_unlock(&quotas->lock);
    pthread_rwlock_wrlock(&quotas->lock);
    enum status status = STATUS_OK;
    if (!quotas_is_fresh(quotas, registry))
        status = quotas_renew(quotas, registry, error);
    pthread_rwlock_unlock(&quotas->lock);
    if (!status)
        pthread_rwlock_rdlock(&quotas->lock);
    return status;
}

// --- meters ---

static const struct meter *
meter_look(const struct copy *copy, const char *key_or_id)
{
    for (uint32_t i = 0; i < copy->meters_count; i++)
        if (strcmp(copy->meters[i].key, key_or_id) == 0)
            return &copy->meters[i];
    for (uint32_t i = 0; strlen(key_or_id) == ULID_SIZE && i < copy->meters_count; i++) {
        char id[ULID_SIZE + 1];
        meter_ulid(&copy->meters[i], id);
        if (strcmp(id, key_or_id) == 0)
            return &copy->meters[i];
    }
    return NULL;
}

enum status
quotas_meter(
    struct quotas *quotas,
    struct reader *reader,
    const char *key_or_id,
    struct arena *arena,
    struct quotas_meter *out,
    struct error *error)
{
    enum status status = quotas_lock(quotas, reader, error);
    if (status)
        return status;
    const struct meter *meter = meter_look(quotas->copy, key_or_id);
    if (meter != NULL)
        *out = (struct quotas_meter){arena_text(arena, meter->key), meter->aggregation};
    pthread_rwlock_unlock(&quotas->lock);
    return meter != NULL
               ? STATUS_OK
               : error_set(error, STATUS_NOT_FOUND, "There is no meter %.64s.", key_or_id);
}

// --- thresholds ---

// The first one that is not before (meter, subject).
static uint32_t
threshold_place(const struct copy *copy, const char *meter, const char *subject)
{
    const struct threshold wanted = {.meter = meter, .subject = subject};
    uint32_t low = 0, high = copy->thresholds_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (threshold_compare(&copy->thresholds[middle], &wanted) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

// The least of each period, of those that are exactly for this subject.
static void
least_add(
    const struct copy *copy,
    const char *meter,
    const char *subject,
    const struct threshold *least[QUOTAS_PERIODS])
{
    const struct threshold wanted = {.meter = meter, .subject = subject};
    for (uint32_t i = threshold_place(copy, meter, subject); i < copy->thresholds_count; i++) {
        const struct threshold *one = &copy->thresholds[i];
        if (threshold_compare(one, &wanted) != 0)
            return;
        const struct threshold **best = &least[one->period];
        if (*best == NULL || decimal_compare(one->limit, (*best)->limit) < 0)
            *best = one;
    }
}

static struct threshold
threshold_copy(const struct threshold *one, struct arena *arena)
{
    struct threshold copy = *one;
    copy.key = arena_text(arena, one->key);
    copy.meter = arena_text(arena, one->meter);
    copy.subject = one->subject != NULL ? arena_text(arena, one->subject) : NULL;
    return copy;
}

enum status
quotas_find(
    struct quotas *quotas,
    struct reader *reader,
    const struct quotas_question *question,
    struct arena *arena,
    struct quotas_list *out,
    struct error *error)
{
    const struct threshold *named[QUOTAS_PERIODS] = {NULL};
    const struct threshold *general[QUOTAS_PERIODS] = {NULL};
    struct quotas_list list = {.count = 0};
    enum status status = quotas_lock(quotas, reader, error);
    if (status)
        return status;
    const struct copy *copy = quotas->copy;
    least_add(copy, question->meter, NULL, general);
    for (uint32_t i = 0; i < question->subjects_count; i++)
        least_add(copy, question->meter, arena_text_of(arena, question->subjects[i]), named);
    for (uint32_t i = 0; i < QUOTAS_PERIODS; i++) {
        const struct threshold *one = named[i] != NULL ? named[i] : general[i];
        if (one != NULL)
            list.items[list.count++] = threshold_copy(one, arena);
    }
    pthread_rwlock_unlock(&quotas->lock);
    *out = list;
    return STATUS_OK;
}
