#include "tools/nearest.h"

#include <criterion/criterion.h>

#include <string.h>

static const char *const names[] = {"up", "down", "status", "import", "subscribe"};

Test(nearest, finds_what_was_meant)
{
    static const struct {
        const char *word;
        const char *want;
    } rows[] = {
        {"improt",     "import"   },
        {"imports",    "import"   },
        {"IMPORT",     NULL       },
        {"statsu",     "status"   },
        {"dwon",       "down"     },
        {"pu",         "up"       },
        {"subscripe",  "subscribe"},
        {"subsrcibes", "subscribe"},
        {"frobnicate", NULL       },
        {"",           NULL       },
        {"x",          NULL       },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *got = nearest_name(rows[i].word, names, sizeof names / sizeof names[0]);
        if (rows[i].want)
            cr_assert(got && strcmp(got, rows[i].want) == 0, "%s", rows[i].word);
        else
            cr_assert_null(got, "%s", rows[i].word);
    }
}

Test(nearest, leaves_very_long_words_alone)
{
    char word[200];
    memset(word, 'a', sizeof word - 1);
    word[sizeof word - 1] = 0;
    cr_assert_null(nearest_name(word, names, sizeof names / sizeof names[0]));
}
