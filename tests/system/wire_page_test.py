"""Holds docs/wire.md to its word: every statement has a test, the reasons and the limits are those
of the code and of --help, and the examples run against a real tallyd.

Each check is a function of texts that yields what is wrong; the tests show that there is nothing,
and that a changed page would be found.
"""

import glob
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import unittest

import support
import wire_limits_test
import wire_test
from wire_client import Server, Wire, unpack
from wire_proves import proves

TAG = re.compile(r"\[(W\d+)\]")
SIZES = {"bytes": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
         "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
TIMES = {"ms": 10 ** 6, "s": 10 ** 9, "min": 60 * 10 ** 9, "m": 60 * 10 ** 9,
         "h": 3600 * 10 ** 9, "d": 86400 * 10 ** 9, "days": 86400 * 10 ** 9,
         "day": 86400 * 10 ** 9}
SECOND = TIMES["s"]

# Options that clients do not notice.
NOT_OF_THE_WIRE = {"dedup-window", "dedup-memory", "shards", "map-size", "keep-quarter-hours",
                   "keep-hours", "keep-log", "max-groups", "billing-zones"}
# Options whose default follows others: what the page says, and what --help says.
DERIVED = {
    "connection-memory": ("twice the message", "0: twice --frame-max"),
    "memory": ("256 MiB, or four messages and the inflated entries",
               "0: 256M, or four times --frame-max + --inflated-max"),
}
# Rows without an option: file, constant, and what one of it is.
CONSTANTS = {
    "inflated bytes that are free of that": ("base/gzip.h", "GZIP_RATIO_FLOOR", 1),
    "unread acks of a connection": ("ingest/main.c", "ACKS_MAX", 1),
    "messages under way, of a connection": ("ingest/main.c", "CONN_TICKETS", 1),
    "messages under way, of all": ("ingest/main.c", "TICKETS", 1),
    "PING": ("ingest/handshake.h", "HANDSHAKE_PING_MAX", 1),
    "host, salt and user in it": ("ingest/handshake.h", "HANDSHAKE_FIELD_MAX", 1),
    "`subject`": ("ledger/event.h", "EVENT_SUBJECT_MAX", 1),
    "`type`": ("ledger/event.h", "EVENT_TYPE_MAX", 1),
    "`id`": ("ledger/event.h", "EVENT_ID_MAX", 1),
    "`source`": ("ledger/event.h", "EVENT_SOURCE_MAX", 1),
    "record": ("ledger/event.h", "EVENT_SIZE_MAX", 1),
    "entry in a datagram": ("ingest/udp.h", "UDP_EVENT_MAX", 1),
    "depth of a property": ("ledger/event.h", "EVENT_DEPTH_MAX", 1),
    "depth of a message": ("base/unpack.h", "UNPACK_DEPTH_MAX", 1),
    "`chunk`": ("ledger/event.h", "EVENT_CHUNK_MAX", 1),
    "`tally.backfill`": ("ledger/event.h", "EVENT_BATCH_MAX", 1),
    "entries of `rejected`, of `conflicts`": ("ingest/ticket.h", "TICKET_LIST_MAX", 1),
    "inflated entries of a datagram": ("ingest/udp.h", "UDP_INFLATED_MAX", 1),
    "echoes of a heartbeat, to a sender": ("ingest/udp.h", "UDP_ECHO_MS", TIMES["ms"]),
    "datagrams under way": ("ingest/udp.h", "UDP_LETTERS", 1),
    "acks not read, memory full or at the end": ("ingest/main.c", "LINGER_S", SECOND),
    "message unfinished, memory full": ("ingest/main.c", "LINGER_S", 2 * SECOND),
    "draining": ("ingest/front.h", "FRONT_DRAIN_S", SECOND),
}


def source(path):
    with open(os.path.join(support.SOURCE_DIR, path), encoding="utf-8") as file:
        return file.read()


def page():
    return source("docs/wire.md")


# --- the page ---

def blocks(text):
    """Paragraphs, list items and table rows behind the introduction, each on one line."""
    text = text[text.index("\n## "):]
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    found = []
    for line in text.splitlines():
        begins = re.match(r"(\||[-*] |\d+\. |#)", line)
        if not line.strip():
            found.append("")
        elif begins or not found or not found[-1]:
            found.append(line)
        else:
            found[-1] += " " + line.strip()
    return [block for block in found if block]


def tables(text):
    """Tables as lists of rows of cells, without the ruler; the first row is the head."""
    found, rows = [], []
    for line in text.splitlines() + [""]:
        if line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip().strip("|").split("|")])
        elif rows:
            found.append([row for row in rows if not re.fullmatch(r"-+", row[0])])
            rows = []
    return found


