#!/usr/bin/env python3
"""The rules of tools/tidy: for each, what it must find and what it must leave alone."""

import importlib.machinery
import importlib.util
import os
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TIDY = os.path.join(ROOT, "tools", "tidy")

loader = importlib.machinery.SourceFileLoader("tidy", TIDY)
tidy = importlib.util.module_from_spec(importlib.util.spec_from_loader("tidy", loader))
loader.exec_module(tidy)

# Written in two parts, so that the checker does not find its own test.
STICKY = "TO" "DO"


def found(path, text):
    """What the file rules find, as {rule: [(line, message), ...]}."""
    findings = {}
    for line, rule, message, _ in tidy.check_file(tidy.File(path, text)):
        findings.setdefault(rule, []).append((line, message))
    return findings


class RuleTest(unittest.TestCase):
    """Rows of (path, text): every row of finds has the rule on its last line, no row of passes."""

    def check(self, rule, says, finds, passes):
        for path, text in finds:
            with self.subTest(finds=text, path=path):
                lines = found(path, text).get(rule, [])
                self.assertEqual([line for line, _ in lines], [text.rstrip("\n").count("\n") + 1])
                self.assertIn(says, lines[0][1])
        for path, text in passes:
            with self.subTest(passes=text, path=path):
                self.assertEqual(found(path, text).get(rule, []), [])

    def test_arrow(self):
        self.check("arrow", "may not use", [
            ("base/a.c", '#include "ledger/ledger.h"\n'),
            ("ledger/a.c", '// why\n#include "ingest/loop.h"\n'),
            ("ingest/a.c", '#include "billing/money.h"\n'),
            ("billing/a.c", ' # include "ingest/loop.h"\n'),
            ("client/a.c", '#include "ledger/ledger.h"\n'),
            ("ledger/a.c", '#include "base/sql.h"\n'),
            ("base/option.c", '#include "base/sql.h"\n'),
            ("tools/a.c", '#include "api/http.h"\n'),
            ("tools/a.c", '#include "tests/system/stack.h"\n'),
        ], [
            ("ledger/a.c", '#include "ledger/a.h"\n\n#include "base/arena.h"\n'),
            ("ingest/a.c", '#include "ledger/ledger.h"\n'),
            ("billing/a.c", '#include "base/sql.h"\n'),
            ("base/sql.c", '#include "base/sql.h"\n#include "base/arena.h"\n'),
            ("base/a.c", '// not #include "ledger/ledger.h"\n'),
            ("base/a.c", '/*\n#include "ledger/ledger.h"\n*/\n'),
            ("tests/base/a_test.c", '#include "ingest/loop.h"\n'),
        ])

    def test_arrow_wants_paths_from_the_root(self):
        self.check("arrow", '"base/arena.h"', [
            ("base/a.c", '#include "arena.h"\n'),
        ], [
            ("base/a.c", '#include "base/arena.h"\n'),
        ])

    def test_library(self):
        self.check("library", "only", [
            ("ledger/shard.c", "#include <lmdb.h>\n"),
            ("base/loop.h", "#include <liburing.h>\n"),
            ("billing/store.c", "#include <libpq-fe.h>\n"),
            ("billing/store.c", '#include "libpq-fe.h"\n'),
            ("ingest/decode.c", "#include <msgpack.h>\n"),
            ("ingest/decode.c", "#include <msgpack/unpack.h>\n"),
            ("billing/rate.c", "#include <gmp.h>\n"),
            ("ingest/a.c", "#include <xxhash.h>\n"),
            ("tools/a.c", "#include <microhttpd.h>\n"),
            ("ingest/frame.c", "#include <zlib.h>\n"),
            ("ingest/handshake.c", "#include <openssl/evp.h>\n"),
            ("base/a.c", "#include <criterion/criterion.h>\n"),
        ], [
            ("ledger/lmdb_parts.h", "#include <lmdb.h>\n"),
            ("base/loop.c", "#include <liburing.h>\n"),
            ("base/sql.c", "#include <libpq-fe.h>\n"),
            ("base/pack.c", "#include <msgpack.h>\n"),
            ("base/gzip.c", "#include <zlib.h>\n"),
            ("base/digest.c", "#include <openssl/crypto.h>\n"),
            ("tests/ingest/decode_test.c", "#include <msgpack.h>\n"),
            ("billing/rational.c", "#include <gmp.h>\n"),
            ("base/hash.h", "#pragma once\n#include <xxhash.h>\n"),
            ("tests/base/a_test.c", "#include <criterion/criterion.h>\n"),
            ("base/a.c", "#include <stdint.h>\n#include <sys/socket.h>\n"),
        ])

    def test_library_wants_an_owner(self):
        self.check("library", "has no owner", [
            ("base/a.c", "#include <zstd.h>\n"),
            ("tests/base/a_test.c", "#include <curl/curl.h>\n"),
        ], [
            ("base/a.c", "#include <netinet/in.h>\n"),
        ])

    def test_banned_name(self):
        self.check("banned-name", "use ", [
            ("base/a.c", "sprintf(text, format);\n"),
            ("base/a.c", "x = strcpy (a, b);\n"),
            ("base/a.c", "strcat(a, b);\n"),
            ("base/a.c", "strtok(a, b);\n"),
            ("base/a.c", "int n = atoi(a);\n"),
            ("tests/base/a_test.c", "sleep(1);\n"),
            ("tests/base/a_test.c", "usleep(1);\n"),
            ("ledger/a.c", "uint64_t now = time(NULL);\n"),
            ("ledger/a.c", "(rand() % 2);\n"),
        ], [
            ("base/a.c", "snprintf(text, sizeof text, format);\n"),
            ("base/a.c", "// sprintf(text) is unsafe\n"),
            ("base/a.c", "/* sleep(1);\n   rand(); */ x();\n"),
            ("base/a.c", 'log("time(%d)", "a \\" sleep(1)");\n'),
            ("base/a.c", "clock_time(); event_time (x); sleep_ms(1);\n"),
            ("base/a.c", "event->time(1); event.time(1); int time;\n"),
            ("tests/system/a.py", "time.sleep(0.05)\n"),
        ])

    def test_banned_name_names_the_replacement(self):
        self.assertIn("snprintf", found("base/a.c", "sprintf(a);\n")["banned-name"][0][1])

    def test_allocation(self):
        self.check("allocation", "base/arena.h", [
            ("ledger/a.c", "p = malloc(3);\n"),
            ("client/a.c", "p = calloc(3, 1);\n"),
            ("base/a.c", "p = strdup(text);\n"),
        ], [
            ("base/arena.c", "p = malloc(3);\n"),
            ("base/pool.c", "p = malloc(3);\n"),
            ("base/buffer.c", "p = realloc(p, 3);\n"),
            ("tests/base/a_test.c", "p = malloc(3);\n"),
            ("ledger/a.c", "free(p); // of malloc(3)\n"),
        ])

    def test_floating_point(self):
        self.check("floating-point", "base/decimal.h", [
            ("ledger/a.c", "double x;\n"),
            ("billing/a.h", "#pragma once\nfloat x;\n"),
        ], [
            ("ingest/a.c", "double x;\n"),
            ("billing/a.c", 'int double_count = x("double"); // a float\n'),
            ("tests/billing/a_test.c", "double x;\n"),
        ])

    def test_lock(self):
        self.check("lock", "base/ring.h", [
            ("ledger/a.c", "pthread_mutex_t m;\n"),
            ("ingest/a.c", "pthread_rwlock_rdlock(&m);\n"),
        ], [
            ("base/a.c", "pthread_mutex_t m;\n"),
            ("ledger/lmdb_env.c", "pthread_mutex_t m;\n"),
            ("ledger/a.c", "pthread_create(&t, 0, f, 0); // no pthread_mutex_t\n"),
        ])

    def test_sticky_word(self):
        self.check("sticky-word", "finish it", [
            ("base/a.c", f"// {STICKY}: more\n"),
            ("base/a.c", f"/* one\n   {STICKY} */\n"),
            ("tools/up", f"#!/bin/sh\n# {STICKY}\n"),
            ("README.md", f"{STICKY}: more\n"),
        ], [
            ("base/a.c", f'currency("{"XX" "X"}"); mkdtemp("/tmp/tally-XXXXXX");\n'),
            ("tools/up", "mktemp -d /tmp/tally-XXXXXX\n"),
            ("base/a.c", f"// {STICKY}S\n"),
        ])

    def test_blank(self):
        self.check("blank", "blanks at the end", [
            ("base/a.c", "int x; \n"),
            ("README.md", "a  \n"),
        ], [
            ("base/a.c", "int x;\n\nint y;\n"),
        ])
        self.check("blank", "tab", [
            ("base/a.c", "\tint x;\n"),
            ("tools/up", "if x; then\n\tdo\n"),
        ], [
            ("base/a.c", '    c = "\\t";\n'),
        ])

    def test_long_line(self):
        self.check("long-line", "101 columns", [
            ("base/a.c", "x" * 101 + "\n"),
            ("cmake/a.cmake", "x" * 101 + "\n"),
        ], [
            ("base/a.c", "x" * 100 + "\n"),
            ("base/a.c", "\u00fc" * 100 + "\n"),
            ("README.md", "x" * 101 + "\n"),
        ])

    def test_pragma_once(self):
        self.check("pragma-once", "#pragma once", [
            ("base/a.h", "// #pragma once"),
        ], [
            ("base/a.h", "// What.\n#pragma once\n"),
            ("base/a.c", "int x;\n"),
        ])

    def test_header_comment(self):
        self.check("header-comment", "open with a comment", [
            ("base/a.h", "#pragma once"),
            ("base/a.h", "struct a;"),
        ], [
            ("base/a.h", "// What.\n#pragma once\n"),
            ("base/a.h", "#pragma once\n\n/* What. */\n"),
            ("base/a.c", "int x;\n"),
        ])

    def test_long_function(self):
        def function(lines):
            return "int\nf(void)\n{\n" + "    x();\n" * lines + "}\n"
        lines = [line for line, _ in found("base/a.c", function(71))["long-function"]]
        self.assertEqual(lines, [3])
        self.assertNotIn("long-function", found("base/a.c", function(70)))
        table = "int t[] =\n{\n" + "    1,\n" * 80 + "};\n"
        self.assertNotIn("long-function", found("base/a.c", table))

    def test_long_file(self):
        self.assertIn("long-file", found("base/a.c", "int x;\n" * 601))
        self.assertNotIn("long-file", found("base/a.c", "int x;\n" * 600))
        self.assertNotIn("long-file", found("README.md", "x\n" * 601))

    def test_sizes_are_only_reported(self):
        fails = {name: fails for name, fails, _ in tidy.file_rules + tidy.tree_rules}
        reported = {name for name, fails in fails.items() if not fails}
        self.assertEqual(
            reported, {"header-comment", "long-function", "long-file", "missing-test"})


