#pragma once
// The database's tables: numbered files of migrations/, applied in order, forward only.
//
//     migrate_apply(sql, MIGRATIONS, MIGRATIONS_COUNT, now_ns, &arena, &applied, &error);
//     // applied.count == 0: up to date
//
// The files' text is part of the program (billing/embed_migrations.cmake). Each is one transaction
// together with its row in schema_migrations, under a lock that makes a second migrator wait:
// killed at any point, a migration is there or is not. An applied file that changed, or a database
// that is newer than the program, is refused. Thread: the connection's.

#include "base/sql.h"

struct migration {
    int64_t number;    // from 1, without gaps
    const char *name;  // the file's
    const char *text;
};

extern const struct migration MIGRATIONS[];
extern const size_t MIGRATIONS_COUNT;

struct migrations_applied {
    const char **names;
    size_t count;
};

enum status migrate_apply(
    struct sql *sql,
    const struct migration *migrations,
    size_t count,
    int64_t now_ns,
    struct arena *arena,
    struct migrations_applied *out,
    struct error *error) CHECKED;
