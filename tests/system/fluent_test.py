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


class Fluent(unittest.TestCase):
    def test_every_acked_event_counts_once(self):
        with support.Stack() as stack:
            folder = os.path.join(stack.folder, "node")
            os.mkdir(folder)
            if not packages_install(folder):
                support.skip("npm could not install @fluent-org/logger")
            stack.up()
            stack.tally("meter", "add", "calls", "--event-type", "api_call", "--aggregation", "sum")
            stack.tally("meter", "add", "events", "--event-type", "api_call",
                        "--aggregation", "count")
            host, port = stack.address()
            for _ in range(2):  # the second time all are duplicates
                done = subprocess.run(
                    ["node", "send.mjs", host, str(port), str(COUNT)], cwd=folder, timeout=90,
                    text=True, capture_output=True, check=False)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
                self.assertEqual(stack.usage("events", "fluent"), str(COUNT))
                self.assertEqual(stack.usage("calls", "fluent"), done.stdout.strip())


if __name__ == "__main__":
    if not shutil.which("npm") or not shutil.which("node"):
        support.skip("npm and node are not installed")
    unittest.main(verbosity=2)
