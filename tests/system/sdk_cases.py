"""What every thin SDK must do, asked of a driver that speaks JSON lines (sdk/driver.*).

    class Python(sdk_cases.Cases, unittest.TestCase):
        COMMAND = [...]

Commands: open {options}, send {event, wait_ms}, send_many {count, prefix, event, wait_ms}, flush
{timeout_ms}, close {timeout_ms}, stats, refusals. Options are the C SDK's, times in milliseconds.
"""

import json
import os
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
import urllib.request

import support

UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
BUFFER_MIN = 128 * 1024
KILLS = 4
HERE = os.path.dirname(os.path.abspath(__file__))
CLIENTS = os.path.join(support.SOURCE_DIR, "client")


def unpack(data, at=0):
    """A msgpack value and where it ends; an extension as (type, bytes)."""
    def number(form):
        return struct.unpack_from(form, data, at + 1)[0], at + 1 + struct.calcsize(form)

    def piece(size, start):
        assert start + size <= len(data), "cut off"
        return data[start:start + size], start + size

    def items(count, start):
        found = []
        for _ in range(count):
            item, start = unpack(data, start)
            found.append(item)
        return found, start

    def pairs(count, start):
        found, start = items(2 * count, start)
        assert len(set(found[::2])) == count, "a key twice"
        return dict(zip(found[::2], found[1::2])), start

    m = data[at]
    if m < 0x80 or m >= 0xe0:
        return (m if m < 0x80 else m - 256), at + 1
    if m < 0xa0:
        return (pairs if m < 0x90 else items)(m & 15, at + 1)
    if m < 0xc0:
        text, end = piece(m & 31, at + 1)
        return text.decode(), end
    if m in (0xc0, 0xc2, 0xc3):
        return {0xc0: None, 0xc2: False, 0xc3: True}[m], at + 1
    if m == 0xd7:
        body, end = piece(8, at + 2)
        return (data[at + 1], body), end
    forms = {0xc4: ">B", 0xc5: ">H", 0xc6: ">I", 0xca: ">f", 0xcb: ">d", 0xcc: ">B", 0xcd: ">H",
             0xce: ">I", 0xcf: ">Q", 0xd0: ">b", 0xd1: ">h", 0xd2: ">i", 0xd3: ">q", 0xd9: ">B",
             0xda: ">H", 0xdb: ">I", 0xdc: ">H", 0xdd: ">I", 0xde: ">H", 0xdf: ">I"}
    value, end = number(forms[m])
    if 0xca <= m <= 0xd3:
        return value, end
    if m >= 0xdc:
        return (pairs if m >= 0xde else items)(value, end)
    body, end = piece(value, end)
    return (body.decode() if m >= 0xd9 else body), end


