#pragma once
// Where disks are built and taken away again, numbers drawn for them, and programs recorded.
//
//     place_make(place);                    // a private directory, in memory where there is some
//     seed = place_mix(seed, position);
//     place_remove(place);
//
// Thread: any.

#include <stdint.h>

enum { PLACE_SIZE = 512 };

void place_make(char out[PLACE_SIZE]);
// With all that is in it.
void place_remove(const char *path);
// A number that depends on both.
uint64_t place_mix(uint64_t a, uint64_t b);
// The calling program again with these arguments, up to a NULL, under the recorder (record.h),
// which stands beside it: what it does below root is appended to file. Returns what waitpid said.
int place_run_recorded(const char *root, const char *file, const char *const *arguments);
// What a process that died left: the name of a socket in dir to which nobody listens.
void place_leave_socket(const char *dir);
