#include "api/customer_json.h"

#include "api/body.h"
#include "base/assert.h"
#include "base/clock.h"

#include <string.h>

enum { NAME_MAX_BYTES = 1024, DESCRIPTION_MAX_BYTES = 4096 };

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

static enum status
members_check(const struct json *object, const struct customer_words *words, struct error *error)
{
    const char *allowed[24] = {
        "key",
        "name",
        "description",
        "currency",
        words->metadata,
        words->attribution,
        words->email,
        words->address,
    };
    size_t count = 8;
    for (size_t i = 0; words->read_only[i] != NULL; i++)
        allowed[count++] = words->read_only[i];
    must(count < sizeof allowed / sizeof allowed[0]);
    return body_members(object, allowed, error);
}

static enum status
subjects_read_from(
    const struct json *object,
    const struct customer_words *words,
    struct arena *arena,
    struct customer_profile *out,
    struct error *error)
{
    const struct json *attribution = body_member(object, words->attribution);
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
        status = body_name_check(words->subject_keys, texts[key->index], error);
    }
    out->subjects = texts;
    out->subjects_count = keys->count;
    return status;
}

static enum status
address_read(
    const struct json *object,
    const struct customer_words *words,
    struct arena *arena,
    struct customer_profile *out,
    struct error *error)
{
    scoped(buffer_done) struct buffer text = {0};
    const struct json *address = body_member(object, words->address);
    if (address == NULL)
        return STATUS_OK;
    const char *allowed[CUSTOMER_ADDRESS_MEMBERS + 1] = {NULL};
    memcpy(allowed, words->address_members, sizeof words->address_members);
    enum status status = address->type != JSON_OBJECT
                             ? error_set(error, STATUS_INVALID, "must be an object")
                             : body_members(address, allowed, error);
    if (status)
        return error_prefix(error, "%s", words->address);
    struct json_out json = json_out_to(&text);
    json_begin(&json, '{');
    for (size_t i = 0; i < CUSTOMER_ADDRESS_MEMBERS; i++) {
        const struct json *member = body_member(address, words->address_members[i]);
        bool is_text = member != NULL && member->type == JSON_STRING &&
                       member->text.size <= BODY_STRING_MAX &&
                       memchr(member->text.data, '\0', member->text.size) == NULL;
        if (member != NULL && !is_text)
            return error_set(
                error,
                STATUS_INVALID,
                "%s.%s must be a string",
                words->address,
                words->address_members[i]);
        if (member == NULL)
            continue;
        json_key(&json, CUSTOMER_V1.address_members[i]);
        json_string(&json, member->text);
    }
    json_end(&json, '}');
    out->billing_address = arena_text_of(arena, buffer_view(&text));
    return STATUS_OK;
}

static bool
is_currency(const char *text)
{
    return strlen(text) == 3 && strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == 3;
}

// What a text is not: the member's name, or NULL.
static enum status
texts_check(
    const struct customer_profile *profile, const struct customer_words *words, struct error *error)
{
    const char *at = profile->email != NULL ? strchr(profile->email, '@') : NULL;
    enum status status =
        profile->id != NULL ? body_name_check("key", profile->id, error) : STATUS_OK;
    if (status == STATUS_OK && profile->email != NULL)
        status = body_name_check(words->email, profile->email, error);
    if (status)
        return status;
    if (profile->name[0] == '\0' || strlen(profile->name) > NAME_MAX_BYTES)
        return error_set(error, STATUS_INVALID, "name must have 1 to 256 characters");
    if (profile->description != NULL && strlen(profile->description) > DESCRIPTION_MAX_BYTES)
        return error_set(error, STATUS_INVALID, "description must have at most 1024 characters");
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
    struct json *root;
    struct customer_profile profile = {0};
    enum status status = body_object(body, arena, &root, error);
    if (status == STATUS_OK)
        status = members_check(root, words, error);
    if (status == STATUS_OK)
        status = body_text(root, "key", false, arena, &profile.id, error);
    if (status == STATUS_OK)
        status = body_text(root, "name", true, arena, &profile.name, error);
    if (status == STATUS_OK)
        status = body_text(root, "description", false, arena, &profile.description, error);
    if (status == STATUS_OK)
        status = body_text(root, words->email, false, arena, &profile.email, error);
    if (status == STATUS_OK)
        status = body_text(root, "currency", false, arena, &profile.currency, error);
    if (status == STATUS_OK)
        status = texts_check(&profile, words, error);
    if (status == STATUS_OK)
        status = subjects_read_from(root, words, arena, &profile, error);
    if (status == STATUS_OK)
        status = address_read(root, words, arena, &profile, error);
    const struct json *metadata = status ? NULL : body_member(root, words->metadata);
    if (metadata != NULL) {
        status = body_strings_check(metadata, words->metadata, error);
        profile.metadata = body_print(metadata, arena);
    }
    *out = profile;
    return status;
}