class Server:
    """One tallyd with the meters `calls` (sum) and `events` (count) of api_call."""

    def __init__(self, folder, *arguments):
        self.arguments = arguments
        self.data = os.path.join(folder, "data")
        self.env = support.environment(TALLY_DATA=self.data)
        self.log = open(os.path.join(folder, "tallyd.log"), "ab")
        self.process = None

    def start(self):
        self.process = subprocess.Popen(
            [os.path.join(support.BIN_DIR, "tallyd"), "--tcp", "127.0.0.1:0",
             "--metrics", "127.0.0.1:0", "--map-size", "1G", *self.arguments],
            env=self.env, stdout=self.log, stderr=self.log)
        support.wait_for("tallyd", lambda: self.said().get("pid") == self.process.pid)

    def said(self):
        assert self.process.poll() is None, "tallyd ended"
        try:
            with open(os.path.join(self.data, "tallyd.json"), encoding="utf-8") as file:
                return json.load(file)
        except (FileNotFoundError, ValueError):
            return {}

    def meters_add(self):
        for key, aggregation in (("calls", "sum"), ("events", "count")):
            self.tally("meter", "add", key, "--event-type", "api_call",
                       "--aggregation", aggregation)

    def unix(self):
        return os.path.join(self.data, "tallyd.sock")

    def tcp(self):
        return self.said()["tcp"]

    def kill(self):
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self):
        """Also looks whether a sanitizer had something to say."""
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=30)
        self.log.close()
        with open(self.log.name, encoding="utf-8", errors="replace") as file:
            text = file.read()
        assert not support.SANITIZER.search(text), text[-20000:]

    def tally(self, *arguments):
        done = subprocess.run(
            [os.path.join(support.BIN_DIR, "tally"), *arguments], env=self.env, text=True,
            capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def usage(self, meter, subject):
        rows = json.loads(self.tally(
            "usage", "--meter", meter, "--subject", subject, "--format", "json"))["rows"]
        return rows[0]["value"] if rows else "0"

    def events_taken(self):
        """Since its start; 0 while it does not answer."""
        try:
            with urllib.request.urlopen(
                    f"http://{self.said()['metrics']}/metrics", timeout=5) as answer:
                text = answer.read().decode()
        except (OSError, KeyError):
            return 0
        rows = re.findall(r"^tally_ingest_events_total(?:{[^}]*})? (\S+)$", text, re.MULTILINE)
        return sum(float(row) for row in rows)


class Driver:
    """A process that does with the SDK what it is told."""

    def __init__(self, command):
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
            env=support.environment(PYTHONDONTWRITEBYTECODE="1"))
        self.received = b""

    def stop(self):
        self.process.stdin.close()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def begin(self, name, **fields):
        self.process.stdin.write(json.dumps({"do": name, **fields}).encode() + b"\n")

    def answer(self, seconds=60):
        deadline = time.monotonic() + seconds
        while b"\n" not in self.received:
            left = deadline - time.monotonic()
            ready = select.select([self.process.stdout], [], [], max(0, left))[0]
            assert ready, f"no answer of the driver within {seconds} s"
            piece = os.read(self.process.stdout.fileno(), 65536)
            assert piece, "the driver ended"
            self.received += piece
        line, self.received = self.received.split(b"\n", 1)
        return json.loads(line)

    def try_(self, name, **fields):
        self.begin(name, **fields)
        return self.answer()

    def do(self, name, **fields):
        answer = self.try_(name, **fields)
        assert "error" not in answer, (name, answer)
        return answer["result"]

    def stat(self, name):
        return self.do("stats")[name]


