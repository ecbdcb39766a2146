"""HTTPS: certificates, new ones on SIGHUP, and clients that speak something else."""

import http.client
import json
import os
import signal
import socket
import ssl
import unittest

import api_client
import support


class Tls(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = support.Stack()
        cls.stack.__enter__()
        cls.addClassCleanup(cls.stack.__exit__, None, None, None)
        cls.first = support.certificate_make(cls.stack.folder, "first")
        cls.second = support.certificate_make(cls.stack.folder, "second")
        cls.pair = support.Pair(os.path.join(cls.stack.folder, "server.crt"),
                                os.path.join(cls.stack.folder, "server.key"))
        cls.install(cls.first)
        cls.stack.env.update(TALLY_API_TLS_CERT=cls.pair.certificate,
                             TALLY_API_TLS_KEY=cls.pair.key)
        cls.api = api_client.start(cls.stack)

    @classmethod
    def install(cls, pair):
        for source, target in zip(pair, cls.pair):
            with open(source, "rb") as file:
                text = file.read()
            with open(target, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as out:
                out.write(text)

    def setUp(self):
        self.install(self.first)
        self.reload()

    def log(self):
        path = os.path.join(self.stack.data, "log", "tally-api.log")
        with open(path, encoding="utf-8") as file:
            return file.read()

    def reload(self, word="tls_reloaded"):
        before = self.log().count(word)
        os.kill(self.api.pid, signal.SIGHUP)
        support.wait_for(word, lambda: self.log().count(word) > before)

    def connect(self, trusted, **options):
        context = ssl.create_default_context(cafile=trusted.certificate)
        for name, value in options.items():
            setattr(context, name, value)
        host, port = self.api.address.rsplit(":", 1)
        return http.client.HTTPSConnection(host, int(port), timeout=60, context=context)

    def ask(self, connection, target="/health", **options):
        connection.request("GET", target, **options)
        answer = connection.getresponse()
        return answer.status, answer.read()

    def test_https_with_keys_bodies_and_large_answers(self):
        connection = self.connect(self.first)
        self.assertEqual(self.ask(connection), (200, b'{"status":"ok"}'))
        self.assertIn(connection.sock.version(), ("TLSv1.2", "TLSv1.3"))
        events = [{"id": f"t{i}", "source": "tls", "specversion": "1.0", "type": "tls",
                   "subject": "s", "data": {"text": "x" * 2000}} for i in range(500)]
        connection.request("POST", "/api/v1/events", json.dumps(events), {
            "Authorization": "Bearer " + self.api.keys["ingest"],
            "Content-Type": "application/json"})
        answer = connection.getresponse()
        self.assertEqual((answer.status, answer.read()), (204, b""))
        status, body = self.ask(connection, "/api/v1/events", headers={
            "Authorization": "Bearer " + self.api.keys["read"]})
        self.assertEqual((status, len(json.loads(body))), (200, 100))
        connection.close()

    def test_streams_go_on_over_tls(self):
        connection = self.connect(self.first)
        connection.request("GET", "/api/v1/ingest/stream", headers={
            "Authorization": "Bearer " + self.api.keys["read"]})
        answer = connection.getresponse()
        lines = [answer.readline() for _ in range(12)]
        self.assertGreaterEqual(len([line for line in lines if line.startswith(b"data: {")]), 2)
        answer.close()
        connection.close()

    def test_old_versions_are_refused(self):
        connection = self.connect(self.first, maximum_version=ssl.TLSVersion.TLSv1_2)
        self.assertEqual(self.ask(connection)[0], 200)
        connection.close()
        with self.assertRaises((OSError, ssl.SSLError)):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            context.set_ciphers("ALL:@SECLEVEL=0")
            context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
            host, port = self.api.address.rsplit(":", 1)
            with socket.create_connection((host, int(port)), 60) as plain:
                context.wrap_socket(plain)

    def test_a_new_certificate_on_sighup(self):
        old = self.connect(self.first)
        self.assertEqual(self.ask(old)[0], 200)
        self.install(self.second)
        self.reload()
        new = self.connect(self.second)
        self.assertEqual(self.ask(new)[0], 200)
        # Who was connected goes on.
        self.assertEqual(self.ask(old)[0], 200)
        with self.assertRaises(ssl.SSLCertVerificationError):
            self.ask(self.connect(self.first))
        old.close()
        new.close()

    def test_files_that_cannot_be_used_leave_the_old_one(self):
        with open(self.pair.key, "wb") as out, open(self.second.key, "rb") as key:
            out.write(key.read())
        self.reload("tls_reload_failed")
        self.assertIn("belongs to another certificate", self.log())
        connection = self.connect(self.first)
        self.assertEqual(self.ask(connection)[0], 200)
        connection.close()

    def test_plain_http_ends(self):
        host, port = self.api.address.rsplit(":", 1)
        with socket.create_connection((host, int(port)), 60) as plain:
            plain.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            got = b""
            try:
                while more := plain.recv(4096):
                    got += more
            except ConnectionResetError:
                pass
            self.assertNotIn(b"HTTP/1.1 200", got)

    def test_status_and_up_say_https(self):
        self.assertIn("https://" + self.api.address, self.stack.up("--api", "127.0.0.1:0"))

    def test_wrong_files_stop_the_start(self):
        loose = os.path.join(self.stack.folder, "loose.key")
        with open(self.first.key, "rb") as key, open(loose, "wb") as out:
            out.write(key.read())
        os.chmod(loose, 0o644)
        certificate, key = self.first
        for arguments, code, words in (
                (("--tls-cert", certificate), 2, "belong together"),
                (("--tls-cert", certificate, "--tls-key", loose), 2, "chmod 600"),
                (("--tls-cert", certificate, "--tls-key", self.second.key), 2, "another"),
                (("--tls-cert", key, "--tls-key", key), 2, "first.key"),
                (("--tls-cert", certificate, "--tls-key", certificate), 2, "first.crt"),
                (("--tls-cert", certificate, "--tls-key", key + "x"), 1, "first.keyx")):
            os.chmod(certificate, 0o600)
            self.stack.env.pop("TALLY_API_TLS_CERT", None)
            self.stack.env.pop("TALLY_API_TLS_KEY", None)
            done = self.stack.run("tally-api", "--port", "0", *arguments, code=code)
            self.assertIn(words, done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
