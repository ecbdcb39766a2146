#pragma once
// What a process says when reading a damaged environment kills it: which one, and what to do.
//
//     crash_guard();                         // main, of programs that read a ledger
//     crash_reading("DIR/shards/0000/log");  // lmdb_env, before it reads
//
// LMDB trusts its pages: a damaged one can send it out of its map, or to one of its own assertions.
// The process cannot go on then, but who reads its last line knows why. Thread: any; each has its
// own place.

// Takes SIGSEGV and SIGBUS: says what this thread read last, if anything, and dies of the signal.
void crash_guard(void);
// path: has to live as long as anything is read.
void crash_reading(const char *path);
// Nothing of it is read any more.
void crash_forget(const char *path);
// Says it now: name is what happened. Safe in a signal handler.
void crash_tell(const char *path, const char *name);
