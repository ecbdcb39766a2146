"""docs/http.md, command by command: what it shows is what comes.

In the page's blocks of ```console a line that begins with "$ " is a command, which goes on while a
quote is open or a line ends with a backslash or a pipe; what follows it is its answer. There
"..." stands for anything, ids of requests, keys, corrections and meters for any of their kind, and
line ends that only make an answer readable do not count. All of it runs in one shell. The clock of
all programs stands still at noon of the page's day, so times are as shown. What only asks is asked
again until it is answered as shown, for tallyd learns of a threshold within a second.
"""

import contextlib
import os
import re
import shutil
import struct
import subprocess
import unittest

import api_client
import support

PAGE = os.path.join(support.SOURCE_DIR, "docs", "http.md")
ADDRESS = "127.0.0.1:3000"
NOON = 1795348800  # 2026-11-22T12:00:00Z
END = "--- end of this answer ---"

# What differs from run to run: as the page shows it, and what may stand there.
KINDS = (
    (r"urn:request:[0-9a-f]+-\d+", r"urn:request:[0-9a-f]+-\d+"),
    (r"(?<![0-9a-f])[0-9a-f]{12}(?![0-9a-f])", r"[0-9a-f]{12}"),
    (r'"id":"01[0-9A-Z]{24}"', r'"id":"[0-9A-Z]{26}"'),
    (r'"id":"\d+-\d+-\d+"', r'"id":"\d+-\d+-\d+"'),
    (r'"shard":\d+,"sequence":\d+', r'"shard":\d+,"sequence":\d+'),
    (r"\.\.\.", r".*?"),
)


def blocks(text):
    """The lines of each block of ```console."""
    return [block.splitlines() for block in re.findall(r"^```console\n(.*?)^```$", text,
                                                       re.MULTILINE | re.DOTALL)]


def is_open(command):
    """Whether the command goes on in the next line."""
    quotes = command.replace("\\'", "").count("'")
    return quotes % 2 == 1 or command.endswith(("\\", "|"))


def steps(lines):
    """(command, answer) of a block."""
    found = []
    for line in lines:
        if found and is_open(found[-1][0]):
            found[-1][0] += "\n" + line
        elif line.startswith("$ "):
            found.append([line[2:], ""])
        else:
            assert found, f"an answer without a command: {line}"
            found[-1][1] += line + "\n"
    return found


def pattern(shown):
    """A regular expression for what an answer may be."""
    either = "|".join(f"({kind})" for kind, _ in KINDS)
    out, at = "", 0
    shown = shown.replace("\n", "")
    for match in re.finditer(either, shown):
        out += re.escape(shown[at:match.start()])
        out += KINDS[match.lastindex - 1][1]
        at = match.end()
    return out + re.escape(shown[at:])


class Shell:
    """One bash for all commands, so that a variable stays."""

    def __init__(self, stack, address):
        path = support.BIN_DIR + os.pathsep + stack.env.get("PATH", os.defpath)
        self.address = address
        self.process = subprocess.Popen(
            ["bash", "--norc"], env={**stack.env, "PATH": path}, cwd=stack.folder, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.run("curl() { command curl --max-time 60 \"$@\"; }")

    def run(self, command):
        self.process.stdin.write(f"{command.replace(ADDRESS, self.address)}\necho; echo '{END}'\n")
        self.process.stdin.flush()
        answer = ""
        while not answer.endswith(END + "\n"):
            line = self.process.stdout.readline()
            assert line, f"the shell ended at {command}\n{answer}"
            answer += line
        return answer[:-len(END) - 1]

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self.process.stdout.close()


def is_question(command):
    """It changes nothing, so it may be asked again."""
    return not re.search(r" -d | -X | --data|create", command)


class Tour(unittest.TestCase):
    def step(self, shell, command, shown):
        expected = re.compile(pattern(shown))
        last = ""

        def look():
            nonlocal last
            last = shell.run(command).replace("\n", "")
            return expected.fullmatch(last) or not is_question(command)
        try:
            support.wait_for(command, look)
        except AssertionError:
            pass
        self.assertRegex(last, re.compile(f"^{expected.pattern}$"), f"\n$ {command}\n{shown}")

    def wait_until_seen(self, stack, api, number):
        """tallyd sees definitions in order and within a second: until it has seen one that came
        later, of the same subject."""
        stack.tally("threshold", "add", f"probe_{number}", "--meter", "probe", "--subject", "acme",
                    "--limit", "1")
        tried = 0

        def look():
            nonlocal tried
            tried += 1
            answer = api.post("/api/v1/events", {
                "id": f"probe-{number}-{tried}", "source": "tour", "specversion": "1.0",
                "type": "probe", "subject": "acme", "time": "2026-11-22T12:00:00Z"})
            self.assertEqual(answer.status, 204)
            fired = api.get("/api/v1/fired-thresholds").json["items"]
            return any(mark["threshold"] == f"probe_{number}" for mark in fired)
        support.wait_for("the threshold", look)

    def test_every_command_is_answered_as_shown(self):
        with open(PAGE, encoding="utf-8") as file:
            found = [step for block in blocks(file.read()) for step in steps(block)]
        self.assertGreater(len([command for command, _ in found if "curl" in command]), 25)
        with support.Stack() as stack, contextlib.ExitStack() as cleanup:
            clock = os.path.join(stack.folder, "clock")
            with open(clock, "wb") as file:
                file.write(struct.pack("<q", NOON * 10 ** 9))
            stack.env["TALLY_CLOCK"] = clock
            api = api_client.start(stack)
            cleanup.callback(api.close)
            shell = Shell(stack, api.address)
            cleanup.callback(shell.close)
            stack.tally("meter", "add", "probe", "--event-type", "probe", "--aggregation", "count")
            for number, (command, shown) in enumerate(found):
                self.step(shell, command, shown)
                if "/api/v1/thresholds" in command and not is_question(command):
                    self.wait_until_seen(stack, api, number)


class Reading(unittest.TestCase):
    """What the test itself would let through."""

    def test_answers_that_differ_are_not_the_same(self):
        shown = ('{"id":"0-7-0","at":"2026-11-22T12:00:00Z",...,"n":12.5,\n'
                 '"instance":"urn:request:6b606af1-2"}\n')
        good = ('{"id":"1-123-4","at":"2026-11-22T12:00:00Z","x":1,"n":12.5,'
                '"instance":"urn:request:0-1"}')
        expected = re.compile(pattern(shown))
        self.assertTrue(expected.fullmatch(good))
        for wrong in (good.replace("12.5", "12.50"), good.replace("12:00", "13:00"),
                      good.replace('"1-123-4"', '"1-123"'), good + "x", good[:-1], ""):
            self.assertFalse(expected.fullmatch(wrong), wrong)

    def test_commands_of_several_lines(self):
        self.assertEqual(steps(["$ a 'b", "c'", "d", "$ e \\", "f |", "g", "$ h"]),
                         [["a 'b\nc'", "d\n"], ["e \\\nf |\ng", ""], ["h", ""]])


if __name__ == "__main__":
    if not shutil.which("curl"):
        support.skip("curl is not installed")
    unittest.main(verbosity=2)