def table(text, head):
    (found,) = [rows for rows in tables(text) if rows[0][0] == head]
    return found[1:]


def untagged(text):
    """Statements without a tag at their end. A table with a nameless last column has them there;
    the one that an example is made of needs none."""
    for block in blocks(text):
        if block[0] not in "#|" and not re.search(r"\[W\d+\]$", block):
            yield block
    for rows in tables(text):
        if rows[0][-1]:
            if rows[0][0] != "what":
                yield str(rows[0])
            continue
        for row in rows[1:]:
            if not TAG.fullmatch(row[-1]):
                yield str(row)


def broken_links(text):
    """Links within the page that lead to no heading."""
    headings = {re.sub(r"[^\w -]", "", line).strip().lower().replace(" ", "-")
                for line in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}
    return set(re.findall(r"\]\(#([^)]*)\)", text)) - headings


def tags_of_page(text):
    return TAG.findall("\n".join(blocks(text)))


# --- the tests ---

def tags_of_python():
    loader = unittest.defaultTestLoader
    for module in (wire_test, wire_limits_test, sys.modules[__name__]):
        for suite in loader.loadTestsFromModule(module):
            for test in suite:
                method = getattr(test, getattr(test, "_testMethodName"))
                yield from getattr(method, "proves", ())


def tags_of_c(text):
    """The tags in the comment right above a Criterion test."""
    for comment in re.findall(r"((?:^//.*\n)+)Test\(", text, re.MULTILINE):
        for line in re.findall(r"docs/wire\.md: (.*)", comment):
            yield from re.findall(r"W\d+", line)


def tags_of_tests():
    found = set(tags_of_python())
    paths = glob.glob(os.path.join(support.SOURCE_DIR, "tests", "*", "*_test.c"))
    for path in paths:
        found |= set(tags_of_c(source(path)))
    return found


def tag_findings(text, proven):
    said = tags_of_page(text)
    for tag in sorted(set(said)):
        if said.count(tag) > 1:
            yield f"{tag} is there twice"
    for tag in sorted(set(said) - proven):
        yield f"{tag} has no test"
    for tag in sorted(proven - set(said)):
        yield f"{tag} is not on the page"


# --- reasons ---

def reasons_of_code():
    refusals = re.findall(r'\[REFUSAL_\w+\] = {"([^"]*)"', source("ingest/decode.c"))
    faults = re.findall(r'case FRAME_\w+: return "([^"]*)"', source("ingest/frame.c"))
    handshake = re.findall(r'case HANDSHAKE_\w+: return "([^"]*)"', source("ingest/handshake.c"))
    return {"reason": set(refusals) - {"none"},
            "reason in the log": set(faults) - {"fine"},
            "handshake": set(handshake) - {""}}


def reasons_of_page(text):
    found = {"reason": None, "handshake": None, "reason in the log": None}
    for rows in tables(text):
        name = rows[0][0]
        if name == "reason" and len(rows[0]) == 2:
            name = "handshake"
        if name in found:
            found[name] = [row[0].strip("`") for row in rows[1:]]
    return found


def reason_findings(text, code):
    for name, said in reasons_of_page(text).items():
        for reason in sorted(set(said) ^ code[name]):
            yield f"{name}: {reason}: only in one of the two"
        if len(said) != len(set(said)):
            yield f"{name}: one is there twice"


# --- limits ---

def number(text):
    """1,000 or 16 MiB or 8M or 10 s or 35d as a number; None: something else."""
    found = re.fullmatch(r"([\d,]+) ?([A-Za-z]*)", text)
    if not found:
        return None
    units = {"": 1, **SIZES, **TIMES}
    return int(found[1].replace(",", "")) * units[found[2]] if found[2] in units else None


