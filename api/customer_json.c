#include "api/customer_json.h"

#include "api/form.h"
#include "api/member.h"
#include "base/assert.h"

#include <string.h>

static const char CAPITALS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

enum { TITLE_MAX = 1024, DESCRIPTION_MAX = 4096 };

static const char *const READ_ONLY_V1[] = {
    "id",
    "createdAt",
    "updatedAt",
    "deletedAt",
    "annotations",
    "subscriptions",
    "currentSubscriptionId",
    NULL};
static const char *const READ_ONLY_V3[] = {"id", "created_at", "updated_at", "deleted_at", NULL};

// An address is stored in the words of V1.
const struct customer_words CUSTOMER_V1 = {
    .metadata = "metadata",
    .attribution = "usageAttribution",
    .subject_keys = "subjectKeys",
    .email = "primaryEmail",
    .address = "billingAddress",
    .created = "createdAt",
    .updated = "updatedAt",
    .address_members = {"country", "postalCode", "state", "city", "line1", "line2", "phoneNumber"},
    .read_only = READ_ONLY_V1,
};
const struct customer_words CUSTOMER_V3 = {
    .metadata = "labels",
    .attribution = "usage_attribution",
    .subject_keys = "subject_keys",
    .email = "primary_email",
    .address = "billing_address",
    .created = "created_at",
    .updated = "updated_at",
    .address_members =
        {"country", "postal_code", "state", "city", "line1", "line2", "phone_number"},
    .read_only = READ_ONLY_V3,
};

// --- reading ---

enum { ROWS_MAX = 20 };

// What a body says of a customer.
struct wish {
    const char *key, *name, *description, *email, *currency;
    const struct json *attribution, *address, *metadata;
};

static enum status
wish_read(
    struct bytes body,
    const struct customer_words *words,
    struct arena *arena,
    struct wish *out,
    struct error *error)
{
    // clang-format off
    struct form_row rows[ROWS_MAX] = {
        {"key", FORM_TEXT, offsetof(struct wish, key), FORM_NAME_MAX, false},
        {"name", FORM_TEXT, offsetof(struct wish, name), TITLE_MAX, true},
        {"description", FORM_ANY_TEXT, offsetof(struct wish, description), DESCRIPTION_MAX, false},
        {"currency", FORM_TEXT, offsetof(struct wish, currency), 0, false},
        {words->email, FORM_TEXT, offsetof(struct wish, email), FORM_NAME_MAX, false},
        {words->attribution, FORM_OBJECT, offsetof(struct wish, attribution), 0, false},
        {words->address, FORM_OBJECT, offsetof(struct wish, address), 0, false},
        {words->metadata, FORM_VALUE, offsetof(struct wish, metadata), 0, false},
    };
    // clang-format on
    size_t count = 8;
    for (size_t i = 0; words->read_only[i] != NULL; i++)
        rows[count++] = (struct form_row){.name = words->read_only[i], .type = FORM_IGNORED};
    must(count < ROWS_MAX);
    return form_read(body, rows, arena, out, error);
}

static enum status
subjects_read_from(
    const struct json *attribution,
    const struct customer_words *words,
    struct arena *arena,
    struct customer_profile *out,
    struct error *error)
{
    if (attribution == NULL)
        return STATUS_OK;
    const struct json *keys = json_member(attribution, words->subject_keys);
    if (keys == NULL || keys->type != JSON_ARRAY || keys->count > CUSTOMER_SUBJECTS_MAX)
        return error_set(
            error,
            STATUS_INVALID,
            "%s.%s must be a list of at most %d strings",
            words->attribution,
            words->subject_keys,
            CUSTOMER_SUBJECTS_MAX);
    const char **texts = arena_array(arena, (size_t)keys->count + 1, const char *);
    enum status status = STATUS_OK;
    for (const struct json *key = keys->first; status == STATUS_OK && key != NULL;
         key = key->next) {
        bool is_text =
            key->type == JSON_STRING && memchr(key->text.data, '\0', key->text.size) == NULL;
        texts[key->index] = is_text ? arena_text_of(arena, key->text) : "";
        status = form_name_check(words->subject_keys, texts[key->index], error);
    }
    out->subjects = texts;
    out->subjects_count = keys->count;
    return status;
}

