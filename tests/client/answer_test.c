#include "client/answer.h"

#include "base/buffer.h"

#include <criterion/criterion.h>

#define BYTES(literal) bytes_of((literal), sizeof(literal) - 1)

// {"ack": "c1", "duplicates": 2, "rejected": [[0, "time"], [300, "id"]], "conflicts": [1, 2],
// "x": [nil]}
static const char FULL[] = "\x85\xa3"
                           "ack\xa2"
                           "c1\xaa"
                           "duplicates\x02\xa8"
                           "rejected\x92\x92\x00\xa4time\x92\xcd\x01\x2c\xa2id\xa9"
                           "conflicts\x92\x01\x02\xa1x\x91\xc0";

Test(answer, gives_every_refusal)
{
    struct answer answer;
    uint64_t index;
    struct bytes reason;
    cr_assert(answer_read(BYTES(FULL), &answer));
    cr_assert(bytes_equal(answer.chunk, bytes_text("c1")));
    cr_assert_eq(answer.duplicates, 2);
    cr_assert(answer_next_rejected(&answer, &index, &reason));
    cr_assert_eq(index, 0);
    cr_assert(bytes_equal(reason, bytes_text("time")));
    cr_assert(answer_next_rejected(&answer, &index, &reason));
    cr_assert_eq(index, 300);
    cr_assert(bytes_equal(reason, bytes_text("id")));
    cr_assert_not(answer_next_rejected(&answer, &index, &reason));
    cr_assert(answer_next_conflict(&answer, &index));
    cr_assert_eq(index, 1);
    cr_assert(answer_next_conflict(&answer, &index));
    cr_assert_eq(index, 2);
    cr_assert_not(answer_next_conflict(&answer, &index));
}

Test(answer, accepts_a_plain_ack)
{
    const struct bytes rows[] = {
        BYTES("\x81\xa3"
              "ack\xa2"
              "c1"),
        BYTES("\x81\xa3"
              "ack\xc4\x02"
              "c1"),
        BYTES("\xde\x00\x01\xa3"
              "ack\xd9\x02"
              "c1"),
        BYTES("\x82\xa3"
              "ack\xa2"
              "c1\xa3new\x81\xa1"
              "a\x01"),
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct answer answer;
        uint64_t index;
        cr_assert(answer_read(rows[i], &answer), "row %zu", i);
        cr_assert(bytes_equal(answer.chunk, bytes_text("c1")), "row %zu", i);
        cr_assert_eq(answer.duplicates, 0);
        cr_assert_not(answer_next_conflict(&answer, &index));
    }
}

Test(answer, refuses_what_is_no_ack)
{
    const struct {
        const char *what;
        struct bytes bytes;
    } rows[] = {
        {"nothing",                     BYTES("")                },
        {"nil",                         BYTES("\xc0")            },
        {"the greeting of a handshake", BYTES("\x92\xa4HELO\x80")},
        {"an empty map",                BYTES("\x80")            },
        {"no ack",                      BYTES("\x81\xa1x\x01")   },
        {"an empty ack",
         BYTES("\x81\xa3"
               "ack\xa0")                                        },
        {"an ack that is a number",
         BYTES("\x81\xa3"
               "ack\x01")                                        },
        {"a key that is a number",      BYTES("\x81\x01\xa1x")   },
        {"something behind it",
         BYTES("\x81\xa3"
               "ack\xa1x\xc0")                                   },
        {"a negative count",
         BYTES("\x82\xa3"
               "ack\xa1x\xaa"
               "duplicates\xff")                                 },
        {"rejected is no list",
         BYTES("\x82\xa3"
               "ack\xa1x\xa8rejected\x01")                       },
        {"a reason is missing",
         BYTES("\x82\xa3"
               "ack\xa1x\xa8rejected\x91\x91\x00")               },
        {"a reason is a number",
         BYTES("\x82\xa3"
               "ack\xa1x\xa8rejected\x91\x92\x00\x01")           },
        {"conflicts is a map",
         BYTES("\x82\xa3"
               "ack\xa1x\xa9"
               "conflicts\x80")                                  },
        {"a conflict is a text",
         BYTES("\x82\xa3"
               "ack\xa1x\xa9"
               "conflicts\x91\xa1"
               "1")                                              },
        {"a list of 4 G items",
         BYTES("\x82\xa3"
               "ack\xa1x\xa9"
               "conflicts\xdd\xff\xff\xff\xff")                  },
        {"a map of 4 G pairs",
         BYTES("\xdf\xff\xff\xff\xff\xa3"
               "ack\xa1x")                                       },
        {"a broken byte",
         BYTES("\x82\xa3"
               "ack\xa1x\xa1y\xc1")                              },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct answer answer;
        cr_assert_not(answer_read(rows[i].bytes, &answer), "%s", rows[i].what);
    }
}

Test(answer, refuses_every_truncation)
{
    for (size_t size = 0; size < sizeof FULL - 1; size++) {
        // A copy of just these bytes, so that the sanitizer sees a read behind them.
        scoped(buffer_done) struct buffer copy = {.limit = size + 1};
        struct answer answer;
        buffer_put(&copy, FULL, size);
        cr_assert_not(answer_read(buffer_view(&copy), &answer), "%zu bytes", size);
    }
}