// --- writing ---

static void
member_text(struct json_out *out, const char *key, const char *text)
{
    if (text == NULL)
        return;
    json_key(out, key);
    json_text(out, text);
}

static void
member_raw(struct json_out *out, const char *key, const char *json)
{
    if (json == NULL)
        return;
    json_key(out, key);
    json_raw(out, json);
}

static void
member_time(struct json_out *out, const char *key, int64_t time_ns)
{
    char text[CLOCK_TEXT_MAX];
    (void)clock_print(time_ns, text);
    member_text(out, key, text);
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
    member_text(out, "id", profile->id);
    member_text(out, "key", profile->id);
    member_text(out, "name", profile->name != NULL ? profile->name : profile->id);
    member_text(out, "description", profile->description);
    member_raw(out, words->metadata, profile->metadata);
    json_key(out, words->attribution);
    json_begin(out, '{');
    member_raw(out, words->subject_keys, profile->subjects_json);
    json_end(out, '}');
    member_text(out, words->email, profile->email);
    member_text(out, "currency", profile->currency);
    address_write(profile->billing_address, words, arena, out);
    member_time(out, words->created, profile->created_ns);
    member_time(out, words->updated, profile->updated_ns);
    json_end(out, '}');
}

// --- subjects ---

enum status
subject_json_read(
    const struct json *object,
    struct arena *arena,
    struct subject *out,
    unsigned *out_members,
    struct error *error)
{
    // The periods are OpenMeter's old way to entitlements; its server drops them too.
    static const char *const allowed[] = {
        "key",
        "displayName",
        "metadata",
        "stripeCustomerId",
        "currentPeriodStart",
        "currentPeriodEnd",
        "id",
        "createdAt",
        "updatedAt",
        "deletedAt",
        NULL};
    struct subject subject = {0};
    if (object->type != JSON_OBJECT)
        return error_set(error, STATUS_INVALID, "a subject must be an object");
    const struct json *metadata = body_member(object, "metadata");
    enum status status = body_members(object, allowed, error);
    if (status == STATUS_OK)
        status = body_text(object, "key", true, arena, &subject.key, error);
    if (status == STATUS_OK)
        status = body_name_check("key", subject.key, error);
    if (status == STATUS_OK)
        status = body_text(object, "displayName", false, arena, &subject.display_name, error);
    if (status == STATUS_OK)
        status =
            body_text(object, "stripeCustomerId", false, arena, &subject.stripe_customer_id, error);
    if (status)
        return status;
    if (subject.stripe_customer_id != NULL && strncmp(subject.stripe_customer_id, "cus_", 4) != 0)
        return error_set(error, STATUS_INVALID, "stripeCustomerId must begin with cus_");
    if (metadata != NULL && metadata->type != JSON_OBJECT)
        return error_set(error, STATUS_INVALID, "metadata must be an object");
    subject.metadata = metadata != NULL ? body_print(metadata, arena) : NULL;
    *out = subject;
    *out_members = (json_member(object, "displayName") != NULL ? SUBJECT_NAME : 0U) |
                   (json_member(object, "stripeCustomerId") != NULL ? SUBJECT_STRIPE : 0U) |
                   (json_member(object, "metadata") != NULL ? SUBJECT_METADATA : 0U);
    return STATUS_OK;
}

void
subject_json_write(const struct subject *subject, struct json_out *out)
{
    json_begin(out, '{');
    member_text(out, "id", subject->key);
    member_text(out, "key", subject->key);
    member_text(out, "displayName", subject->display_name);
    member_text(out, "stripeCustomerId", subject->stripe_customer_id);
    member_raw(out, "metadata", subject->metadata);
    member_time(out, "createdAt", subject->created_ns);
    member_time(out, "updatedAt", subject->updated_ns);
    json_end(out, '}');
}
