#include "billing/catalog_apply.h"

#include "base/assert.h"

#include <string.h>

const char *
catalog_change_name(enum catalog_change_kind kind)
{
    static const char *const names[] = {"unchanged", "created", "changed", "removed", "kept"};
    must(kind <= CATALOG_KEPT);
    return names[kind];
}

struct apply {
    struct sql *sql;
    struct registry *registry;
    const struct catalog *catalog;
    const struct catalog_apply_options *options;
    struct arena *arena;
    struct catalog_changes *out;
    struct error *error;
    struct stored_catalog stored;
};

static void
change_add(
    struct apply *apply,
    enum catalog_change_kind kind,
    const char *what,
    const char *name,
    const char *note)
{
    apply->out->items[apply->out->count++] = (struct catalog_change){kind, what, name, note};
}

// ---- what may not be

static enum status
charge_dimension_check(
    struct apply *apply,
    const struct plan *plan,
    const struct charge *charge,
    const struct meter *meter)
{
    for (uint32_t i = 0; i < meter->dimensions_count; i++)
        if (charge->dimension != NULL && strcmp(meter->dimensions[i].name, charge->dimension) == 0)
            return STATUS_OK;
    if (charge->dimension == NULL)
        return STATUS_OK;
    return error_set(
        apply->error,
        STATUS_INVALID,
        "plan %s, charge %s: the meter %s has no dimension %s",
        plan->key,
        charge->key,
        meter->key,
        charge->dimension);
}

static enum status
charge_meter_check(struct apply *apply, const struct plan *plan, const struct charge *charge)
{
    if (charge->meter == NULL)
        return STATUS_OK;
    const struct meter *known = catalog_meter(apply->catalog, charge->meter);
    if (known != NULL)
        return charge_dimension_check(apply, plan, charge, known);
    struct meter meter;
    enum status status =
        registry_find(apply->registry, charge->meter, apply->arena, &meter, apply->error);
    if (status == STATUS_OK)
        return charge_dimension_check(apply, plan, charge, &meter);
    if (status != STATUS_NOT_FOUND)
        return status;
    return error_set(
        apply->error,
        STATUS_INVALID,
        "plan %s, charge %s: there is no meter %s, neither in the file nor in the registry",
        plan->key,
        charge->key,
        charge->meter);
}

static enum status
catalog_check(struct apply *apply)
{
    enum status status = STATUS_OK;
    for (uint32_t i = 0; i < apply->catalog->plans_count; i++) {
        const struct plan *plan = &apply->catalog->plans[i];
        const struct plan *stored = stored_catalog_plan(&apply->stored, plan->key);
        if (stored != NULL && stored->kind != plan->kind)
            return error_set(
                apply->error,
                STATUS_INVALID,
                "plan %s is a%s: its kind cannot change, make another plan",
                plan->key,
                stored->kind == PLAN_TIER ? " tier" : "n add-on");
        for (uint32_t j = 0; status == STATUS_OK && j < plan->charges_count; j++)
            status = charge_meter_check(apply, plan, &plan->charges[j]);
        if (status)
            return status;
    }
    return STATUS_OK;
}

// ---- what changes

static const char *
meter_text(const struct meter *meter, struct arena *arena)
{
    scoped(buffer_done) struct buffer text = {0};
    struct json_out out = json_out_to(&text);
    meter_write(&out, meter);
    return arena_text_of(arena, buffer_view(&text));
}

static enum status
meter_compare(struct apply *apply, const struct meter *meter)
{
    struct meter old;
    enum status status =
        registry_find(apply->registry, meter->key, apply->arena, &old, apply->error);
    if (status == STATUS_NOT_FOUND) {
        change_add(apply, CATALOG_CREATED, "meter", meter->key, NULL);
        return STATUS_OK;
    }
    if (status)
        return status;
    bool is_same = strcmp(meter_text(meter, apply->arena), meter_text(&old, apply->arena)) == 0;
    const char *note = meter_counts_same(meter, &old) ? "what it counts stays" : "counts anew";
    change_add(
        apply,
        is_same ? CATALOG_UNCHANGED : CATALOG_CHANGED,
        "meter",
        meter->key,
        is_same ? NULL : note);
    return STATUS_OK;
}

static bool
is_meter_stored(const struct apply *apply, const struct meter *meter)
{
    for (size_t i = 0; i < apply->stored.meters_count; i++)
        if (strcmp(apply->stored.meters[i].key, meter->key) == 0)
            return strcmp(apply->stored.meters[i].definition, meter_text(meter, apply->arena)) == 0;
    return false;
}

// Order and definitions of the charges count; the notes say which charge.
static bool
charges_compare(struct apply *apply, const struct plan *plan, const struct plan *stored)
{
    bool is_same = plan->charges_count == stored->charges_count;
    for (uint32_t i = 0; i < plan->charges_count; i++) {
        const struct charge *charge = &plan->charges[i];
        const struct charge *old = plan_charge(stored, charge->key);
        enum catalog_change_kind kind = old == NULL                 ? CATALOG_CREATED
                                        : charge_equal(charge, old) ? CATALOG_UNCHANGED
                                                                    : CATALOG_CHANGED;
        is_same = is_same && kind == CATALOG_UNCHANGED && old == &stored->charges[i];
        change_add(
            apply,
            kind,
            "charge",
            arena_format(apply->arena, "%s/%s", plan->key, charge->key),
            NULL);
    }
    for (uint32_t i = 0; i < stored->charges_count; i++)
        if (plan_charge(plan, stored->charges[i].key) == NULL)
            change_add(
                apply,
                CATALOG_REMOVED,
                "charge",
                arena_format(apply->arena, "%s/%s", plan->key, stored->charges[i].key),
                NULL);
    return is_same;
}