def c_number(text):
    text = re.sub(r"U?INT64_C\((\d+)\)", r"\1", text).replace("INT64_MAX", str(2 ** 63 - 1))
    assert re.fullmatch(r"[\d\s*/+<()-]+", text), text
    return eval(text.replace("/", "//"))  # digits and operators only


def c_constant(path, name):
    found = re.findall(rf"\b{name} = ([^,}}\n]+)", source(path))
    assert len(found) == 1, (path, name, found)
    return c_number(found[0].strip())


def options_of_code():
    """Of every option that is a number: its default and maximum."""
    rows = source("ingest/settings.c")
    rows = rows[rows.index("ROWS[] = {"):]
    found = {}
    for row in re.split(r"\{(?=\.name = \")", rows)[1:]:
        fields = dict(re.findall(r"\.(\w+) = ([^\n]*?)[,}]+\n", row))
        if fields["type"] not in ("OPTION_SIZE", "OPTION_INT", "OPTION_DURATION"):
            continue
        name = fields["name"].strip('"')
        if name not in NOT_OF_THE_WIRE:
            found[name] = (fields["fallback"].strip('"'), c_number(fields["max"]))
    return found


def options_of_help():
    done = subprocess.run([os.path.join(support.BIN_DIR, "tallyd"), "--help"], text=True,
                          env=support.environment(), capture_output=True, check=True)
    found = {}
    for row in re.split(r"\n  --", done.stdout)[1:]:
        row = " ".join(row.split())
        found[row.split()[0]] = row
    return found


def option_findings(row, code, said_by_help):
    name, default, most = row[3].strip("`-"), row[1], row[2]
    if name not in code:
        yield f"--{name} is no option of tallyd that is a number"
        return
    fallback, code_max = code[name]
    has_default = re.search(rf"\[default {re.escape(fallback)},", said_by_help[name])
    if not has_default:
        yield f"--{name}: --help and the code differ in the default"
    if name in DERIVED:
        page_says, help_says = DERIVED[name]
        if default != page_says or fallback != "0" or help_says not in said_by_help[name]:
            yield f"--{name}: the derived default is another"
    elif number(default) != number(fallback):
        yield f"--{name}: default {default}, not {fallback}"
    is_unbounded = code_max >= (2 ** 63 - 1) // 4
    if (most != "") == is_unbounded or (most and number(most) != code_max):
        yield f"--{name}: most {most}, not {code_max}"


def limit_findings(text, code, said_by_help, constant=c_constant):
    rows = table(text, "limit")
    for row in rows:
        if row[3]:
            yield from option_findings(row, code, said_by_help)
            continue
        if row[0] not in CONSTANTS:
            yield f"{row[0]}: no constant is named for it"
            continue
        path, name, unit = CONSTANTS[row[0]]
        if number(row[1].removesuffix(" apart")) != constant(path, name) * unit or row[2]:
            yield f"{row[0]}: {row[1]}, not {name} = {constant(path, name)}"
    for name in sorted(set(code) - {row[3].strip("`-") for row in rows}):
        yield f"--{name} is not in the table"
    for name in sorted(set(CONSTANTS) - {row[0] for row in rows}):
        yield f"{name} is not in the table"


# --- examples ---

