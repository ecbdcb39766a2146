// LIKE, as SQL has it: walks pattern and text together, and goes back to the last % when they part.
// Steps are at most the product of both sizes.

#include "ledger/usage_filter.h"

enum token_kind { TOKEN_END, TOKEN_RUN, TOKEN_ONE, TOKEN_BYTE };

struct token {
    enum token_kind kind;
    size_t size;  // in the pattern
    uint8_t byte;
};

static struct token
token_at(struct bytes pattern, size_t at)
{
    if (at >= pattern.size)
        return (struct token){.kind = TOKEN_END};
    uint8_t byte = pattern.data[at];
    uint8_t next = at + 1 < pattern.size ? pattern.data[at + 1] : 0;
    if (byte == '%')
        return (struct token){TOKEN_RUN, 1, byte};
    if (byte == '_')
        return (struct token){TOKEN_ONE, 1, byte};
    if (byte == '\\' && (next == '%' || next == '_' || next == '\\'))
        return (struct token){TOKEN_BYTE, 2, next};
    return (struct token){TOKEN_BYTE, 1, byte};
}

static uint8_t
byte_lower(uint8_t byte)
{
    return byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte - 'A' + 'a') : byte;
}

static size_t
character_size(struct bytes text, size_t at)
{
    size_t size = bytes_utf8_size(bytes_of(text.data + at, text.size - at));
    return size > 0 ? size : 1;
}

// How much of the text the token takes; 0: it does not fit.
static size_t
token_takes(const struct token *token, struct bytes text, size_t at, bool ignores_case)
{
    if (token->kind == TOKEN_ONE)
        return character_size(text, at);
    if (token->kind != TOKEN_BYTE)
        return 0;
    uint8_t byte = text.data[at];
    bool is_same = ignores_case ? byte_lower(byte) == byte_lower(token->byte) : byte == token->byte;
    return is_same ? 1 : 0;
}

bool
usage_like(struct bytes pattern, struct bytes text, bool ignores_case)
{
    size_t pattern_at = 0;
    size_t text_at = 0;
    size_t run_pattern_at = SIZE_MAX;  // after the last %
    size_t run_text_at = 0;            // where what it stands for ends
    while (text_at < text.size) {
        struct token token = token_at(pattern, pattern_at);
        size_t taken = token_takes(&token, text, text_at, ignores_case);
        if (token.kind == TOKEN_RUN) {
            pattern_at += token.size;
            run_pattern_at = pattern_at;
            run_text_at = text_at;
        } else if (taken > 0) {
            pattern_at += token.size;
            text_at += taken;
        } else if (run_pattern_at != SIZE_MAX) {
            run_text_at += character_size(text, run_text_at);
            pattern_at = run_pattern_at;
            text_at = run_text_at;
        } else {
            return false;
        }
    }
    while (token_at(pattern, pattern_at).kind == TOKEN_RUN)
        pattern_at++;
    return pattern_at == pattern.size;
}
