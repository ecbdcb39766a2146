"""A Fluent client that nobody here wrote: npm's @fluent-org/logger, with acks."""

import os
import shutil
import subprocess
import unittest

import support

COUNT = 10000
HERE = os.path.dirname(os.path.abspath(__file__))


def packages_install(folder):
    """npm ci into a folder of the build; False when npm cannot get at its registry."""
    for name in ("package.json", "package-lock.json", "send.mjs"):
        shutil.copy(os.path.join(HERE, "fluent", name), folder)
    done = subprocess.run(
        ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=folder, timeout=100,
        text=True, capture_output=True, check=False)
    print(done.stdout + done.stderr)
    return done.returncode == 0


def secret_write(stack, name, text):
    """A file that only its owner can read."""
    path = os.path.join(stack.folder, name)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    return path


class Fluent(unittest.TestCase):
    def stack_up(self, stack, *arguments):
        """Starts everything; returns the folder of the client."""
        folder = os.path.join(stack.folder, "node")
        os.mkdir(folder)
        if not packages_install(folder):
            support.skip("npm could not install @fluent-org/logger")
        stack.up(*arguments)
        stack.tally("meter", "add", "calls", "--event-type", "api_call", "--aggregation", "sum")
        stack.tally("meter", "add", "events", "--event-type", "api_call", "--aggregation", "count")
        return folder

    def send(self, stack, folder, count, code=0, **extra):
        """Runs the client to its end, which must have this exit code; returns what it printed."""
        host, port = stack.address()
        done = subprocess.run(
            ["node", "send.mjs", host, str(port), str(count)], cwd=folder, timeout=90,
            env=support.environment(**extra), text=True, capture_output=True, check=False)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return (done.stdout + done.stderr).strip()

    def test_every_acked_event_counts_once(self):
        with support.Stack() as stack:
            folder = self.stack_up(stack)
            for _ in range(2):  # the second time all are duplicates
                total = self.send(stack, folder, COUNT)
                self.assertEqual(stack.usage("events", "fluent"), str(COUNT))
                self.assertEqual(stack.usage("calls", "fluent"), total)

    def test_shared_key_and_users(self):
        with support.Stack() as stack:
            key = secret_write(stack, "key", "a shared key\n")
            users = secret_write(stack, "users", "acme = correct-horse\n")
            folder = self.stack_up(stack, "--", "--shared-key-file", key, "--users", users)
            right = {"SHARED_KEY": "a shared key", "FLUENT_USER": "acme",
                     "FLUENT_PASSWORD": "correct-horse"}
            for wrong, reason in (
                    ({"SHARED_KEY": "another"}, "shared key mismatch"),
                    ({"FLUENT_USER": "nobody"}, "username or password mismatch"),
                    ({"FLUENT_PASSWORD": "battery"}, "username or password mismatch")):
                said = self.send(stack, folder, 10, code=3, **{**right, **wrong})
                self.assertIn(reason, said)
            self.assertEqual(stack.usage("events", "fluent"), "0")
            total = self.send(stack, folder, 1000, **right)
            self.assertEqual(stack.usage("events", "fluent"), "1000")
            self.assertEqual(stack.usage("calls", "fluent"), total)
            self.assertEqual(stack.metric("tally_ingest_handshakes_total"), 4)

    def test_tls_with_a_shared_key(self):
        with support.Stack() as stack:
            key = secret_write(stack, "key", "a shared key\n")
            pair = support.certificate_make(stack.folder, "server")
            other = support.certificate_make(stack.folder, "other")
            folder = self.stack_up(
                stack, "--", "--shared-key-file", key, "--tls-cert", pair.certificate,
                "--tls-key", pair.key)
            right = {"SHARED_KEY": "a shared key", "TLS_CA": pair.certificate}
            said = self.send(stack, folder, 10, code=3, **{**right, "TLS_CA": other.certificate})
            self.assertIn("certificate", said)
            said = self.send(stack, folder, 10, code=3, **{**right, "SHARED_KEY": "another"})
            self.assertIn("shared key mismatch", said)
            self.assertEqual(stack.usage("events", "fluent"), "0")
            for _ in range(2):
                total = self.send(stack, folder, COUNT, **right)
                self.assertEqual(stack.usage("events", "fluent"), str(COUNT))
                self.assertEqual(stack.usage("calls", "fluent"), total)
            self.assertEqual(stack.metric("tally_ingest_handshakes_total"), 8)
            self.assertGreaterEqual(stack.metric("tally_ingest_tls_handshakes_total"), 9)


if __name__ == "__main__":
    if not shutil.which("npm") or not shutil.which("node"):
        support.skip("npm and node are not installed")
    unittest.main(verbosity=2)