class TreeTest(unittest.TestCase):
    READMES = {f"{room}/README.md" for room in tidy.ROOMS_WITH_README}

    def test_readme(self):
        self.assertEqual(list(tidy.readme(self.READMES)), [])
        missing = list(tidy.readme(self.READMES - {"ledger/README.md"}))
        self.assertEqual([path for path, *_ in missing], ["ledger/README.md"])

    def test_readme_of_api_once_it_exists(self):
        missing = list(tidy.readme(self.READMES | {"api/http.c"}))
        self.assertEqual([path for path, *_ in missing], ["api/README.md"])

    def test_missing_test(self):
        paths = {"base/a.c", "base/b.c", "base/a.h", "tests/base/a_test.c", "ingest/main.c"}
        self.assertEqual([path for path, *_ in tidy.missing_test(paths)], ["base/b.c"])

    def test_tree_paths_are_the_texts_of_the_tree(self):
        with tempfile.TemporaryDirectory() as root:
            for path, text in {
                "base/a.c": "", "tools/up": "#!/bin/sh\n", "tools/blob": "\0", "a.png": "",
                "build/dev/a.c": "", ".git/a.c": "", ".ci/run": "#!/bin/sh\n",
                "tests/fuzz/corpus/decode/a.txt": "", "CMakeLists.txt": "",
            }.items():
                os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
                with open(os.path.join(root, path), "w", encoding="utf-8") as file:
                    file.write(text)
            self.assertEqual(
                tidy.tree_paths(root), {"base/a.c", "tools/up", ".ci/run", "CMakeLists.txt"})

    def test_check_tree_puts_findings_in_order(self):
        with tempfile.TemporaryDirectory() as root:
            os.makedirs(os.path.join(root, "base"))
            with open(os.path.join(root, "base", "a.c"), "w", encoding="utf-8") as file:
                file.write("int x;\nsleep(1); \n")
            rules = [finding[:3] for finding in tidy.check_tree(root) if finding[0] == "base/a.c"]
            self.assertEqual(rules, [
                ("base/a.c", 1, "missing-test"),
                ("base/a.c", 2, "banned-name"),
                ("base/a.c", 2, "blank"),
            ])