static bool
is_country(const char *text)
{
    return strlen(text) == 2 && strspn(text, CAPITALS) == 2;
}

static enum status
address_read(
    const struct json *address,
    const struct customer_words *words,
    struct arena *arena,
    struct customer_profile *out,
    struct error *error)
{
    scoped(buffer_done) struct buffer text = {0};
    struct form_row rows[CUSTOMER_ADDRESS_MEMBERS + 1] = {{.name = NULL}};
    const char *texts[CUSTOMER_ADDRESS_MEMBERS] = {NULL};
    if (address == NULL)
        return STATUS_OK;
    for (uint32_t i = 0; i < CUSTOMER_ADDRESS_MEMBERS; i++)
        rows[i] = (struct form_row){
            words->address_members[i],
            FORM_ANY_TEXT,
            i * (uint32_t)sizeof texts[0],
            FORM_STRING_MAX,
            false};
    enum status status = form_object_read(address, rows, arena, texts, error);
    if (status)
        return status;
    if (texts[0] != NULL && !is_country(texts[0]))
        return error_set(
            error, STATUS_INVALID, "%s.country must be two capital letters: AT", words->address);
    struct json_out json = json_out_to(&text);
    json_begin(&json, '{');
    for (size_t i = 0; i < CUSTOMER_ADDRESS_MEMBERS; i++) {
        if (texts[i] == NULL)
            continue;
        json_key(&json, CUSTOMER_V1.address_members[i]);
        json_text(&json, texts[i]);
    }
    json_end(&json, '}');
    out->billing_address = arena_text_of(arena, buffer_view(&text));
    return STATUS_OK;
}

static bool
is_currency(const char *text)
{
    return strlen(text) == 3 && strspn(text, CAPITALS) == 3;
}

// What a text is not: the member's name, or NULL.
static enum status
texts_check(
    const struct customer_profile *profile, const struct customer_words *words, struct error *error)
{
    const char *at = profile->email != NULL ? strchr(profile->email, '@') : NULL;
    enum status status =
        profile->id != NULL ? form_name_check("key", profile->id, error) : STATUS_OK;
    if (status == STATUS_OK && profile->email != NULL)
        status = form_name_check(words->email, profile->email, error);
    if (status)
        return status;
    if (profile->email != NULL && (at == NULL || at == profile->email))
        return error_set(error, STATUS_INVALID, "%s must be an address", words->email);
    if (profile->currency != NULL && !is_currency(profile->currency))
        return error_set(error, STATUS_INVALID, "currency must be three capital letters: USD");
    return STATUS_OK;
}

enum status
customer_json_read(
    struct bytes body,
    const struct customer_words *words,
    struct arena *arena,
    struct customer_profile *out,
    struct error *error)
{
    struct wish wish = {.key = NULL};
    enum status status = wish_read(body, words, arena, &wish, error);
    if (status)
        return status;
    struct customer_profile profile = {
        .id = wish.key,
        .name = wish.name,
        .description = wish.description,
        .email = wish.email,
        .currency = wish.currency,
    };
    status = texts_check(&profile, words, error);
    if (status == STATUS_OK)
        status = subjects_read_from(wish.attribution, words, arena, &profile, error);
    if (status == STATUS_OK)
        status = address_read(wish.address, words, arena, &profile, error);
    if (status == STATUS_OK && wish.metadata != NULL) {
        status = form_strings_check(wish.metadata, words->metadata, error);
        profile.metadata = form_print(wish.metadata, arena);
    }
    *out = profile;
    return status;
}

// --- writing ---

static void
text_write(struct json_out *out, const char *key, const char *text)
{
    if (text != NULL)
        member_text(out, key, text);
}

static void
raw_write(struct json_out *out, const char *key, const char *json)
{
    if (json == NULL)
        return;
    json_key(out, key);
    json_raw(out, json);
}

