"""OpenMeter's own client against us: npm's @openmeter/sdk, unmodified."""

import json
import os
import shutil
import subprocess
import unittest

import api_client
import support

HERE = os.path.dirname(os.path.abspath(__file__))


def packages_install(folder):
    """npm ci into a folder of the test; False when npm cannot get at its registry."""
    shutil.copytree(os.path.join(HERE, "openmeter"), folder)
    done = subprocess.run(
        ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=folder, timeout=100,
        text=True, capture_output=True, check=False)
    print(done.stdout + done.stderr)
    return done.returncode == 0


class Sdk(unittest.TestCase):
    def test_every_call_that_openmeters_own_tests_make(self):
        with support.Stack() as stack:
            folder = os.path.join(stack.folder, "node")
            if not packages_install(folder):
                support.skip("npm could not install @openmeter/sdk")
            api = api_client.start(stack)
            done = subprocess.run(
                ["node", "calls.mjs", f"http://{api.address}", api.keys["admin"]], cwd=folder,
                timeout=100, text=True, capture_output=True, check=False)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            seen = json.loads(done.stdout)
            self.assertEqual(seen["made"]["slug"], "sdk_time")
            self.assertEqual(seen["made"]["aggregation"], "SUM")
            self.assertEqual((seen["one"], seen["many"], seen["removed"]), ("nothing",) * 3)
            self.assertEqual((seen["listed"], seen["left"]), (["sdk_time"], 0))
            self.assertTrue(seen["got"] and seen["isDate"])
            self.assertEqual(seen["sums"], {"GET": 42.5, "POST": 32.5})
            self.assertEqual((seen["filtered"], seen["posted"]), ([42.5], [32.5]))
            self.assertEqual(seen["values"], ["GET", "POST"])
            self.assertEqual(sorted(seen["events"]), [
                ["GET", "@openmeter/sdk", True, True], ["GET", "@openmeter/sdk", True, True],
                ["POST", "@openmeter/sdk", True, True]])
            name, message = seen["error"]
            self.assertEqual(name, "HTTPError")
            self.assertIn("[400]: windowSize must be MINUTE, HOUR, DAY or MONTH", message)
            api.close()


if __name__ == "__main__":
    if not shutil.which("npm") or not shutil.which("node"):
        support.skip("npm and node are not installed")
    unittest.main(verbosity=2)
