#pragma once
// The library's thread: connects, sends batches in order, reads acks, and begins again after a
// failure.
//
//     pthread_create(&tally->thread, NULL, sender_run, tally)
//
//     down ---- pause over ---> connecting ---- connected ---> up
//       ^                           |                           |
//       +------ pause doubles ------+------ pause starts over after an ack
//
// Ends when tally->is_stopping is set and the waker is woken. Thread: its own.

// context: struct tally *. Returns NULL.
void *sender_run(void *context);
