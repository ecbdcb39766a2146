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
            self.check(json.loads(done.stdout))
            api.close()

    def check(self, seen):
        made = seen["made"]
        self.assertEqual((made["slug"], made["aggregation"], made["name"], made["metadata"]),
                         ("sdk_time", "SUM", "SDK time", {"team": "sdk"}))
        self.assertEqual((seen["one"], seen["many"], seen["again"]),
                         ("nothing", "nothing", ["nothing"] * 2))
        self.assertEqual((seen["changed"]["description"], seen["changed"]["id"]),
                         ("changed", made["id"]))
        self.assertEqual((seen["listed"], seen["got"]), (["sdk_time"], True))
        self.check_people(seen)
        self.check_usage(seen)
        self.check_errors(seen["errors"])
        self.assertEqual(seen["removed"], ["nothing"] * 3)
        self.assertEqual(seen["left"], [0, 0, ["customer-2"]])

    def check_people(self, seen):
        self.assertEqual(seen["subjects"],
                         [["customer-1", "One", {"plan": {"name": "x"}}],
                          ["customer-2", None, None]])
        self.assertEqual((seen["subjectDates"], seen["subject"], seen["subjectGot"]),
                         (True, "Two", "Two"))
        self.assertEqual(seen["subjectsListed"], ["customer-1", "customer-2"])
        self.assertEqual(seen["customer"], {
            "id": "sdk", "key": "sdk", "name": "SDK Ltd", "primaryEmail": "sdk@example.com",
            "currency": "USD", "metadata": {"a": "b"}, "createdAt": True,
            "billingAddress": {"country": "AT", "city": "Wien"},
            "usageAttribution": {"subjectKeys": ["customer-1", "customer-2"]}})
        self.assertEqual((seen["customerGot"], seen["customerUpdated"]), ("SDK Ltd", "SDK GmbH"))
        self.assertEqual(seen["customersListed"], [1, 1, 10, ["sdk"]])

    def check_usage(self, seen):
        self.assertTrue(seen["isDate"])
        self.assertEqual(seen["sums"], {"GET": 42.5, "POST": 32.5})
        self.assertEqual((seen["filtered"], seen["posted"], seen["advanced"]),
                         ([42.5], [32.5], [33.5]))
        self.assertEqual(seen["ofCustomer"], [["sdk", 76, None]])
        self.assertEqual(seen["progress"], [1, 0, 1, True])
        self.assertEqual(seen["values"], ["GET", "POST", "PUT"])
        self.assertEqual(sorted(seen["events"]), [
            ["GET", "@openmeter/sdk", True, True, "sdk"],
            ["GET", "@openmeter/sdk", True, True, "sdk"],
            ["POST", "@openmeter/sdk", True, True, "sdk"]])
        self.assertEqual((seen["eventsOfCustomer"], seen["pages"]), (4, [3, 1, "last"]))

    def check_errors(self, errors):
        for name, text in (
                ("400", "[400]: windowSize must be MINUTE, HOUR, DAY or MONTH"),
                ("event", "[400]: "), ("404", "[404]: "), ("customer", "[404]: "),
                ("409", "[409]: "), ("payer", "[409]: "), ("conflict", "[409]: "),
                ("401", "[401]: ")):
            self.assertEqual(errors[name][0], "HTTPError", (name, errors[name]))
            self.assertIn(text, errors[name][1], name)


if __name__ == "__main__":
    if not shutil.which("npm") or not shutil.which("node"):
        support.skip("npm and node are not installed")
    unittest.main(verbosity=2)
