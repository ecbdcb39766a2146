"""What the tests with real processes share: a private stack, free ports, msgpack, polling.

    with support.Stack() as stack:
        stack.up()
        stack.tally("import", "rows.csv", ...)

Each stack lives in a folder of its own, listens on ports that the kernel picks, and is stopped and
removed at the end. Nothing here sleeps to wait for a state: wait_for polls with a deadline. When a
sanitizer wrote a report into a log, the stack prints it, and ctest fails the test for it.
"""

import collections
import json
import os
import re
import select
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE_DIR = os.environ.get("TALLY_SOURCE_DIR", os.path.dirname(os.path.dirname(HERE)))
BIN_DIR = os.environ.get("TALLY_BIN_DIR", os.path.join(SOURCE_DIR, "build", "dev"))
SHARED_DIR = os.environ.get("TALLY_SHARED", os.path.join(SOURCE_DIR, "..", "shared"))
CATALOG = os.path.join(SOURCE_DIR, "examples", "llm", "catalog.json")
SKIPPED = 77  # what ctest takes for a skip

SANITIZER = re.compile(r"Sanitizer:|runtime error:")
FOREIGN = ("DATABASE_URL", "STATSD_ADDR")


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(SKIPPED)


def wait_for(what, look, seconds=60):
    """The first true answer of look(); fails the test when there is none in time."""
    deadline = time.monotonic() + seconds
    while True:
        answer = look()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        select.select([], [], [], 0.01)


def environment(**extra):
    """Ours without what would lead the programs elsewhere."""
    kept = {key: value for key, value in os.environ.items()
            if key not in FOREIGN and not key.startswith("TALLY_") and not key.startswith("PG")}
    kept["TALLY_API"] = "none"  # of `tally up`; tests of the API name a port
    kept.update(extra)
    return kept


def process_alive(pid):
    """Whether it runs; a zombie does not."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


Pair = collections.namedtuple("Pair", "certificate key")


def certificate_make(folder, name):
    """A self-signed certificate for 127.0.0.1 and its key, as files."""
    pair = Pair(os.path.join(folder, f"{name}.crt"), os.path.join(folder, f"{name}.key"))
    done = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "30", "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", pair.key, "-out", pair.certificate],
        timeout=60, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return pair


class Stack:
    """The processes of one data directory."""

    def __init__(self, folder_name="data"):
        self.folder = tempfile.mkdtemp(prefix="tally-")
        os.chmod(self.folder, 0o755)  # the user postgres passes through
        self.data = os.path.join(self.folder, folder_name)
        self.env = environment(TALLY_DATA=self.data)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        try:
            self.run("tally", "down", code=None, timeout=180)
            self.logs_check()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def logs_check(self):
        for folder, _, names in os.walk(os.path.join(self.data, "log")):
            for name in names:
                with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as file:
                    text = file.read()
                if SANITIZER.search(text):
                    print(f"--- {name}\n{text[-20000:]}")
                    raise AssertionError(f"{name} has a sanitizer's report")

    def command(self, program, *arguments):
        return [os.path.join(BIN_DIR, program), *map(str, arguments)]

    def run(self, program, *arguments, code=0, timeout=100, stdin=None):
        """Runs a program to its end; code is the exit code that it must have, None: any."""
        done = subprocess.run(
            self.command(program, *arguments), env=self.env, cwd=self.folder, timeout=timeout,
            input=stdin, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        said = f"{program} {' '.join(map(str, arguments))}\n{done.stdout}{done.stderr}"
        assert not SANITIZER.search(said), said
        is_right = code is None or done.returncode == code
        assert is_right, f"exit {done.returncode}, not {code}: {said}"
        return done

    def start(self, program, *arguments):
        return subprocess.Popen(
            self.command(program, *arguments), env=self.env, cwd=self.folder, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def tally(self, *arguments, **options):
        return self.run("tally", *arguments, **options).stdout

    def up(self, *arguments):
        return self.tally("up", "--tcp", "127.0.0.1:0", "--metrics", "127.0.0.1:0", *arguments)

    def tallyd(self):
        """What tallyd says about itself."""
        with open(os.path.join(self.data, "tallyd.json"), encoding="utf-8") as file:
            return json.load(file)

    def kill_tallyd(self):
        pid = self.tallyd()["pid"]
        os.kill(pid, signal.SIGKILL)
        wait_for("the end of tallyd", lambda: not process_alive(pid))

    def metric(self, name):
        """The sum of a metric's rows; 0 when tallyd does not answer."""
        try:
            with urllib.request.urlopen(
                    f"http://{self.tallyd()['metrics']}/metrics", timeout=5) as answer:
                text = answer.read().decode()
        except OSError:
            return 0
        rows = re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE)
        return sum(float(row) for row in rows)

    def address(self):
        host, port = self.tallyd()["tcp"].rsplit(":", 1)
        return host, int(port)

    def sql(self, statement):
        """Rows of one statement, cells as text."""
        with open(os.path.join(self.data, "database.url"), encoding="utf-8") as file:
            url = file.readline().strip()
        done = subprocess.run(
            ["psql", "-X", "-q", "-A", "-t", "-F", "\t", "-d", url, "-c", statement],
            env=self.env, timeout=60, text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        return [line.split("\t") for line in done.stdout.splitlines()]

    def usage(self, meter, subject, *arguments):
        """The total of a meter for one subject, as the text that `tally usage` prints."""
        answer = json.loads(self.tally(
            "usage", "--meter", meter, "--subject", subject, "--format", "json", *arguments))
        rows = answer["rows"]
        assert len(rows) <= 1, rows
        return rows[0]["value"] if rows else "0"


def pack(value):
    """msgpack of what the tests send."""
    if value is None:
        return b"\xc0"
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        if 0 <= value < 128:
            return bytes([value])
        return b"\xd3" + struct.pack(">q", value)
    if isinstance(value, float):
        return b"\xcb" + struct.pack(">d", value)
    if isinstance(value, str):
        data = value.encode()
        return (bytes([0xa0 | len(data)]) if len(data) < 32
                else b"\xda" + struct.pack(">H", len(data))) + data
    if isinstance(value, bytes):
        return b"\xc6" + struct.pack(">I", len(value)) + value
    if isinstance(value, list):
        return b"\xdd" + struct.pack(">I", len(value)) + b"".join(map(pack, value))
    assert isinstance(value, dict), value
    return b"\xdf" + struct.pack(">I", len(value)) + b"".join(
        pack(key) + pack(item) for key, item in value.items())


class Client:
    """One Forward connection that waits for the ack of each frame."""

    def __init__(self, address, ca=None):
        """ca: a file; then over TLS, to a server whose certificate is one of it."""
        self.socket = socket.create_connection(address, timeout=30)
        if ca is not None:
            context = ssl.create_default_context(cafile=ca)
            self.socket = context.wrap_socket(self.socket, server_hostname=address[0])

    def close(self):
        self.socket.close()

    def send(self, tag, records, chunk, seconds=0):
        """Sends one Forward frame and returns when it was acked; times are "now"."""
        entries = [[seconds or int(time.time()), record] for record in records]
        self.socket.sendall(pack([tag, entries, {"chunk": chunk}]))
        want = b"\x81" + pack("ack") + pack(chunk)
        got = b""
        while len(got) < len(want):
            piece = self.socket.recv(len(want) - len(got))
            assert piece, f"closed before the ack of {chunk}: {got!r}"
            got += piece
        assert got == want, (got, want)