def address_bind():
    """A socket that refuses connections until it listens, and its name."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    return listener, "127.0.0.1:%d" % listener.getsockname()[1]


class AckEater(threading.Thread):
    """Between client and server, from start() on; the first connections end when the server has
    said something, and nothing of that reaches the client. The later ones work."""

    def __init__(self, server_path, connections):
        super().__init__(daemon=True)
        self.path, self.left = server_path, connections
        self.listener, self.address = address_bind()

    def run(self):
        self.listener.listen()
        while True:
            try:
                client = self.listener.accept()[0]
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(self.path)
            with client, server:
                self.relay(client, server)

    def relay(self, client, server):
        while True:
            for source in select.select([client, server], [], [])[0]:
                data = source.recv(65536)
                if source is server and self.left > 0:
                    self.left -= 1
                    return
                if not data:
                    return
                (server if source is client else client).sendall(data)

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def frame_receive(connection):
    """The first frame of a connection and its bytes."""
    connection.settimeout(30)
    received = b""
    while True:
        piece = connection.recv(65536)
        assert piece, "closed before the end of a frame"
        received += piece
        try:
            frame, end = unpack(received)
        except (AssertionError, IndexError, struct.error):
            continue
        return frame, received[:end]


class Cases:
    COMMAND = None  # the driver's command line
    # What a language has in its own way.
    LATE = "no ack in time"  # all of the error, as an expression
    BUFFER = BUFFER_MIN  # of the unit in which the buffer is limited: bytes, those on the wire too
    BUFFER_OPTION, BUFFER_STAT, ON_THE_WIRE = "buffer_bytes", "buffered_bytes", 0
    FULL = range(100, 131)  # events of 1.1 KiB fill it
    REFUSALS_TOLD = 1000  # of 1,500 in a row; all are counted
    SIZE = {"size": 3}  # in the option of a frame of 3 events

    @staticmethod
    def wire(value):
        """A value as it goes over the wire."""
        return value

    def closed_check(self, driver):
        self.assertFalse(driver.stat("is_connected"))

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="tally-sdk-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def server(self, *arguments):
        server = Server(self.folder, *arguments)
        self.addCleanup(server.stop)
        server.start()
        server.meters_add()
        return server

    def driver(self, server, **options):
        driver = Driver(self.COMMAND)
        self.addCleanup(driver.stop)
        driver.do("open", options={"server": server, **options})
        return driver

    def listener(self):
        """A server of the test's own, and its name."""
        listener = socket.create_server(("127.0.0.1", 0))
        listener.settimeout(30)
        self.addCleanup(listener.close)
        return listener, "127.0.0.1:%d" % listener.getsockname()[1]

    def refused(self, driver, error, **event):
        answer = driver.try_("send", event=event)
        self.assertEqual(answer.get("error"), error, (event, answer))
        return answer["text"]

    def test_counts_each_event_once(self):
        server = self.server()
        event = {"subject": "acme", "type": "api_call", "value": 3, "properties": {"region": "eu"}}
        driver = self.driver(server.tcp())
        for turn in range(2):  # the second time all are duplicates
            driver.do("send_many", count=5000, prefix="once", event=event, wait_ms=30000)
            driver.do("flush", timeout_ms=30000)
            self.assertEqual(server.usage("events", "acme"), "5000")
            self.assertEqual(server.usage("calls", "acme"), "15000")
            stats = driver.do("stats")
            self.assertEqual(stats["events_acked"], 5000 * (turn + 1))
            self.assertEqual(stats["events_duplicate"], 5000 * turn)
        self.assertEqual((stats["events_buffered"], stats[self.BUFFER_STAT]), (0, 0))
        self.assertEqual((stats["events_rejected"], stats["batches_resent"]), (0, 0))
        self.assertEqual(driver.do("refusals"), [])
        driver.do("close", timeout_ms=30000)

    def test_values_keep_their_digits(self):
        rows = [(None, "1"), (0, "0"), (127, "127"), (128, "128"), (-1, "-1"), (70000, "70000"),
                (-5000000000, "-5000000000"), (0.1, "0.1"), (-2.5, "-2.5"), ("0.1", "0.1"),
                ("12345678901.000000000000000001", "12345678901.000000000000000001"),
                ({"big": "9007199254740993"}, "9007199254740993"),
                ({"big": "9999999999999999999"}, "9999999999999999999"), ("1e3", "1000"),
                (123456789.5, "123456789.5"), (1e-7, "0.0000001")]
        server = self.server()
        driver = self.driver("unix:" + server.unix())
        for i, (value, _) in enumerate(rows):
            given = {} if value is None else {"value": value}
            driver.do("send", event={"subject": f"row-{i}", "type": "api_call", **given})
        driver.do("flush", timeout_ms=30000)
        for i, (value, text) in enumerate(rows):
            self.assertEqual(server.usage("calls", f"row-{i}"), text, value)
        driver.do("close", timeout_ms=30000)

    def test_survives_kill_9_of_the_server(self):
        count = 40000
        server = self.server()
        driver = self.driver(
            "unix:" + server.unix(), batch_events=100, retry_min_ms=5, retry_max_ms=50,
            **{self.BUFFER_OPTION: 4 * self.BUFFER})
        driver.begin("send_many", count=count, wait_ms=60000, prefix="",
                     event={"subject": "acme", "type": "api_call", "value": 2})
        for _ in range(KILLS):
            support.wait_for("some events", lambda: server.events_taken() >= count / (2 * KILLS))
            server.kill()
            server.start()
        self.assertEqual(driver.answer(), {"result": count})
        driver.do("flush", timeout_ms=30000)
        stats = driver.do("stats")
        self.assertEqual(stats["connects"], KILLS + 1)
        self.assertGreater(stats["batches_resent"], 0)
        self.assertEqual(stats["events_acked"], count)
        self.assertEqual(server.usage("events", "acme"), str(count))
        self.assertEqual(server.usage("calls", "acme"), str(2 * count))
        driver.do("close", timeout_ms=30000)

    def test_a_lost_ack_doubles_nothing(self):
        server = self.server()
        relay = AckEater(server.unix(), 3)
        driver = self.driver(relay.address, batch_events=50, batch_age_ms=20000,
                             retry_min_ms=5, retry_max_ms=20)
        event = {"subject": "acme", "type": "api_call", "value": "0.5"}
        driver.do("send_many", count=500, prefix="", event=event, wait_ms=30000)
        relay.start()  # now that the first batch has its 50
        self.addCleanup(relay.stop)
        driver.do("send_many", count=500, prefix="", event=event, wait_ms=30000)
        driver.do("flush", timeout_ms=30000)
        stats = driver.do("stats")
        self.assertEqual(stats["connects"], 4)
        self.assertGreaterEqual(stats["events_duplicate"], 50)
        self.assertEqual((stats["events_acked"], stats["events_rejected"]), (1000, 0))
        self.assertEqual(stats["events_conflict"], 0)
        self.assertEqual(server.usage("events", "acme"), "1000")
        self.assertEqual(server.usage("calls", "acme"), "500")
        driver.do("close", timeout_ms=30000)

    def fill(self, driver):
        """Sends until the buffer is full; returns how many events it took."""
        event = {"subject": "acme", "type": "api_call", "properties": {"text": "x" * 1000}}
        for taken in range(1000):
            answer = driver.try_("send", event=event)
            if "error" in answer:
                self.assertEqual(answer["error"], "full")
                stats = driver.do("stats")
                self.assertEqual((stats["events_sent"], stats["events_buffered"]), (taken, taken))
                self.assertLessEqual(stats[self.BUFFER_STAT], self.BUFFER)
                return taken
        raise AssertionError("never full")

    def test_a_full_buffer_is_an_error_and_then_room(self):
        server = self.server()
        server.kill()
        driver = self.driver(
            "unix:" + server.unix(), retry_min_ms=5, retry_max_ms=50,
            **{self.BUFFER_OPTION: self.BUFFER})
        taken = self.fill(driver)
        self.assertIn(taken, self.FULL)
        self.refused(
            driver, "full", subject="acme", type="api_call", properties={"text": "x" * 999})
        answer = driver.try_("flush", timeout_ms=50)
        self.assertEqual(answer["error"], "timeout")
        self.assertIn(str(taken), answer["text"])
        server.start()
        driver.do("send", wait_ms=30000, event={
            "subject": "acme", "type": "api_call", "properties": {"text": "x" * 1000}})
        driver.do("close", timeout_ms=30000)
        self.assertEqual(server.usage("events", "acme"), str(taken + 1))

    def test_what_is_in_flight_counts_as_buffered(self):
        listener, name = self.listener()
        driver = self.driver(name, batch_events=1, ack_timeout_ms=60000,
                             **{self.BUFFER_OPTION: self.BUFFER})
        connection = listener.accept()[0]
        self.addCleanup(connection.close)
        support.wait_for("the connection", lambda: driver.stat("connects") == 1)
        event = {"subject": "acme", "type": "api_call", "properties": {"text": "x" * 1000}}
        while "error" not in (answer := driver.try_("send", event=event)):
            self.assertLessEqual(driver.stat(self.BUFFER_STAT), self.BUFFER + self.ON_THE_WIRE)
        self.assertEqual(answer["error"], "full")
        self.assertEqual(driver.try_("close", timeout_ms=50)["error"], "timeout")
        self.refused(driver, "closed", subject="acme", type="api_call")

    def test_refusals_come_with_event_and_reason(self):
        server = self.server()
        driver = self.driver("unix:" + server.unix(), batch_age_ms=1000)
        past_ms = int(time.time() - 40 * 86400) * 1000
        properties = {"n": 7, "f": 0.5, "deep": [{"a": None}]}
        sent = [("good", {}), ("old", {"time_ms": past_ms}), ("large", {"value": "1e19"}),
                ("twice", {"value": 5}), ("twice", {"value": 6}),
                ("also-good", {"source": "app", "properties": properties})]
        for id_, more in sent:
            event = {"subject": "acme", "type": "api_call", "id": id_, **more}
            self.assertEqual(driver.do("send", event=event), id_)
        driver.do("flush", timeout_ms=30000)
        told = {(it["event"]["id"], it["reason"], it["is_conflict"])
                for it in driver.do("refusals")}
        self.assertEqual(told, {
            ("old", "time too old", False), ("large", "value out of range", False),
            ("twice", "conflict", True)})
        for refusal in driver.do("refusals"):
            self.assertEqual((refusal["event"]["subject"], refusal["event"]["type"]),
                             ("acme", "api_call"))
        stats = driver.do("stats")
        self.assertEqual(
            [stats["events_" + name] for name in ("acked", "rejected", "conflict", "duplicate")],
            [6, 2, 1, 0])
        self.assertEqual(server.usage("events", "acme"), "3")
        driver.do("close", timeout_ms=30000)

    def test_more_refusals_than_the_server_lists_are_counted(self):
        server = self.server()
        driver = self.driver("unix:" + server.unix(), batch_events=1500, batch_age_ms=20000)
        past_ms = int(time.time() - 40 * 86400) * 1000
        driver.do("send_many", count=1500, prefix="", wait_ms=30000, event={
            "subject": "acme", "type": "api_call", "time_ms": past_ms})
        driver.do("flush", timeout_ms=30000)
        self.assertEqual(driver.stat("events_rejected"), 1500)
        self.assertEqual(len(driver.do("refusals")), self.REFUSALS_TOLD)
        driver.do("close", timeout_ms=30000)

    def test_close_flushes(self):
        server = self.server()
        driver = self.driver(server.tcp(), batch_age_ms=60000)
        for _ in range(7):
            driver.do("send", event={"subject": "acme", "type": "api_call"})
        driver.do("close", timeout_ms=30000)
        self.assertEqual(server.usage("events", "acme"), "7")
        self.closed_check(driver)
        self.refused(driver, "closed", subject="acme", type="api_call")

    def test_a_batch_goes_by_its_age(self):
        server = self.server()
        driver = self.driver(server.tcp(), batch_age_ms=20)
        driver.do("send", event={"subject": "acme", "type": "api_call"})
        support.wait_for("the ack", lambda: driver.stat("events_acked") == 1)

    def test_takes_nothing_that_cannot_be_packed(self):
        listener, name = self.listener()
        driver = self.driver(name, batch_age_ms=60000)
        good = {"subject": "s" * 255, "type": "t" * 100, "id": "i" * 128, "source": "q" * 255}
        self.assertEqual(driver.do("send", event=good), good["id"])
        nested = current = {}
        for _ in range(8):
            current["deeper"] = current = {}
        rows = [{"subject": ""}, {"type": ""}, {"properties": {"subject": "x"}},
                {"properties": {"value": 1}}, {"properties": {"text": "x" * 65536}},
                {"properties": {"deep": nested}}]
        for row in rows:
            self.refused(driver, "invalid", **{**good, "id": "another", **row})
        stats = driver.do("stats")
        self.assertEqual((stats["events_sent"], stats["events_buffered"]), (1, 1))
        self.assertLess(stats["buffered_bytes"], 2000)
        for options in ({"server": "nonsense"}, {"server": "host:0"}, {"batch_events": -1},
                        {"server": f"{name},nonsense"}):
            answer = Driver(self.COMMAND)
            self.addCleanup(answer.stop)
            self.assertEqual(answer.try_("open", options=options).get("error"), "invalid", options)
        self.assertIsNotNone(listener)

    def test_speaks_packed_forward_and_resends_the_same_bytes(self):
        listener, name = address_bind()
        self.addCleanup(listener.close)
        listener.settimeout(30)
        driver = self.driver(name, batch_events=3, batch_age_ms=60000, retry_min_ms=5,
                             retry_max_ms=50)
        now = time.time()
        ids = [driver.do("send", event={"subject": "acme", "type": "api_call", "value": value,
                                        "properties": {"n": 300, "text": "y" * 40}})
               for value in (1, 1.5, "2.50")]
        listener.listen()  # now that they are one batch
        with listener.accept()[0] as connection:
            frame, first = frame_receive(connection)
        with listener.accept()[0] as connection:
            again, second = frame_receive(connection)
            self.assertEqual(first, second)
            tag, entries, option = frame
            self.assertEqual(again, frame)
            self.assertEqual((tag, type(entries)), ("tally", bytes))
            chunk = option["chunk"]
            self.assertEqual(
                option, {**self.SIZE, "chunk": chunk, "tally": {"results": True}})
            self.assertRegex(chunk, UUID7)
            connection.sendall(support.pack({"ack": chunk, "unknown": {"to": ["us", None, -1]}})
                               .replace(b"\xd3" + b"\xff" * 8, b"\x07"))
            support.wait_for("the ack", lambda: driver.stat("events_acked") == 3)
        at, events = 0, []
        while at < len(entries):
            entry, at = unpack(entries, at)
            events.append(entry)
        for (ext, (seconds, nanoseconds)), _ in (
                ((stamp[0], struct.unpack(">II", stamp[1])), record) for stamp, record in events):
            self.assertEqual(ext, 0)
            self.assertAlmostEqual(seconds + nanoseconds / 1e9, now, delta=30)
        records = [record for _, record in events]
        self.assertEqual([record.pop("id") for record in records], ids)
        for record in records:  # an empty source is as if it were not there
            self.assertEqual(record.pop("source", ""), "")
        self.assertEqual(records, [
            {"subject": "acme", "type": "api_call", "value": self.wire(value),
             "n": self.wire(300), "text": "y" * 40} for value in (1, 1.5, "2.50")])
        self.assertEqual(len(set(ids)), 3)
        for id_ in ids:
            self.assertRegex(id_, UUID7)
            self.assertAlmostEqual(int(id_.replace("-", "")[:12], 16) / 1000, now, delta=30)

    def test_backfill_is_asked_for_by_name(self):
        listener, name = self.listener()
        driver = self.driver(name, batch_events=1, backfill="july")
        driver.do("send", event={"subject": "acme", "type": "api_call"})
        with listener.accept()[0] as connection:
            frame, _ = frame_receive(connection)
        self.assertEqual(frame[2]["tally"], {"results": True, "backfill": "july"})

    def test_no_ack_in_time_means_reconnect(self):
        listener, name = self.listener()
        driver = self.driver(name, batch_events=1, ack_timeout_ms=100, retry_min_ms=500)
        with listener.accept()[0] as connection:
            driver.do("send", event={"subject": "acme", "type": "api_call"})
            frame_receive(connection)
            support.wait_for(
                "the error", lambda: re.fullmatch(self.LATE, driver.stat("last_error")))
        with listener.accept()[0] as connection:
            frame_receive(connection)
            self.assertEqual(driver.stat("batches_resent"), 1)

    def test_no_ack_in_time_is_seen_while_events_come(self):
        listener, name = self.listener()
        driver = self.driver(name, batch_events=1, in_flight_batches=1, ack_timeout_ms=100,
                             retry_min_ms=60000, retry_max_ms=60000)

        def is_seen():
            driver.do("send", event={"subject": "acme", "type": "api_call"})
            return re.fullmatch(self.LATE, driver.stat("last_error"))

        with listener.accept()[0]:
            support.wait_for("the error", is_seen)

    def test_an_answer_that_is_no_ack_means_reconnect(self):
        listener, name = self.listener()
        driver = self.driver(name, batch_events=1, retry_min_ms=5, retry_max_ms=10)
        driver.do("send", event={"subject": "acme", "type": "api_call"})
        answers = [{"ack": "another"}, ["HELO", {}], None, 7, {"no": "ack"}]
        for answer in map(support.pack, answers):
            with listener.accept()[0] as connection:
                frame_receive(connection)
                connection.sendall(answer)
                self.assertEqual(connection.recv(1), b"")
        with listener.accept()[0] as connection:
            frame, _ = frame_receive(connection)
            ack = support.pack({"ack": frame[2]["chunk"]})
            for i in range(len(ack)):  # a byte at a time
                connection.sendall(ack[i:i + 1])
            support.wait_for("the ack", lambda: driver.stat("events_acked") == 1)
            self.assertEqual(driver.stat("batches_resent"), len(answers))

    def test_pauses_grow(self):
        listener, name = self.listener()
        began = time.monotonic()
        driver = self.driver(name, retry_min_ms=40, retry_max_ms=160)
        for _ in range(6):
            listener.accept()[0].close()
        # Pauses of 40, 80, 160, 160, 160 ms, each shortened by at most half.
        self.assertGreaterEqual(time.monotonic() - began, 0.3)
        self.assertGreaterEqual(driver.stat("connects"), 5)
