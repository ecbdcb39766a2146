// Any bytes as what a server says to libtally: an ack never names more than it holds, and nobody
// passes the handshake who cannot know the salt's digest.

#include "client/answer.h"

#include "base/assert.h"
#include "client/login.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
answer_walk(struct bytes message)
{
    struct answer answer;
    struct bytes reason;
    uint64_t index;
    size_t count = 0;
    if (!answer_read(message, &answer))
        return;
    must(answer.chunk.size > 0 && answer.chunk.size <= message.size);
    while (answer_next_rejected(&answer, &index, &reason)) {
        must(reason.size <= message.size);
        count++;
    }
    while (answer_next_conflict(&answer, &index))
        count++;
    must(count <= message.size);
}

// The bytes as the HELO, and once more as the PONG.
static void
login_walk(struct bytes message)
{
    static const struct login_secrets secrets = {
        .host = "libtally@here", .shared_key = "key", .username = "acme", .password = "horse"};
    static const char HELO[] = "\x92\xa4HELO\x82\xa5nonce\xa1n\xa4"
                               "auth\xa1s";
    struct login login = {0};
    struct error error = {0};
    login_begin(&login, &secrets);
    if (login_message(&login, message, &error) == STATUS_OK)
        must(login_is_helo(message) && login_unsent(&login).size > 0);
    else
        must(login_unsent(&login).size == 0 && error.text[0] != '\0');
    login_begin(&login, &secrets);
    enum status greeted = login_message(&login, bytes_of(HELO, sizeof HELO - 1), &error);
    must(greeted == STATUS_OK);
    login_sent(&login, login_unsent(&login).size);
    enum status proved = login_message(&login, message, &error);
    must(proved == STATUS_INVALID);
    must(login.phase == LOGIN_WAITS_PONG);
    login_done(&login);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes message = bytes_of(data, size);
    answer_walk(message);
    login_walk(message);
    return 0;
}
