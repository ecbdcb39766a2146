"""client/go against a real tallyd, and what only Go has."""

import os
import shutil
import subprocess
import tempfile
import unittest

import sdk_cases
import support

PACKAGE = os.path.join(sdk_cases.CLIENTS, "go")


def go(*arguments, cwd):
    """The go command without the network. Its cache is the user's, where there is one."""
    env = support.environment(GOPROXY="off", GOFLAGS="", GOWORK="off")
    if "HOME" not in env and "GOCACHE" not in env:
        env["GOCACHE"] = os.path.join(tempfile.gettempdir(), f"tally-go-{os.getuid()}")
    done = subprocess.run(
        ["go", *arguments], cwd=cwd, env=env, text=True, capture_output=True, timeout=150,
        check=False)
    assert done.returncode == 0, f"go {arguments}: {done.stdout}{done.stderr}"
    return done.stdout


class Go(sdk_cases.Cases, unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.built = tempfile.mkdtemp(prefix="tally-sdk-")
        cls.addClassCleanup(shutil.rmtree, cls.built, ignore_errors=True)
        cls.COMMAND = [os.path.join(cls.built, "driver")]
        go("build", "-o", cls.COMMAND[0], ".", cwd=os.path.join(sdk_cases.HERE, "sdk", "go"))

    def test_passes_vet_and_gofmt(self):
        go("vet", "./...", cwd=PACKAGE)
        done = subprocess.run(["gofmt", "-l", PACKAGE], text=True, capture_output=True, check=True)
        self.assertEqual(done.stdout, "")

    def test_needs_the_standard_library_only(self):
        form = "{{if not .Standard}}{{.ImportPath}}{{end}}"
        named = go("list", "-deps", "-f", form, ".", cwd=PACKAGE)
        self.assertEqual(named.split(), ["tally"])


if __name__ == "__main__":
    if not shutil.which("go"):
        support.skip("go is not installed (Debian: golang-go)")
    unittest.main(verbosity=2)
