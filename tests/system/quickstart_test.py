"""tools/quickstart with the programs that are built already, twice, in a private folder."""

import datetime
import os
import re
import subprocess
import unittest

import support

QUICKSTART = os.path.join(support.SOURCE_DIR, "tools", "quickstart")


class Quickstart(unittest.TestCase):
    def quickstart(self, stack, *arguments, code=0):
        env = dict(stack.env, QUICKSTART_BIN=support.BIN_DIR)
        done = subprocess.run([QUICKSTART, *arguments], env=env, cwd=stack.folder, timeout=100,
                              text=True, capture_output=True, check=False)
        said = done.stdout + done.stderr
        self.assertEqual(done.returncode, code, said)
        self.assertNotRegex(said, support.SANITIZER)
        return said

    def generated_totals(self, month):
        """What each generated customer has to pay, from the generator's file, in cents."""
        totals = {}
        for customer, requests, context, generated in (
                ("acme", 3000, 1200, 200), ("globex", 1500, 4000, 60), ("initech", 400, 500, 900)):
            text = subprocess.run(
                [os.path.join(support.SOURCE_DIR, "examples", "llm", "generate"), customer, month,
                 str(requests), str(context), str(generated)],
                text=True, capture_output=True, check=True).stdout
            rows = [line.split(",") for line in text.splitlines()[1:]]
            # Millionths of a cent, rounded half up per line.
            lines = [sum(int(row[1]) for row in rows) * 250,
                     sum(int(row[2]) for row in rows) * 1000]
            totals[customer] = sum((line + 500000) // 1000000 for line in lines)
        return totals

    def test_from_nothing_to_invoices_and_again(self):
        today = datetime.datetime.now(datetime.timezone.utc).date()
        month = (today.replace(day=1) - datetime.timedelta(days=1)).strftime("%Y-%m")
        with support.Stack() as stack:
            first = self.quickstart(stack)
            for customer, cents in self.generated_totals(month).items():
                self.assertRegex(first, rf"(?m)^.*{customer}")
                self.assertRegex(first, rf"{cents // 100}\.{cents % 100:02} USD")
            self.assertIn("tally down", first)
            stack.tally("status")
            rows = stack.sql("SELECT id, number, total_minor FROM invoices ORDER BY id")
            self.assertEqual(len(rows), 3)
            again = self.quickstart(stack)
            for _, number, _ in rows:
                self.assertIn(number, again, "the second run shows the same invoices")
            self.assertEqual(
                stack.sql("SELECT id, number, total_minor FROM invoices ORDER BY id"), rows)

    def test_a_file_of_ones_own(self):
        with support.Stack() as stack:
            path = os.path.join(stack.folder, "mine.csv")
            with open(path, "w", encoding="utf-8") as file:
                file.write("TIMESTAMP,ContextTokens,GeneratedTokens\n"
                           "2024-02-29 10:00:00.0000000,4000000,0\n"
                           "2024-03-01 10:00:00.0000000,0,250000")
            said = self.quickstart(stack, path, "--subject", "me")
            self.assertRegex(said, r"10\.00 USD")
            self.assertRegex(said, r"2\.50 USD")
            rows = stack.sql("SELECT total_minor FROM invoices WHERE customer_id = 'me' "
                             "AND total_minor > 0 ORDER BY period_start")
            self.assertEqual(rows, [["1000"], ["250"]])

    def test_wrong_command_lines(self):
        with support.Stack() as stack:
            self.assertTrue(re.search("(?i)usage", self.quickstart(stack, "--help")))
            self.quickstart(stack, "--nonsense", code=2)
            self.assertIn("none.csv", self.quickstart(stack, "none.csv", code=1))
            path = os.path.join(stack.folder, "other.csv")
            with open(path, "w", encoding="utf-8") as file:
                file.write("a,b\n1,2\n")
            self.assertIn("tally import", self.quickstart(stack, path, code=1))


if __name__ == "__main__":
    unittest.main(verbosity=2)