static void
address_write(
    const char *stored,
    const struct customer_words *words,
    struct arena *arena,
    struct json_out *out)
{
    struct json *address;
    struct error error;
    if (stored == NULL ||
        json_parse(bytes_text(stored), NULL, arena, &address, &error) != STATUS_OK)
        return;
    json_key(out, words->address);
    json_begin(out, '{');
    for (size_t i = 0; i < CUSTOMER_ADDRESS_MEMBERS; i++) {
        const struct json *member = json_member(address, CUSTOMER_V1.address_members[i]);
        if (member == NULL)
            continue;
        json_key(out, words->address_members[i]);
        json_string(out, member->text);
    }
    json_end(out, '}');
}

void
customer_json_write(
    const struct customer_profile *profile,
    const struct customer_words *words,
    struct arena *arena,
    struct json_out *out)
{
    json_begin(out, '{');
    text_write(out, "id", profile->id);
    text_write(out, "key", profile->id);
    text_write(out, "name", profile->name != NULL ? profile->name : profile->id);
    text_write(out, "description", profile->description);
    raw_write(out, words->metadata, profile->metadata);
    json_key(out, words->attribution);
    json_begin(out, '{');
    raw_write(out, words->subject_keys, profile->subjects_json);
    json_end(out, '}');
    text_write(out, words->email, profile->email);
    text_write(out, "currency", profile->currency);
    address_write(profile->billing_address, words, arena, out);
    member_time(out, words->created, profile->created_ns);
    member_time(out, words->updated, profile->updated_ns);
    json_end(out, '}');
}

// --- subjects ---

struct subject_wish {
    const char *key, *display_name, *stripe_customer_id;
    const struct json *metadata;
};

// The periods are OpenMeter's old way to entitlements; its server drops them too.
// clang-format off
static const struct form_row SUBJECT_ROWS[] = {
    {"key", FORM_TEXT, offsetof(struct subject_wish, key), FORM_NAME_MAX, true},
    {"displayName", FORM_ANY_TEXT, offsetof(struct subject_wish, display_name), 0, false},
    {"metadata", FORM_OBJECT, offsetof(struct subject_wish, metadata), 0, false},
    {"stripeCustomerId", FORM_TEXT, offsetof(struct subject_wish, stripe_customer_id), 0, false},
    {.name = "currentPeriodStart", .type = FORM_IGNORED},
    {.name = "currentPeriodEnd", .type = FORM_IGNORED},
    {.name = "id", .type = FORM_IGNORED},
    {.name = "createdAt", .type = FORM_IGNORED},
    {.name = "updatedAt", .type = FORM_IGNORED},
    {.name = "deletedAt", .type = FORM_IGNORED},
    {.name = NULL},
};
// clang-format on

enum status
subject_json_read(
    const struct json *object,
    struct arena *arena,
    struct subject *out,
    unsigned *out_members,
    struct error *error)
{
    struct subject_wish wish = {.key = NULL};
    enum status status = form_object_read(object, SUBJECT_ROWS, arena, &wish, error);
    if (status == STATUS_OK)
        status = form_name_check("key", wish.key, error);
    if (status)
        return status;
    const char *stripe = wish.stripe_customer_id;
    if (stripe != NULL && strncmp(stripe, "cus_", 4) != 0)
        return error_set(error, STATUS_INVALID, "stripeCustomerId must begin with cus_");
    *out = (struct subject){
        .key = wish.key,
        .display_name = wish.display_name,
        .stripe_customer_id = stripe,
        .metadata = wish.metadata != NULL ? form_print(wish.metadata, arena) : NULL,
    };
    *out_members = (json_member(object, "displayName") != NULL ? SUBJECT_NAME : 0U) |
                   (json_member(object, "stripeCustomerId") != NULL ? SUBJECT_STRIPE : 0U) |
                   (json_member(object, "metadata") != NULL ? SUBJECT_METADATA : 0U);
    return STATUS_OK;
}

void
subject_json_write(const struct subject *subject, struct json_out *out)
{
    json_begin(out, '{');
    text_write(out, "id", subject->key);
    text_write(out, "key", subject->key);
    text_write(out, "displayName", subject->display_name);
    text_write(out, "stripeCustomerId", subject->stripe_customer_id);
    raw_write(out, "metadata", subject->metadata);
    member_time(out, "createdAt", subject->created_ns);
    member_time(out, "updatedAt", subject->updated_ns);
    json_end(out, '}');
}
