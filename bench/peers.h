#pragma once
// `tally-bench peers`: the same events given to tally and to what a user would run instead.
//
//     return peers_main(argc, argv);        // argv[0] is "peers"; the exit code
//
// Thread: main.

int peers_main(int argc, char **argv);
