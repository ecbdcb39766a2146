#pragma once
// Entries of a frame by their bytes, as one would read them aloud, and what is to become of them.

#include "ingest/decode.h"

#define BYTES(literal)                                                                             \
    {                                                                                              \
        (const uint8_t *)(literal), sizeof(literal) - 1                                            \
    }

#define SUBJECT "\xa7subject\xa1s"

// Rows as one would read them aloud, not in columns.
// clang-format off
static const struct {
    const char *name;
    struct bytes entry;
    enum refusal refusal;
} ENTRIES[] = {
    {"least of all", BYTES("\x92\xc0\x81" SUBJECT), REFUSAL_NONE},
    {"properties of every kind",
     BYTES("\x92\x01\x86" SUBJECT "\xa1"
           "a\xc0\xa1"
           "b\xc3\xa1"
           "c\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00\xa1"
           "d\x81\xa1x\x92\x01\x02\xa1"
           "e\xd4\x01z"), REFUSAL_NONE},
    {"property named time", BYTES("\x92\x01\x82" SUBJECT "\xa4time\xa3now"), REFUSAL_NONE},
    {"property twice", BYTES("\x92\x01\x83" SUBJECT "\xa1" "a\x01\xa1" "a\x02"), REFUSAL_NONE},
    {"keys and texts as bin", BYTES("\x92\x01\x81\xc4\x07subject\xc4\x01s"), REFUSAL_NONE},
    {"reserved nil is absent",
     BYTES("\x92\x01\x85" SUBJECT "\xa4type\xc0\xa2id\xc0\xa6source\xc0\xa5value\xc0"),
     REFUSAL_NONE},
    {"source may be empty", BYTES("\x92\x01\x82" SUBJECT "\xa6source\xa0"), REFUSAL_NONE},
    {"Fluent Bit's metadata", BYTES("\x92\x92\x01\x81\xa1m\x01\x81" SUBJECT), REFUSAL_NONE},
    {"nested eight deep",
     BYTES("\x92\x01\x82" SUBJECT "\xa1p\x91\x91\x91\x91\x91\x91\x91\x90"), REFUSAL_NONE},
    {"properties under the key zero",
     BYTES("\x92\x01\x82" SUBJECT "\x00\x83\xa5value\xa1x\xa7subject\x01\xa2id\x80"),
     REFUSAL_NONE},
    {"no properties under the key zero", BYTES("\x92\x01\x82\x00\x80" SUBJECT), REFUSAL_NONE},

    {"no map under the key zero", BYTES("\x92\x01\x82" SUBJECT "\x00\x90"), REFUSAL_RECORD},
    {"an integer key under the key zero",
     BYTES("\x92\x01\x82" SUBJECT "\x00\x81\x00\x80"), REFUSAL_KEY},
    {"the key zero twice", BYTES("\x92\x01\x83\x00\x80" SUBJECT "\x00\x80"), REFUSAL_KEY_TWICE},
    {"no array", BYTES("\x07"), REFUSAL_ENTRY},
    {"map instead of a pair", BYTES("\x81" SUBJECT), REFUSAL_ENTRY},
    {"one element", BYTES("\x91\x01"), REFUSAL_ENTRY},
    {"three elements", BYTES("\x93\x01\x81" SUBJECT "\x01"), REFUSAL_ENTRY},
    {"record is text", BYTES("\x92\x01\xa1x"), REFUSAL_RECORD},
    {"record is nil", BYTES("\x92\x01\xc0"), REFUSAL_RECORD},
    {"record is an array", BYTES("\x92\x01\x91\x01"), REFUSAL_RECORD},
    {"key is an integer", BYTES("\x92\x01\x82" SUBJECT "\x01\x02"), REFUSAL_KEY},
    {"key is nil", BYTES("\x92\x01\x82\xc0\x02" SUBJECT), REFUSAL_KEY},
    {"nested key is an integer", BYTES("\x92\x01\x82" SUBJECT "\xa1p\x81\x01\x02"), REFUSAL_KEY},
    {"subject twice", BYTES("\x92\x01\x82" SUBJECT SUBJECT), REFUSAL_KEY_TWICE},
    {"value twice", BYTES("\x92\x01\x83\xa5value\x01\xa5value\x01" SUBJECT), REFUSAL_KEY_TWICE},
    {"id twice, once nil", BYTES("\x92\x01\x83\xa2id\xc0\xa2id\xa1i" SUBJECT), REFUSAL_KEY_TWICE},
    {"empty record", BYTES("\x92\x01\x80"), REFUSAL_SUBJECT_MISSING},
    {"subject nil", BYTES("\x92\x01\x81\xa7subject\xc0"), REFUSAL_SUBJECT_MISSING},
    {"subject is an integer", BYTES("\x92\x01\x81\xa7subject\x05"), REFUSAL_SUBJECT_INVALID},
    {"subject is empty", BYTES("\x92\x01\x81\xa7subject\xa0"), REFUSAL_SUBJECT_INVALID},
    {"subject is a map", BYTES("\x92\x01\x81\xa7subject\x81\xa1x\x01"), REFUSAL_SUBJECT_INVALID},
    {"type is an integer", BYTES("\x92\x01\x82" SUBJECT "\xa4type\x05"), REFUSAL_TYPE_INVALID},
    {"type is empty", BYTES("\x92\x01\x82" SUBJECT "\xa4type\xa0"), REFUSAL_TYPE_INVALID},
    {"id is an integer", BYTES("\x92\x01\x82" SUBJECT "\xa2id\x05"), REFUSAL_ID_INVALID},
    {"id is empty", BYTES("\x92\x01\x82" SUBJECT "\xa2id\xa0"), REFUSAL_ID_INVALID},
    {"source is true", BYTES("\x92\x01\x82" SUBJECT "\xa6source\xc3"), REFUSAL_SOURCE_INVALID},
    {"value is true", BYTES("\x92\x01\x82" SUBJECT "\xa5value\xc3"), REFUSAL_VALUE_INVALID},
    {"value is an array", BYTES("\x92\x01\x82" SUBJECT "\xa5value\x91\x01"), REFUSAL_VALUE_INVALID},
    {"value is ext", BYTES("\x92\x01\x82" SUBJECT "\xa5value\xd4\x01z"), REFUSAL_VALUE_INVALID},
    {"time is text", BYTES("\x92\xa1x\x81" SUBJECT), REFUSAL_TIME_INVALID},
    {"time is true", BYTES("\x92\xc3\x81" SUBJECT), REFUSAL_TIME_INVALID},
    {"time is a map", BYTES("\x92\x80\x81" SUBJECT), REFUSAL_TIME_INVALID},
    {"time is another ext", BYTES("\x92\xd7\x01zzzzzzzz\x81" SUBJECT), REFUSAL_TIME_INVALID},
    {"EventTime of 4 bytes", BYTES("\x92\xd6\x00zzzz\x81" SUBJECT), REFUSAL_TIME_INVALID},
    {"EventTime of 16 bytes",
     BYTES("\x92\xd8\x00zzzzzzzzzzzzzzzz\x81" SUBJECT), REFUSAL_TIME_INVALID},
    {"EventTime of a whole second of nanoseconds",
     BYTES("\x92\xd7\x00\x00\x00\x00\x01\x3b\x9a\xca\x00\x81" SUBJECT), REFUSAL_TIME_INVALID},
    {"metadata is no map", BYTES("\x92\x92\x01\x01\x81" SUBJECT), REFUSAL_TIME_INVALID},
    {"metadata thrice", BYTES("\x92\x93\x01\x80\x80\x81" SUBJECT), REFUSAL_TIME_INVALID},
    {"time before 1970", BYTES("\x92\xff\x81" SUBJECT), REFUSAL_TIME_RANGE},
    {"nested nine deep",
     BYTES("\x92\x01\x82" SUBJECT "\xa1p\x91\x91\x91\x91\x91\x91\x91\x91\x90"), REFUSAL_DEPTH},
};
// clang-format on
