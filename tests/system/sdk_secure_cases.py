"""What the thin SDKs do with strangers: shared key, users, TLS, and the next server of a list.

    class Python(sdk_cases.Cases, sdk_secure_cases.SecureCases, unittest.TestCase):

TLS ends in a relay of the test's own before tallyd. Options of the driver as in sdk_cases; tls_ca
is the file of the certificate to trust, tls_name the name that the server's must have, and tls
alone trusts whom the system trusts.
"""

import hashlib
import os
import re
import select
import socket
import ssl
import subprocess
import threading

import sdk_cases
import support

KEY = "a key of the two"
EVENT = {"subject": "acme", "type": "api_call", "value": 2}


def file_write(folder, name, text):
    """A file of secrets, which tallyd reads only when it is the owner's alone."""
    path = os.path.join(folder, name)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    return path


def digest(*parts):
    return hashlib.sha512("".join(parts).encode()).hexdigest()


class TlsRelay(threading.Thread):
    """Speaks TLS with clients and plainly with the server; its certificate is for localhost."""

    def __init__(self, folder, server):
        super().__init__(daemon=True)
        self.cert, key = (os.path.join(folder, name) for name in ("cert.pem", "key.pem"))
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
             "subjectAltName=DNS:localhost", "-keyout", key, "-out", self.cert],
            check=True, capture_output=True)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.cert, key)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.server = server

    def run(self):
        while True:
            try:
                plain = self.listener.accept()[0]
            except OSError:
                return
            try:
                client = self.context.wrap_socket(plain, server_side=True)
                server = socket.create_connection(self.server)
            except OSError:
                continue
            with client, server:
                self.relay(client, server)

    @staticmethod
    def relay(client, server):
        while True:
            ready = [client] if client.pending() else select.select([client, server], [], [])[0]
            for source in ready:
                try:
                    data = source.recv(65536)
                except OSError:
                    return
                if not data:
                    return
                (server if source is client else client).sendall(data)

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class SecureCases:
    def guarded(self, users=""):
        arguments = ["--shared-key-file", file_write(self.folder, "key", KEY + "\n")]
        if users:
            arguments += ["--users", file_write(self.folder, "users", users)]
        return self.server(*arguments)

    def counted(self, server, driver, count=500):
        driver.do("send_many", count=count, prefix="", event=EVENT, wait_ms=30000)
        driver.do("flush", timeout_ms=30000)
        self.assertEqual(server.usage("events", "acme"), str(count))
        self.assertEqual(server.usage("calls", "acme"), str(2 * count))

    def failing(self, expected, server, **options):
        """A client that gets nowhere says why."""
        driver = self.driver(server, retry_min_ms=5, retry_max_ms=20, **options)
        driver.do("send", event=EVENT)
        support.wait_for(expected, lambda: re.search(expected, driver.stat("last_error")))
        answer = driver.try_("close", timeout_ms=20)
        self.assertEqual(answer["error"], "timeout")
        self.assertEqual(driver.stat("events_acked"), 0)
        return driver

    def test_passes_with_the_shared_key(self):
        server = self.guarded()
        self.counted(server, self.driver(server.tcp(), shared_key=KEY))

    def test_says_why_it_does_not_pass(self):
        server = self.guarded()
        for shared_key, reason in (("another", "shared key mismatch"), (None, "asks for a shared")):
            options = {} if shared_key is None else {"shared_key": shared_key}
            driver = self.failing(reason, server.tcp(), **options)
            self.assertEqual(driver.stat("connects") > 0, shared_key is None)
        self.assertEqual(server.usage("events", "acme"), "0")

    def test_users_pass_with_their_password(self):
        server = self.guarded("acme = horse\nimporter = staple backfill\n")
        for more in ({}, {"username": "acme", "password": "house"},
                     {"username": "nobody", "password": "horse"}):
            self.failing("username or password mismatch", server.tcp(), shared_key=KEY, **more)
        self.counted(server, self.driver(
            server.tcp(), shared_key=KEY, username="acme", password="horse"))

    def test_a_server_has_to_know_the_key_too(self):
        listener, name = self.listener()
        driver = self.driver(name, shared_key=KEY, username="acme", password="horse",
                             retry_min_ms=5, retry_max_ms=10, batch_events=1,
                             connect_timeout_ms=60000)
        driver.do("send", event=EVENT)
        helo = support.pack(["HELO", {"nonce": "n", "auth": "a", "keepalive": True}])

        def answered(connection, pong):
            connection.settimeout(30)
            connection.sendall(helo)
            word, host, salt, proof, user, user_proof = sdk_cases.frame_receive(connection)[0]
            self.assertEqual((word, user, user_proof), ("PING", "acme", digest("a", user, "horse")))
            self.assertEqual(proof, digest(salt, host, "n", KEY))
            connection.sendall(support.pack(["PONG", *pong(host, salt, proof)]))

        wrong = [lambda host, salt, proof: (True, "", "srv", digest(salt, "srv", "n", "another")),
                 lambda host, salt, proof: (True, "", "srv", ""),
                 lambda host, salt, proof: (True, "", host, proof),  # the client's own, sent back
                 lambda host, salt, proof: (False, "no such luck", "", "")]
        for pong in wrong:
            with listener.accept()[0] as connection:
                answered(connection, pong)
                self.assertEqual(connection.recv(1), b"")  # no event comes
        self.assertEqual(driver.stat("connects"), 0)
        support.wait_for("the reason", lambda: "no such luck" in driver.stat("last_error"))
        with listener.accept()[0] as connection:
            answered(connection, lambda host, salt, proof: (
                True, "", "srv", digest(salt, "srv", "n", KEY)))
            frame, _ = sdk_cases.frame_receive(connection)
            connection.sendall(support.pack({"ack": frame[2]["chunk"]}))
            support.wait_for("the ack", lambda: driver.stat("events_acked") == 1)

    def test_a_server_that_asks_for_no_key_gets_nothing(self):
        listener, name = self.listener()
        driver = self.driver(name, shared_key=KEY, connect_timeout_ms=100, retry_min_ms=60000,
                             retry_max_ms=60000)
        driver.do("send", event=EVENT)
        with listener.accept()[0] as connection:
            connection.settimeout(30)
            self.assertEqual(connection.recv(1), b"")
        support.wait_for(
            "the error", lambda: driver.stat("last_error") == "no connection in time")

    def test_a_key_does_not_hinder_on_a_unix_socket(self):
        server = self.guarded()
        driver = self.driver("unix:" + server.unix(), shared_key=KEY)
        self.counted(server, driver)
        self.assertEqual(driver.stat("connects"), 1)

    def test_shows_the_key_on_a_unix_socket_that_asks(self):
        path = os.path.join(self.folder, "asks.sock")
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(listener.close)
        listener.bind(path)
        listener.listen()
        listener.settimeout(30)
        driver = self.driver("unix:" + path, shared_key=KEY)
        with listener.accept()[0] as connection:
            connection.sendall(support.pack(["HELO", {"nonce": "n", "auth": ""}]))
            ping, _ = sdk_cases.frame_receive(connection)
            self.assertEqual(ping[3], digest(ping[2], ping[1], "n", KEY))
            proof = digest(ping[2], "other", "n", KEY)
            connection.sendall(support.pack(["PONG", True, "", "other", proof]))
            support.wait_for("the connection", lambda: driver.stat("connects") == 1)

    def test_speaks_tls(self):
        server = self.guarded()
        host, port = server.tcp().rsplit(":", 1)
        relay = TlsRelay(self.folder, (host, int(port)))
        relay.start()
        self.addCleanup(relay.stop)
        name = f"localhost:{relay.port}"
        certificate = "certificate|self.signed"
        self.failing(certificate, name, shared_key=KEY, tls=True)
        self.failing("does not match|altnames|not valid for", f"127.0.0.1:{relay.port}",
                     shared_key=KEY, tls_ca=relay.cert)
        driver = self.driver(f"127.0.0.1:{relay.port}", shared_key=KEY, tls_ca=relay.cert,
                             tls_name="localhost")
        self.counted(server, driver, 300)
        driver.do("close", timeout_ms=30000)
        driver = self.driver(name, shared_key=KEY, tls_ca=relay.cert)
        driver.do("send_many", count=300, prefix="", event=EVENT, wait_ms=30000)
        driver.do("close", timeout_ms=30000)
        self.assertEqual(server.usage("events", "acme"), "600")

    def test_tries_the_next_server(self):
        server = self.server()
        gone = socket.create_server(("127.0.0.1", 0))
        nobody = "127.0.0.1:%d" % gone.getsockname()[1]
        gone.close()
        driver = self.driver(f"{nobody}, unix:/nowhere,{server.tcp()}", retry_min_ms=60000,
                             retry_max_ms=60000)
        self.counted(server, driver)
        self.assertEqual(driver.stat("connects"), 1)
