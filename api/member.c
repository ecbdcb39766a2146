#include "api/member.h"

#include "base/clock.h"

void
member_text(struct json_out *out, const char *key, const char *text)
{
    json_key(out, key);
    json_text(out, text);
}

void
member_bytes(struct json_out *out, const char *key, struct bytes text)
{
    json_key(out, key);
    json_string(out, text);
}

void
member_int(struct json_out *out, const char *key, int64_t value)
{
    json_key(out, key);
    json_int(out, value);
}

void
member_bool(struct json_out *out, const char *key, bool value)
{
    json_key(out, key);
    json_bool(out, value);
}

void
member_time(struct json_out *out, const char *key, int64_t time_ns)
{
    char text[CLOCK_TEXT_MAX];
    (void)clock_print(time_ns, text);
    member_text(out, key, text);
}

void
member_decimal(struct json_out *out, const char *key, struct decimal value)
{
    char text[DECIMAL_TEXT_MAX];
    (void)decimal_print(value, text);
    json_key(out, key);
    json_raw(out, text);
}

void
member_wide(struct json_out *out, const char *key, struct wide value)
{
    char text[WIDE_TEXT_MAX];
    (void)wide_divide_print(value, 1, DECIMAL_PLACES, text);
    json_key(out, key);
    json_raw(out, text);
}
