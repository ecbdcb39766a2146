#include "api/announce.h"

#include <criterion/criterion.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

Test(announce, a_file_of_another_process_stays)
{
    char dir[] = "/tmp/tally-announce-XXXXXX", path[64];
    struct error error;
    cr_assert_not_null(mkdtemp(dir));
    cr_assert_gt(snprintf(path, sizeof path, "%s/tally-api.json", dir), 0);
    cr_assert_eq(api_announce(dir, "127.0.0.1:1", false, 0, &error), STATUS_OK);
    cr_assert_eq(access(path, F_OK), 0);
    api_announce_remove(dir);
    cr_assert_neq(access(path, F_OK), 0);
    api_announce_remove(dir);

    // One that began while this one was still ending.
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    cr_assert_gt(fprintf(file, "{\"pid\":%d1,\"http\":\"127.0.0.1:2\"}\n", (int)getpid()), 0);
    cr_assert_eq(fclose(file), 0);
    api_announce_remove(dir);
    cr_assert_eq(access(path, F_OK), 0);
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(rmdir(dir), 0);
}
