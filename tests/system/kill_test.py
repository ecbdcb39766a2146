"""kill -9 at random points: of tallyd during an import, of tally-billing during a run.

The points come from a generator whose seed is printed and can be set with TALLY_SEED, so that a
failure can be looked at again.
"""

import calendar
import datetime
import json
import os
import random
import signal
import subprocess
import time
import unittest

import support

SEED = int(os.environ.get("TALLY_SEED", "20260705"))
IMPORT_ROWS = 120000
IMPORT_SUBJECTS = 7
IMPORT_KILLS = 4
CUSTOMERS = 120
BILLING_KILLS = 12


def last_month():
    """The first day of the month before this one, and its days."""
    first = datetime.date.today().replace(day=1) - datetime.timedelta(days=1)
    return first.replace(day=1), calendar.monthrange(first.year, first.month)[1]


class KillTallyd(unittest.TestCase):
    def rows_write(self, stack, source):
        """A file of distinct and of equal rows; returns its path and the sums by subject."""
        path = os.path.join(stack.folder, "rows.csv")
        sums = {}
        began = time.time() - 86400
        with open(path, "w", encoding="utf-8") as file:
            file.write("subject,type,value,time\n")
            for i in range(IMPORT_ROWS):
                subject = f"subject-{source.randrange(IMPORT_SUBJECTS)}"
                value = source.randrange(1, 100)
                at = int(began) + (0 if i % 10 == 0 else i % 3600)
                file.write(f"{subject},api_call,{value},{at}\n")
                count, total = sums.get(subject, (0, 0))
                sums[subject] = (count + 1, total + value)
        return path, sums

    def kill_while(self, stack, importing, source):
        """Kills tallyd after some more events, and starts it again; False: the import was over."""
        points = IMPORT_ROWS // (IMPORT_KILLS + 2)
        wanted = source.randrange(1000, points)
        support.wait_for(
            "events, or the end of the import",
            lambda: (stack.metric("tally_ingest_events_total") >= wanted
                     or importing.poll() is not None))
        if importing.poll() is not None:
            return False
        stack.kill_tallyd()
        stack.up()
        return True

    def test_an_import_survives(self):
        source = random.Random(SEED)
        with support.Stack() as stack:
            stack.up()
            for key, aggregation in (("calls", "sum"), ("events", "count")):
                stack.tally("meter", "add", key, "--event-type", "api_call",
                            "--aggregation", aggregation)
            path, sums = self.rows_write(stack, source)
            importing = stack.start("tally", "import", path, "--report", "json")
            kills = 0
            while kills < IMPORT_KILLS and self.kill_while(stack, importing, source):
                kills += 1
            out, err = importing.communicate(timeout=100)
            print(f"seed {SEED}: killed {kills} times\n{out}{err}")
            self.assertGreaterEqual(kills, 2, "too few kills to mean something")
            self.assertEqual(importing.returncode, 0)
            report = json.loads(out)
            self.assertTrue(report["complete"])
            self.assertEqual(report["rows"], IMPORT_ROWS)
            self.assertEqual(report["stored"] + report["duplicates"], IMPORT_ROWS)
            for subject, (count, total) in sums.items():
                self.assertEqual(stack.usage("events", subject), str(count))
                self.assertEqual(stack.usage("calls", subject), str(total))
            report = json.loads(stack.tally("import", path, "--report", "json"))
            self.assertEqual((report["stored"], report["duplicates"]), (0, IMPORT_ROWS))


class KillBilling(unittest.TestCase):
    def usage_make(self, stack, month, days):
        """One row for each customer: i + 1 thousand context tokens."""
        path = os.path.join(stack.folder, "usage.ndjson")
        with open(path, "w", encoding="utf-8") as file:
            for i in range(CUSTOMERS):
                day = month.replace(day=i % days + 1)
                file.write(json.dumps({
                    "subject": f"customer-{i:04}", "type": "llm_request", "id": f"row-{i}",
                    "time": f"{day}T12:00:00Z", "context_tokens": (i + 1) * 1000,
                    "generated_tokens": 0}) + "\n")
        stack.tally("import", path, "--properties", "--backfill=kill")

    def customers_make(self, stack, month):
        for i in range(CUSTOMERS):
            name = f"customer-{i:04}"
            stack.tally("customer", "add", name, "--email", f"{name}@example.com")
            stack.tally("subscribe", name, "llm-tokens", "--from", month)

    def test_every_customer_gets_one_right_invoice(self):
        source = random.Random(SEED)
        month, days = last_month()
        with support.Stack() as stack:
            stack.up()
            stack.tally("catalog", "apply", support.CATALOG)
            self.customers_make(stack, month)
            self.usage_make(stack, month, days)
            run = ["run", "--period", f"{month:%Y-%m}", "--grace", "0s", "--chunk", "5"]
            kills = self.runs_kill(stack, run, source)
            stack.run("tally-billing", *run)
            print(f"seed {SEED}: killed {kills} times")
            self.assertGreaterEqual(kills, 2, "too few kills to mean something")
            self.invoices_check(stack)
            before = stack.sql("SELECT id, number, input FROM invoices ORDER BY id")
            stack.run("tally-billing", *run)
            after = stack.sql("SELECT id, number, input FROM invoices ORDER BY id")
            self.assertEqual(after, before)

    def runs_kill(self, stack, run, source):
        """Starts runs and kills each after a random time; returns how many were killed."""
        kills = 0
        longest = 0.4
        for _ in range(BILLING_KILLS):
            running = stack.start("tally-billing", *run)
            try:
                running.communicate(timeout=source.uniform(0.01, longest))
                longest *= 0.7  # it was done before we came
            except subprocess.TimeoutExpired:
                running.send_signal(signal.SIGKILL)
                running.communicate()
                kills += 1
        return kills

    def invoices_check(self, stack):
        rows = stack.sql("""SELECT customer_id, status, total_minor, number,
            (SELECT sum(amount_minor) FROM invoice_lines WHERE invoice_id = invoices.id)
            FROM invoices ORDER BY customer_id""")
        self.assertEqual([row[0] for row in rows],
                         [f"customer-{i:04}" for i in range(CUSTOMERS)])
        for i, (_, status, total, _, lines) in enumerate(rows):
            # (i + 1) thousand tokens at 0.0000025 dollars: a quarter of a cent a thousand, half up.
            self.assertEqual(int(total), ((i + 1) * 25 + 50) // 100)
            self.assertEqual((status, lines), ("finalized", total))
        numbers = [row[3] for row in rows]
        self.assertEqual(len(set(numbers)), CUSTOMERS, "each has a number of its own")


if __name__ == "__main__":
    unittest.main(verbosity=2)
