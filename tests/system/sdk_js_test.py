"""client/js against a real tallyd, and what only JavaScript has."""

import os
import shutil
import subprocess
import unittest

import sdk_cases
import sdk_secure_cases
import support

PACKAGE = os.path.join(sdk_cases.CLIENTS, "js")


class JavaScript(sdk_cases.Cases, sdk_secure_cases.SecureCases, unittest.TestCase):
    COMMAND = ["node", os.path.join(sdk_cases.HERE, "sdk", "driver.mjs"),
               os.path.join(PACKAGE, "index.js")]

    def node(self, name, source):
        """Runs a program in a folder that has the package installed; returns what it printed."""
        modules = os.path.join(self.folder, "node_modules")
        if not os.path.isdir(modules):
            os.mkdir(modules)
            os.symlink(PACKAGE, os.path.join(modules, "tally-client"))
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(source)
        done = subprocess.run(
            ["node", path], text=True, capture_output=True, timeout=30, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout.strip()

    def test_is_a_package_for_require_and_import(self):
        use = """
            new Client({ server: 'unix:/nowhere' }).close().then(() => console.log(uuid7().length));
        """
        self.assertEqual(
            self.node("a.cjs", f"const {{ Client, uuid7 }} = require('tally-client');{use}"), "36")
        self.assertEqual(
            self.node("a.mjs", f"import {{ Client, uuid7 }} from 'tally-client';{use}"), "36")

    def test_an_idle_client_does_not_keep_the_process(self):
        server = self.server()
        printed = self.node("idle.mjs", f"""
            import {{ Client }} from 'tally-client';
            const tally = new Client({{ server: {server.tcp()!r} }});
            tally.send({{ subject: 'acme', type: 'api_call' }});
            process.on('exit', () => console.log(tally.stats.eventsAcked));""")
        self.assertEqual(printed, "1")
        self.assertEqual(server.usage("events", "acme"), "1")


if __name__ == "__main__":
    if not shutil.which("node"):
        support.skip("node is not installed")
    version = subprocess.run(
        ["node", "--version"], text=True, capture_output=True, check=True).stdout
    if int(version.lstrip("v").split(".")[0]) < 18:
        support.skip(f"node {version.strip()} is older than 18")
    unittest.main(verbosity=2)
