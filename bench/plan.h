#pragma once
// `tally-bench plan`: how many cores, how much memory and disk, how many nodes for a load, from
// runs measured on this machine.
//
//     return plan_main(argc, argv);        // argv[0] is "plan"; the exit code
//
// Thread: main.

int plan_main(int argc, char **argv);
