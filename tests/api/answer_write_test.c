#include "api/answer_write.h"

#include <criterion/criterion.h>

static const struct {
    const char *text;
    const char *six;
} ROWS[] = {
    {"0",                       "0.000000"                    },
    {"5",                       "5.000000"                    },
    {"-5",                      "-5.000000"                   },
    {"0.1",                     "0.100000"                    },
    {"0.123456",                "0.123456"                    },
    {"0.1234565",               "0.123456"                    },
    {"0.1234575",               "0.123458"                    },
    {"0.12345650000000000001",  "0.123457"                    },
    {"0.1234564999",            "0.123456"                    },
    {"0.9999999",               "1.000000"                    },
    {"99.9999995",              "100.000000"                  },
    {"-99.9999999",             "-100.000000"                 },
    {"-0.0000001",              "0.000000"                    },
    {"-0.0000009",              "-0.000001"                   },
    {"123456789012345678901.5", "123456789012345678901.500000"},
};

Test(answer_write, six_decimals_are_rounded_half_to_even)
{
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
        char room[WIDE_TEXT_MAX + 8];
        six_decimals(ROWS[i].text, room);
        cr_assert_str_eq(room, ROWS[i].six, "%s", ROWS[i].text);
    }
}
