"""client/go against a real tallyd, and what only Go has."""

import hashlib
import os
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import unittest

import sdk_cases
import support

PACKAGE = os.path.join(sdk_cases.CLIENTS, "go")
DRIVER = os.path.join(sdk_cases.HERE, "sdk", "go")
EVENT = {"subject": "acme", "type": "api_call", "value": 2}
CAN_FIND_RACES = shutil.which("gcc") is not None


def go(*arguments, cwd):
    """The go command without the network. Its cache is the user's, where there is one."""
    env = support.environment(
        GOPROXY="off", GOFLAGS="", GOWORK="off", CGO_ENABLED=str(int(CAN_FIND_RACES)))
    if "HOME" not in env and "GOCACHE" not in env:
        env["GOCACHE"] = os.path.join(tempfile.gettempdir(), f"tally-go-{os.getuid()}")
    done = subprocess.run(
        ["go", *arguments], cwd=cwd, env=env, text=True, capture_output=True, timeout=150,
        check=False)
    assert done.returncode == 0, f"go {arguments}: {done.stdout}{done.stderr}"
    return done.stdout


class TlsRelay(threading.Thread):
    """Takes TLS off what comes in and gives it to the address that target() names then."""

    def __init__(self, folder, target):
        super().__init__(daemon=True)
        self.certificate, key = (os.path.join(folder, name) for name in ("cert.pem", "key.pem"))
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-subj", "/CN=tally", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2",
             "-keyout", key, "-out", self.certificate], check=True, capture_output=True)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.certificate, key)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.target = target

    def run(self):
        while True:
            try:
                plain = self.listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.relay, args=(plain,), daemon=True).start()

    def relay(self, plain):
        try:
            with self.context.wrap_socket(plain, server_side=True) as client, \
                    socket.create_connection(self.target(), timeout=30) as server:
                back = threading.Thread(target=self.copy, args=(server, client), daemon=True)
                back.start()
                self.copy(client, server)
                back.join()
        except (OSError, AssertionError, KeyError):  # tallyd is gone, or the client is
            plain.close()

    @staticmethod
    def copy(source, to):
        try:
            while data := source.recv(65536):
                to.sendall(data)
        except OSError:
            pass
        for end in (source, to):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class Go(sdk_cases.Cases, unittest.TestCase):
    LATE = r"read tcp \S+: i/o timeout"
    # Its buffer is limited in events; the batch on the wire has left it.
    BUFFER, BUFFER_OPTION, BUFFER_STAT, ON_THE_WIRE = 120, "buffer_events", "events_buffered", 1
    FULL = [120]
    REFUSALS_TOLD = 1500  # no batch has more than the 1,000 that the server lists
    SIZE = {}
    wire = staticmethod(str)  # each value as its text
    test_backfill_is_asked_for_by_name = None  # Go cannot

    def closed_check(self, driver):
        self.over_check(driver)

    @staticmethod
    def over_check(driver):
        """The client's goroutine ends, and its connection with it."""
        support.wait_for("the end", lambda: driver.stat("goroutines") == 1)

    @classmethod
    def setUpClass(cls):
        cls.built = tempfile.mkdtemp(prefix="tally-sdk-")
        cls.addClassCleanup(shutil.rmtree, cls.built, ignore_errors=True)
        binary = os.path.join(cls.built, "driver")
        # A data race ends the driver, and the test with it.
        cls.COMMAND = ["env", "GORACE=halt_on_error=1", binary]
        go("build", *(["-race"] if CAN_FIND_RACES else []), "-o", binary, ".",
           cwd=DRIVER)

    def server_with_key(self):
        """Asks for the key `secret` and the user acme, `word`."""
        users = os.path.join(self.folder, "users")
        with open(os.open(users, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as file:
            file.write("acme = word\nstaple = word backfill\n")
        server = sdk_cases.Server(self.folder)
        self.addCleanup(server.stop)
        server.env.update(TALLY_SHARED_KEY="secret", TALLY_USERS=users)
        server.start()
        server.meters_add()
        return server

    def stranger(self, error, server, **options):
        """A client that does not get in, and why."""
        driver = self.driver(server, retry_min_ms=5, retry_max_ms=20, **options)
        support.wait_for(error, lambda: error in driver.stat("last_error"))
        self.assertEqual(driver.stat("connects"), 0)
        return driver

    def test_passes_vet_and_gofmt(self):
        for folder in (PACKAGE, DRIVER):
            go("vet", "./...", cwd=folder)
            done = subprocess.run(
                ["gofmt", "-l", folder], text=True, capture_output=True, check=True)
            self.assertEqual(done.stdout, "")

    def test_needs_the_standard_library_only(self):
        form = "{{if not .Standard}}{{.ImportPath}}{{end}}"
        named = go("list", "-deps", "-f", form, ".", cwd=PACKAGE)
        self.assertEqual(named.split(), ["tally"])

    def test_shows_the_shared_key(self):
        server = self.server_with_key()
        driver = self.driver(
            server.tcp(), shared_key="secret", username="acme", password="word")
        driver.do("send_many", count=3000, prefix="", wait_ms=30000, event=EVENT)
        driver.do("close", timeout_ms=30000)
        self.assertEqual(server.usage("events", "acme"), "3000")
        self.assertEqual(driver.stat("connects"), 1)

    def test_a_wrong_key_or_user_does_not_get_in(self):
        server = self.server_with_key()
        driver = self.stranger("shared key mismatch", server.tcp(),
                               shared_key="another", username="acme", password="word")
        driver.do("send", event=EVENT)
        self.assertEqual(driver.try_("close", timeout_ms=50)["error"], "timeout")
        for user in ({"username": "acme", "password": "wrong"},
                     {"username": "nobody", "password": "word"}, {}):
            self.stranger("username or password mismatch", server.tcp(),
                          shared_key="secret", **user)
        self.assertEqual(server.usage("events", "acme"), "0")

    def test_a_client_without_the_key_is_told_of_it(self):
        driver = self.driver(self.server_with_key().tcp(), batch_age_ms=1)
        driver.do("send", event=EVENT)
        support.wait_for(
            "the error", lambda: "HELO asks for a shared key" in driver.stat("last_error"))

    def test_a_server_that_does_not_know_the_key_is_left(self):
        def proof(ping, name):
            text = f"{ping[2]}{name}nonce" + "guess"
            return hashlib.sha512(text.encode()).hexdigest()

        listener, name = self.listener()
        driver = self.driver(name, shared_key="secret", retry_min_ms=5, retry_max_ms=20)
        driver.do("send", event=EVENT)
        # The second one sends back what the client proved, under the client's own name.
        for pong in (lambda ping: ["PONG", True, "", "other", proof(ping, "other")],
                     lambda ping: ["PONG", True, "", ping[1], ping[3]]):
            with listener.accept()[0] as connection:
                connection.sendall(support.pack(["HELO", {"nonce": "nonce", "auth": ""}]))
                ping, _ = sdk_cases.frame_receive(connection)
                own = hashlib.sha512(f"{ping[2]}{ping[1]}noncesecret".encode()).hexdigest()
                word = hashlib.sha512(b"").hexdigest()
                self.assertEqual((ping[0], ping[3:]), ("PING", [own, "", word]))
                connection.sendall(support.pack(pong(ping)))
                self.assertEqual(connection.recv(1), b"")
            support.wait_for(
                "the error", lambda: "does not know the shared key" in driver.stat("last_error"))
        self.assertEqual(driver.stat("connects"), 0)

    def relay(self, server):
        def target():
            host, port = server.tcp().rsplit(":", 1)
            return host, int(port)

        relay = TlsRelay(self.folder, target)
        relay.start()
        self.addCleanup(relay.stop)
        return relay

    def test_tls_with_a_key_survives_kill_9(self):
        count = 20000
        server = self.server_with_key()
        relay = self.relay(server)
        driver = self.driver(
            relay.address, tls_ca=relay.certificate, shared_key="secret", username="acme",
            password="word", buffer_events=4 * self.BUFFER, batch_events=100,
            retry_min_ms=5, retry_max_ms=50)
        driver.begin("send_many", count=count, wait_ms=60000, prefix="", event=EVENT)
        for _ in range(2):
            support.wait_for("some events", lambda: server.events_taken() >= count / 5)
            server.kill()
            server.start()
        self.assertEqual(driver.answer(), {"result": count})
        driver.do("close", timeout_ms=30000)
        stats = driver.do("stats")
        self.assertGreater(stats["batches_resent"], 0)
        self.assertEqual((stats["events_acked"], stats["events_conflict"]), (count, 0))
        self.assertEqual(server.usage("events", "acme"), str(count))
        self.assertEqual(server.usage("calls", "acme"), str(2 * count))

    def test_tls_trusts_only_whom_it_is_told_to(self):
        server = self.server_with_key()
        relay = self.relay(server)
        other = os.path.join(self.folder, "other")
        os.mkdir(other)
        stranger = TlsRelay(other, lambda: None)
        self.addCleanup(stranger.listener.close)
        self.stranger("certificate", relay.address, tls_ca=stranger.certificate,
                      shared_key="secret", username="acme", password="word")

    def test_its_own_user_is_not_asked_for_the_key_on_the_unix_socket(self):
        server = self.server_with_key()
        driver = self.driver("unix:" + server.unix())
        driver.do("send", event=EVENT)
        driver.do("close", timeout_ms=30000)
        self.assertEqual(server.usage("events", "acme"), "1")
        self.assertEqual(driver.stat("connects"), 1)

    def test_strange_answers_cost_nothing(self):
        listener, name = self.listener()
        for answer, error in ((b"\xdb\xff\xff\xff\xff", "the server says"),
                              (b"\xdd\xff\xff\xff\xff" + b"\xc0" * 300000, "EOF"),
                              (b"\x91" * 300000, "EOF"), (b"\xc7", "unknown msgpack"),
                              (b"\x93\xa8rejected\x00", "EOF"), (b"\x81", "EOF"),
                              (b"\x81\xa3ack", "EOF"), (b"\x82\xa3ack\xda\xff", "EOF")):
            # The pause is long, since a new connection clears the error.
            driver = self.driver(
                name, batch_events=1, retry_min_ms=600000, retry_max_ms=600000)
            driver.do("send", event=EVENT)
            with listener.accept()[0] as connection:
                sdk_cases.frame_receive(connection)
                try:
                    connection.sendall(answer)
                    connection.shutdown(socket.SHUT_WR)
                except OSError:  # the client has left already
                    pass
                support.wait_for(error, lambda: error in driver.stat("last_error"))

    def test_an_answer_without_end_is_left(self):
        listener, name = self.listener()
        driver = self.driver(name, retry_min_ms=600000, retry_max_ms=600000)
        driver.do("send", event=EVENT)
        with listener.accept()[0] as connection:
            sdk_cases.frame_receive(connection)
            connection.settimeout(60)
            with self.assertRaises(ConnectionError):
                connection.sendall(b"\xdd\xff\xff\xff\xff")
                for _ in range(64):
                    connection.sendall(b"\xc0" * (1 << 20))
        support.wait_for("the error", lambda: driver.stat("last_error") == "EOF")

    def test_an_ack_that_says_strange_things_is_an_ack(self):
        listener, name = self.listener()
        driver = self.driver(name)
        driver.do("send", event=EVENT)
        strange = {"rejected": [[1, "not there"], [2**63 - 1, "nor this"], [-1, 7], []],
                   "conflicts": [1, -1, 2**62], "duplicates": None, "rejected_count": 1 << 40,
                   "float": 0.5, "bytes": b"rejected"}
        with listener.accept()[0] as connection:
            frame, _ = sdk_cases.frame_receive(connection)
            connection.sendall(support.pack({"ack": frame[2]["chunk"], **strange}))
            support.wait_for("the ack", lambda: driver.stat("events_acked") == 1)
            driver.do("send", event=EVENT)  # the connection goes on
            frame, _ = sdk_cases.frame_receive(connection)
            connection.sendall(support.pack({"rejected": [], "ack": frame[2]["chunk"]}))
            support.wait_for("the error", lambda: "the server says" in driver.stat("last_error"))
        stats = driver.do("stats")
        self.assertEqual([stats["events_" + name] for name in
                          ("acked", "rejected", "conflict", "duplicate")], [1, 0, 0, 0])
        self.assertEqual(driver.do("refusals"), [])

    def test_a_mute_server_is_left(self):
        listeners, drivers = [], []
        for options in ({"tls_ca": "/dev/null"}, {"shared_key": "secret"}):
            listener, name = self.listener()
            listeners.append(listener)
            drivers.append(self.driver(name, retry_min_ms=5, retry_max_ms=20, **options))
        for listener in listeners:
            with listener.accept()[0], listener.accept()[0]:  # it comes again
                pass
        for driver in drivers:
            support.wait_for("the error", lambda driver=driver: re.search(
                "i/o timeout|deadline exceeded", driver.stat("last_error")))
            self.assertEqual(driver.stat("connects"), 0)

    def test_a_broken_helo_gets_no_ping(self):
        listener, name = self.listener()
        driver = self.driver(name, shared_key="secret", retry_min_ms=5, retry_max_ms=20)
        for helo in (["HELO", {"auth": "a", "nonce": "n"}], ["OLEH", {"nonce": "n"}], "HELO"):
            with listener.accept()[0] as connection:
                connection.sendall(support.pack(helo))
                self.assertEqual(connection.recv(1), b"")
            support.wait_for("the error", lambda: "the server says" in driver.stat("last_error"))

    def test_takes_nothing_that_cannot_be_packed(self):
        server = self.server()
        driver = self.driver(server.tcp())
        for row in ({"properties": {"text": "x" * 65536}}, {"time_ms": -1000},
                    {"time_ms": 5000000000000}):
            self.refused(driver, "invalid", **{**EVENT, **row})
        self.assertEqual(driver.stat("events_sent"), 0)
        rows = [({"subject": ""}, "subject is not a string of 1-255 bytes"),
                ({"subject": "s" * 256}, "subject is not a string of 1-255 bytes"),
                ({"type": "\u00fc" * 51}, "type is not a string of 1-100 bytes"),
                ({"id": "i" * 129}, "id is not a string of 1-128 bytes"),
                ({"source": "q" * 256}, "source is not a string of 0-255 bytes"),
                ({"properties": {"subject": "x"}}, "a reserved key is given twice")]
        rows += [({"value": value}, "value is not a number") for value in ("1,5", "NaN", "", True)]
        for row, _ in rows:
            driver.do("send", event={**EVENT, **row})
        driver.do("send", event=EVENT)
        driver.do("close", timeout_ms=30000)
        self.assertEqual(
            [it["reason"] for it in driver.do("refusals")], [reason for _, reason in rows])
        self.assertEqual(driver.stat("events_rejected"), len(rows))
        self.assertEqual(server.usage("calls", "acme"), "2")

    def test_no_goroutine_outlives_close(self):
        listener, name = self.listener()
        mute = self.driver(name, batch_events=1, ack_timeout_ms=3000)  # nobody acks
        mute.do("send", event=EVENT)
        support.wait_for("the connection", lambda: mute.stat("connects") == 1)
        self.assertGreater(mute.stat("goroutines"), 1)
        server = self.server()
        served = self.driver(server.tcp())
        served.do("send", event=EVENT)
        gone = self.driver("unix:" + os.path.join(self.folder, "nobody"), retry_min_ms=600000)
        for driver in (mute, served, gone):
            driver.try_("close", timeout_ms=1 if driver is mute else 30000)
            self.over_check(driver)
        for command in ("close", "flush"):  # an hour is not waited for what will not come
            self.assertEqual(mute.try_(command, timeout_ms=3600000)["error"], "timeout")
        self.assertIsNotNone(listener)

    def test_close_ends_a_flush_that_waits(self):
        listener, name = self.listener()  # nobody acks
        driver = self.driver(name)
        driver.do("send", event=EVENT)
        ends = driver.do("close_while_flushing", timeout_ms=50)
        self.assertEqual(ends, ["timeout", "timeout"])
        self.assertIsNotNone(listener)

    def test_many_goroutines_send_and_flush(self):
        server = self.server()
        driver = self.driver(server.tcp())
        driver.do("flush_by_many", count=100, timeout_ms=60000, event=EVENT)
        self.assertEqual(driver.stat("events_acked"), 800)
        self.assertEqual(server.usage("events", "acme"), "800")
        driver.do("close", timeout_ms=30000)

    def test_close_loses_nothing_that_was_taken(self):
        server = self.server()
        driver = self.driver(server.tcp(), buffer_events=self.BUFFER)
        done = driver.do("close_while_sending", count=5000, wait_ms=60000, timeout_ms=60000,
                         event=EVENT)
        self.assertEqual((done["told"], done["closed"]), (["closed"] * 8, ""))
        self.assertGreaterEqual(done["taken"], 5000)
        stats = driver.do("stats")
        self.assertEqual((stats["events_sent"], stats["events_acked"]), (done["taken"],) * 2)
        self.assertEqual(server.usage("events", "acme"), str(done["taken"]))
        for name in ("close", "flush"):  # again, and nothing is left
            driver.do(name, timeout_ms=60000)
        self.refused(driver, "closed", **EVENT)

    def test_pauses_grow(self):
        listener, name = self.listener()
        driver = self.driver(name, retry_min_ms=40, retry_max_ms=160)
        driver.do("send", event=EVENT)  # an idle client does not see that its connection ended
        began = time.monotonic()
        for _ in range(6):
            listener.accept()[0].close()
        # Pauses of 40, 80, 160, 160, 160 ms, each shortened by at most half.
        self.assertGreaterEqual(time.monotonic() - began, 0.3)
        self.assertGreaterEqual(driver.stat("connects"), 5)


if __name__ == "__main__":
    if not shutil.which("go"):
        support.skip("go is not installed (Debian: golang-go)")
    unittest.main(verbosity=2)