def fenced(text, kind):
    (found,) = re.findall(rf"^```{kind}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return found


def hex_bytes(text):
    return bytes.fromhex(" ".join(line.split("#")[0] for line in text.splitlines()))


def digest(*parts):
    return hashlib.sha512("".join(parts).encode()).hexdigest()


class Page(unittest.TestCase):
    def test_every_statement_has_a_tag_and_every_tag_a_test(self):
        self.assertEqual(list(untagged(page())), [])
        self.assertEqual(list(tag_findings(page(), tags_of_tests())), [])
        self.assertGreater(len(tags_of_page(page())), 150)
        self.assertEqual(broken_links(page()), set())

    def test_the_reasons_are_those_of_the_code(self):
        self.assertEqual(list(reason_findings(page(), reasons_of_code())), [])

    def test_the_limits_are_those_of_the_code_and_of_help(self):
        self.assertEqual(
            list(limit_findings(page(), options_of_code(), options_of_help())), [])

    @proves("W10", "W11", "W12")
    def test_default_addresses(self):
        said = options_of_help()
        self.assertIn("[default 127.0.0.1:24224,", said["tcp"])
        self.assertIn("(default as --tcp, 127.0.0.1:24224)", said["udp"])
        self.assertIn("(default DIR/tallyd.sock)", said["unix"])

    def changed(self, old, new, findings):
        self.assertIn(old, page())
        self.assertTrue(list(findings(page().replace(old, new, 1))), (old, new))

    def test_a_wrong_page_is_found(self):
        proven, code = tags_of_tests(), reasons_of_code()
        options, helps = options_of_code(), options_of_help()

        def by_tag(text):
            return tag_findings(text, proven)

        def by_reason(text):
            return reason_findings(text, code)

        def by_limit(text):
            return limit_findings(text, options, helps)

        self.changed(" [W50]", "", untagged)
        self.changed("(#11-full)", "(#full)", broken_links)
        self.changed("| [W100] |", "| |", untagged)
        self.changed("| limit | default | most | option | beyond it | |",
                     "| limit | default | most | option | beyond it | tag |", untagged)
        self.changed("[W50]", "[W9999]", by_tag)
        self.changed("[W51]", "[W50]", by_tag)
        for old in ("`subject missing`", "`not msgpack`", "`shared key mismatch`"):
            self.changed(old, "`another`", by_reason)
        self.changed("| 16 MiB |", "| 17 MiB |", by_limit)
        self.changed("| 256 MiB | `--frame-max`", "| 255 MiB | `--frame-max`", by_limit)
        self.changed("| 35 days |", "| 36 days |", by_limit)
        self.changed("| 60,000 bytes |", "| 60 KiB |", by_limit)
        self.changed("| draining | 10 s |", "| draining | 5 s |", by_limit)
        self.changed("| `subject` | 255", "| `object` | 255", by_limit)
        self.changed("| `--udp-buffer` |", "| |", by_limit)

    @proves("W142", "W143", "W156")
    def test_the_digests_of_the_example(self):
        row = {cells[0]: cells[1].strip("`") for cells in table(page(), "what")}
        self.assertEqual(row["PING, digest of the key"], digest(
            row["salt"], row["host"], row["nonce"], row["shared key"]))
        self.assertEqual(row["PING, digest of the password"], digest(
            row["auth"], row["user"], row["password"]))
        self.assertEqual(row["PONG, digest of the key"], digest(
            row["salt"], "tallyd", row["nonce"], row["shared key"]))
        # The server computes the same from the same: the test in C has them.
        known = source("tests/ingest/handshake_test.c").replace('"\n', "").replace(" ", "")
        known = known.replace('"', "")
        for name, value in row.items():
            self.assertIn(value.replace(" ", ""), known, name)


class Examples(unittest.TestCase):
    def setUp(self):
        self.server = Server()
        self.addCleanup(self.server.__exit__, None, None, None)
        self.server.begin()
        self.server.tally(
            "meter", "add", "calls", "--event-type", "api_call", "--aggregation", "sum")

    @proves("W240", "W241")
    def test_the_message_and_its_ack(self):
        request = hex_bytes(fenced(page(), "hex request"))
        answer = hex_bytes(fenced(page(), "hex answer"))
        self.assertEqual(unpack(request)[0], ["api_call", [[None, {
            "subject": "acme", "id": "req-81723", "value": 3}]], {
                "chunk": "chunk-1", "tally": {"results": True}}])
        with Wire(self.server.address()) as wire:
            wire.write(request)
            self.assertEqual(wire.read_raw(), answer)
            wire.write(request)
            self.assertEqual(wire.read(), {**unpack(answer)[0], "duplicates": 1})
        self.assertEqual(self.server.usage("calls", "acme"), "3")

    @proves("W242")
    def test_the_client_in_python(self):
        host, port = self.server.address()
        with tempfile.NamedTemporaryFile("w", suffix=".py", dir=self.server.folder) as file:
            file.write(fenced(page(), "python"))
            file.flush()
            for _ in range(2):
                # Isolated: the standard library is all there is.
                done = subprocess.run(
                    [sys.executable, "-I", "-S", file.name, host, str(port)], text=True,
                    capture_output=True, timeout=60, check=False)
                self.assertEqual((done.returncode, done.stdout), (0, "acked\n"), done.stderr)
        self.assertEqual(self.server.usage("calls", "acme"), "3.25")


if __name__ == "__main__":
    unittest.main(verbosity=2)
