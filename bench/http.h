#pragma once
// `tally-bench http`: events in batches and one by one, and usage queries, over HTTP.
//
//     return http_main(argc, argv);        // argv[0] is "http"; the exit code
//
// Thread: main.

int http_main(int argc, char **argv);
