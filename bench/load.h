#pragma once
// `tally-bench load`: how many durable, deduplicated, metered events a second, at which latency
// and cost.
//
//     return load_main(argc, argv);        // argv[0] is "load"; the exit code
//
// Thread: main.

int load_main(int argc, char **argv);