// Returns whether the plan needs rows in the new version.
static bool
plan_compare(struct apply *apply, const struct plan *plan)
{
    static const struct plan nothing = {0};
    const struct plan *stored = stored_catalog_plan(&apply->stored, plan->key);
    size_t at = apply->out->count;
    change_add(apply, CATALOG_CREATED, "plan", plan->key, NULL);
    bool is_same = charges_compare(apply, plan, stored != NULL ? stored : &nothing);
    if (stored == NULL)
        return true;
    is_same = is_same && plan_terms_equal(plan, stored);
    apply->out->items[at].kind = is_same ? CATALOG_UNCHANGED : CATALOG_CHANGED;
    return !is_same;
}

static void
kept_note(struct apply *apply)
{
    for (size_t i = 0; i < apply->stored.plans_count; i++)
        if (catalog_plan(apply->catalog, apply->stored.plans[i].key) == NULL)
            change_add(
                apply,
                CATALOG_KEPT,
                "plan",
                apply->stored.plans[i].key,
                "not in the file: left alone");
}

static size_t
changes_max(const struct apply *apply)
{
    size_t count = apply->catalog->meters_count + apply->stored.plans_count;
    for (uint32_t i = 0; i < apply->catalog->plans_count; i++)
        count += 1 + (size_t)apply->catalog->plans[i].charges_count;
    for (size_t i = 0; i < apply->stored.plans_count; i++)
        count += apply->stored.plans[i].charges_count;
    return count;
}

// ---- doing it

// The version's row is made by the first that needs it.
static enum status
version_need(struct apply *apply)
{
    if (apply->out->is_new_version)
        return STATUS_OK;
    apply->out->is_new_version = true;
    apply->out->version = apply->stored.version + 1;
    return store_catalog_version_add(
        apply->sql, apply->out->version, apply->options->now_ns, apply->error);
}

static enum status
meters_prepare(struct apply *apply)
{
    enum status status = STATUS_OK;
    for (uint32_t i = 0; status == STATUS_OK && i < apply->catalog->meters_count; i++) {
        const struct meter *meter = &apply->catalog->meters[i];
        status = meter_compare(apply, meter);
        if (status || is_meter_stored(apply, meter))
            continue;
        status = version_need(apply);
        if (status == STATUS_OK)
            status = store_catalog_meter_add(apply->sql, apply->out->version, meter, apply->error);
    }
    return status;
}

static enum status
plans_prepare(struct apply *apply)
{
    enum status status = STATUS_OK;
    for (uint32_t i = 0; status == STATUS_OK && i < apply->catalog->plans_count; i++) {
        const struct plan *plan = &apply->catalog->plans[i];
        if (!plan_compare(apply, plan))
            continue;
        status = version_need(apply);
        if (status == STATUS_OK)
            status = store_catalog_plan_add(apply->sql, apply->out->version, plan, apply->error);
    }
    return status;
}

static enum status
prepare(struct apply *apply)
{
    enum status status = store_catalog_lock(apply->sql, apply->error);
    if (status == STATUS_OK)
        status = store_catalog(apply->sql, apply->arena, &apply->stored, apply->error);
    if (status == STATUS_OK)
        status = catalog_check(apply);
    if (status)
        return status;
    apply->out->items = arena_array(apply->arena, changes_max(apply) + 1, struct catalog_change);
    apply->out->version = apply->stored.version;
    status = meters_prepare(apply);
    if (status == STATUS_OK)
        status = plans_prepare(apply);
    if (status == STATUS_OK)
        status = store_catalog_charges_check(apply->sql, apply->stored.version, apply->error);
    if (status == STATUS_OK)
        status = store_catalog_prices_check(apply->sql, apply->error);
    kept_note(apply);
    return status;
}

static enum status
meters_write(const struct apply *apply)
{
    enum status status = STATUS_OK;
    for (uint32_t i = 0; status == STATUS_OK && i < apply->catalog->meters_count; i++)
        status = registry_put(
            apply->registry,
            &apply->catalog->meters[i],
            apply->options->now_ns,
            NULL,
            apply->error);
    return status;
}

static enum status
apply_run(struct apply *apply)
{
    enum status status = sql_begin(apply->sql, apply->error);
    if (status)
        return status;
    status = prepare(apply);
    if (status == STATUS_OK && !apply->options->is_dry_run)
        status = meters_write(apply);
    if (status == STATUS_OK && !apply->options->is_dry_run)
        return sql_commit(apply->sql, apply->error);
    sql_rollback(apply->sql);
    return status;
}

enum status
catalog_apply(
    const struct catalog_target *target,
    const struct catalog *catalog,
    const struct catalog_apply_options *options,
    struct arena *arena,
    struct catalog_changes *out,
    struct error *error)
{
    must(target->registry != NULL && catalog != NULL);
    struct catalog_changes changes = {0};
    struct apply apply = {
        target->sql, target->registry, catalog, options, arena, &changes, error, {0}};
    enum status status = apply_run(&apply);
    if (status == STATUS_OK)
        *out = changes;
    return status;
}
