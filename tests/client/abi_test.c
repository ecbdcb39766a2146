// What the library and its users must have in common. A row that fails means that a struct of
// tally.h changed: raise TALLY_ABI there, by one for each release, and only then write the new
// numbers here.
#include "client/tally.h"

#include <criterion/criterion.h>

Test(abi, has_the_structs_of_its_number)
{
    cr_assert_eq(TALLY_ABI, 1);
    cr_assert_eq(sizeof(struct tally_options), 176);
    cr_assert_eq(sizeof(struct tally_event), 72);
    cr_assert_eq(sizeof(struct tally_property), 32);
    cr_assert_eq(sizeof(struct tally_refusal), 24);
    cr_assert_eq(sizeof(struct tally_stats), 632);
    cr_assert_eq(offsetof(struct tally_options, context), 96);
    cr_assert_eq(offsetof(struct tally_options, tls_skip_verify), 168);
    cr_assert_eq(offsetof(struct tally_event, tag), 64);
    cr_assert_eq(offsetof(struct tally_stats, last_error), 372);
}
