"""client/python against a real tallyd, and what only Python has."""

import os
import subprocess
import sys
import unittest

import sdk_cases
import sdk_secure_cases
import support

PACKAGE = os.path.join(sdk_cases.CLIENTS, "python")


class Python(sdk_cases.Cases, sdk_secure_cases.SecureCases, unittest.TestCase):
    COMMAND = [sys.executable, os.path.join(sdk_cases.HERE, "sdk", "driver.py"), PACKAGE]

    def python(self, source):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", source], text=True, capture_output=True,
            timeout=30, check=False,
            env=support.environment(PYTHONPATH=PACKAGE, PYTHONDONTWRITEBYTECODE="1"))
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout.strip()

    def test_a_with_block_flushes(self):
        server = self.server()
        self.python(f"""
import decimal, tally_client
with tally_client.Client("unix:{server.unix()}", batch_age=60) as tally:
    tally.send("acme", "api_call", decimal.Decimal("0.25"))
    tally.send("acme", "api_call", "0.5", properties={{"price": decimal.Decimal("1.10")}})
""")
        self.assertEqual(server.usage("calls", "acme"), "0.75")

    def test_the_end_of_the_program_flushes(self):
        server = self.server()
        self.python(f"""
import tally_client
tally_client.Client("{server.tcp()}", batch_age=60).send("acme", "api_call")
""")
        self.assertEqual(server.usage("events", "acme"), "1")

    def test_a_forked_child_is_told_to_open_its_own(self):
        server = self.server()
        self.assertEqual(self.python(f"""
import os, sys, tally_client
tally = tally_client.Client("{server.tcp()}")
tally.send("acme", "api_call")
child = os.fork()
if child == 0:
    try:
        tally.send("acme", "api_call")
    except tally_client.ClosedError:
        print("told")
    sys.exit()
os.waitpid(child, 0)
"""), "told")
        self.assertEqual(server.usage("events", "acme"), "1")

    def test_a_failing_callback_does_not_stop_the_client(self):
        server = self.server()
        self.assertEqual(self.python(f"""
import logging, tally_client
logging.disable()
def fail(refusal):
    raise KeyError(refusal)
with tally_client.Client("{server.tcp()}", on_refusal=fail) as tally:
    tally.send("acme", "api_call", time=1)
    tally.flush()
    tally.send("acme", "api_call")
    tally.flush()
    print(tally.stats["events_acked"], tally.stats["connects"])
"""), "2 1")

    def test_threads_share_a_client(self):
        server = self.server()
        self.python(f"""
import threading, tally_client
with tally_client.Client("{server.tcp()}", buffer_bytes=2**17) as tally:
    def work():
        for _ in range(1000):
            tally.send("acme", "api_call", timeout=30)
    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    tally.flush()
""")
        self.assertEqual(server.usage("events", "acme"), "8000")


if __name__ == "__main__":
    unittest.main(verbosity=2)
