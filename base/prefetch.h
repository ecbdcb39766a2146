#pragma once
// A hint that an address will be needed soon: a cache miss that is waited for beside others.
//
//     prefetch(&table->buckets[at]);    // some items ahead of the one that is worked on
//
// Not the compiler's builtin alone: gcc takes a function that does nothing but prefetch for one
// without effects, and drops the calls of it where it does not inline it first. The lookup of
// identities ran without its prefetches that way, at 300 ns a lookup instead of 40. The empty
// statement is an effect.
// Thread: any.

static inline void
prefetch(const void *at)
{
    __builtin_prefetch(at);
    __asm__ volatile("" : : "r"(at));
}
