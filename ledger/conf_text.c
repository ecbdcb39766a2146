#include "ledger/conf_text.h"

#include <string.h>

enum { NUMBER_DIGITS_MAX = 19 };

const char *
conf_value(const char *text, const char *key, size_t *out_size)
{
    size_t key_size = strlen(key);
    for (const char *line = text; *line != '\0';) {
        const char *end = strchrnul(line, '\n');
        if (strncmp(line, key, key_size) == 0 && strncmp(line + key_size, " = ", 3) == 0) {
            const char *value = line + key_size + 3;
            *out_size = (size_t)(end - value);
            return value;
        }
        line = *end == '\n' ? end + 1 : end;
    }
    return NULL;
}

bool
conf_number(const char *text, const char *key, uint64_t min, uint64_t max, uint64_t *out)
{
    size_t size;
    const char *value = conf_value(text, key, &size);
    if (value == NULL || size == 0 || size > NUMBER_DIGITS_MAX)
        return false;
    uint64_t number = 0;
    for (size_t i = 0; i < size; i++) {
        if (value[i] < '0' || value[i] > '9')
            return false;
        number = number * 10 + (uint64_t)(value[i] - '0');
    }
    *out = number;
    return number >= min && number <= max;
}
