// Sends one usage event and waits until the server has it on disk.
//
//     cc send.c $(pkg-config --cflags --libs tally) -o send
//     ./send unix:tally-data/tallyd.sock acme api_call 1.5
#include <stdio.h>
#include <tally.h>

int
main(int argc, char **argv)
{
    if (argc != 5)
        return fprintf(stderr, "usage: send SERVER SUBJECT TYPE VALUE\n"), 2;
    struct tally_options options = {.server = argv[1]};
    struct tally_event event = {.subject = argv[2], .type = argv[3], .value = argv[4]};
    char error[256];
    struct tally *tally = tally_open(&options, error, sizeof error);
    if (tally == NULL)
        return fprintf(stderr, "%s\n", error), 1;
    enum tally_result result = tally_send(tally, &event);
    enum tally_result closed = tally_close(tally, 5000);
    if (result == TALLY_OK)
        result = closed;
    printf("%s\n", tally_result_text(result));
    return result == TALLY_OK ? 0 : 1;
}