class ProgramTest(unittest.TestCase):
    """The program itself, on a tree of its own: it looks at the tree that it lies in."""

    def run_tidy(self, text, *arguments):
        with tempfile.TemporaryDirectory() as root:
            for room in tidy.ROOMS_WITH_README:
                os.makedirs(os.path.join(root, room))
                with open(os.path.join(root, room, "README.md"), "w", encoding="utf-8") as file:
                    file.write(f"# {room}\n")
            with open(os.path.join(root, "base", "a.c"), "w", encoding="utf-8") as file:
                file.write(text)
            copy = os.path.join(root, "tools", "tidy")
            with open(TIDY, encoding="utf-8") as source, open(copy, "w", encoding="utf-8") as file:
                file.write(source.read())
            done = subprocess.run(
                [sys.executable, copy, *arguments], capture_output=True, text=True, check=False)
            return done.returncode, done.stdout

    def test_fails_with_file_line_rule_and_message(self):
        code, said = self.run_tidy("sprintf(a);\n")
        self.assertEqual((code, said), (1, "base/a.c:1: banned-name: sprintf: use snprintf\n"))

    def test_passes_and_reports_only_when_asked(self):
        self.assertEqual(self.run_tidy("int x;\n"), (0, ""))
        code, said = self.run_tidy("int x;\n", "--report")
        self.assertEqual((code, said), (
            0, "base/a.c:1: missing-test: no tests/base/a_test.c (report)\n"))

    def test_looks_only_where_it_is_told(self):
        self.assertEqual(self.run_tidy("sprintf(a);\n", "ledger")[0], 0)
        self.assertEqual(self.run_tidy("sprintf(a);\n", "base")[0], 1)
        self.assertEqual(self.run_tidy("sprintf(a);\n", "base/a.c")[0], 1)

    def test_refuses_unknown_options(self):
        self.assertEqual(self.run_tidy("int x;\n", "--nonsense")[0], 2)


if __name__ == "__main__":
    unittest.main()
