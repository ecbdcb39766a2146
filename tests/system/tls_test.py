#!/usr/bin/env python3
"""TLS on the TCP listener of a real tallyd: Python's ssl as the client, certificates of openssl."""

import os
import shutil
import signal
import socket
import ssl
import unittest

import support


def records(subject, count):
    return [{"subject": subject, "id": f"{subject}-{i}"} for i in range(count)]


def log_of(stack):
    with open(os.path.join(stack.data, "log", "tallyd.log"), encoding="utf-8") as file:
        return file.read()


def replace(pair, source):
    """Puts another certificate and key where tallyd reads them."""
    for path, new in ((pair.certificate, source.certificate), (pair.key, source.key)):
        shutil.copy(new, path + ".new")
        os.rename(path + ".new", path)


class Tls(unittest.TestCase):
    def stack_up(self, stack, pair, *arguments):
        stack.up("--", "--tls-cert", pair.certificate, "--tls-key", pair.key, *arguments)
        stack.tally("meter", "add", "events", "--event-type", "api_call", "--aggregation", "count")

    def reload(self, stack, metric):
        """SIGHUP, and its result: the metric is one more."""
        before = stack.metric(metric)
        os.kill(stack.tallyd()["pid"], signal.SIGHUP)
        support.wait_for(metric, lambda: stack.metric(metric) == before + 1)

    def test_reload_while_a_connection_goes_on(self):
        with support.Stack() as stack:
            pair = support.certificate_make(stack.folder, "server")
            first = support.certificate_make(stack.folder, "first")
            second = support.certificate_make(stack.folder, "second")
            replace(pair, first)
            self.stack_up(stack, pair)
            old = support.Client(stack.address(), first.certificate)
            old.send("api_call", records("old", 10), "one")
            replace(pair, second)
            self.reload(stack, "tally_ingest_tls_reloads_total")
            with self.assertRaises(ssl.SSLCertVerificationError):
                support.Client(stack.address(), first.certificate)
            new = support.Client(stack.address(), second.certificate)
            new.send("api_call", records("new", 10), "two")
            old.send("api_call", records("old", 20), "three")
            # A key that is not the certificate's: new connections go on with the second.
            shutil.copy(first.key, pair.key)
            self.reload(stack, "tally_ingest_tls_reloads_failed_total")
            another = support.Client(stack.address(), second.certificate)
            another.send("api_call", records("new", 20), "four")
            for client in (old, new, another):
                client.close()
            self.assertEqual(stack.usage("events", "old"), "20")
            self.assertEqual(stack.usage("events", "new"), "20")
            log = log_of(stack)
            self.assertIn("tls_reload_failed", log)
            self.assertIn(f"the private key in {pair.key} is not that of", log)

    def test_plaintext_is_closed(self):
        with support.Stack() as stack:
            pair = support.certificate_make(stack.folder, "server")
            self.stack_up(stack, pair)
            with socket.create_connection(stack.address(), timeout=30) as client:
                client.sendall(support.pack(["api_call", [[None, {"subject": "a"}]], {}]))
                self.assertEqual(client.recv(100), b"")
            self.assertEqual(stack.metric("tally_ingest_tls_failed_total"), 1)
            log = log_of(stack)
            self.assertIn("tls_failed", log)
            self.assertIn("a client that speaks no TLS", log)
            self.assertEqual(stack.metric("tally_ingest_events_total"), 0)

    def test_sighup_without_tls_changes_nothing(self):
        with support.Stack() as stack:
            stack.up()
            client = support.Client(stack.address())
            client.send("api_call", records("a", 1), "one")
            os.kill(stack.tallyd()["pid"], signal.SIGHUP)
            support.wait_for("its line", lambda: "nothing to read again" in log_of(stack))
            client.send("api_call", records("a", 2), "two")
            client.close()

    def test_client_certificates(self):
        with support.Stack() as stack:
            pair = support.certificate_make(stack.folder, "server")
            known = support.certificate_make(stack.folder, "known")
            self.stack_up(stack, pair, "--tls-client-ca", known.certificate)
            with self.assertRaises((OSError, AssertionError)):
                support.Client(stack.address(), pair.certificate).send(
                    "api_call", records("a", 1), "one")
            context = ssl.create_default_context(cafile=pair.certificate)
            context.load_cert_chain(known.certificate, known.key)
            client = support.Client(stack.address())
            client.socket = context.wrap_socket(client.socket, server_hostname="127.0.0.1")
            client.send("api_call", records("a", 3), "one")
            client.close()
            self.assertEqual(stack.usage("events", "a"), "3")

    def test_what_cannot_be_is_said_at_start(self):
        with support.Stack() as stack:
            pair = support.certificate_make(stack.folder, "server")
            os.chmod(pair.key, 0o644)
            none = os.path.join(stack.folder, "none")
            both = ["--tls-cert", pair.certificate, "--tls-key", pair.key]
            for arguments, code, reason in (
                    (both[:2], 2, "give both"),
                    (both[2:], 2, "give both"),
                    (["--tls-client-ca", none], 2, "--tls-client-ca needs"),
                    ([*both, "--tcp", "none"], 2, "--tls-cert is for --tcp"),
                    (both, 2, "mode is 0644"),
                    (["--tls-cert", none, "--tls-key", pair.key], 1, none)):
                done = stack.run(
                    "tallyd", "--tcp", "127.0.0.1:0", "--metrics", "none", *arguments, code=code)
                self.assertIn(reason, done.stderr)


if __name__ == "__main__":
    if not shutil.which("openssl"):
        support.skip("openssl is not installed")
    unittest.main(verbosity=2)
