"""Real input: the Azure LLM traces of 2023, imported, metered, billed.

The sums were taken from the files with awk, the invoices by hand: context tokens at 0.0000025 and
generated tokens at 0.00001 dollars, each line rounded to cents.
"""

import json
import os
import shutil
import unittest

import support

TRACES = {
    "azure-conv": {"file": "azure-llm-2023-conv.csv", "rows": 19366, "context": "22361870",
                   "generated": "4088665", "lines": ["5590", "4089"], "total": "9679"},
    "azure-code": {"file": "azure-llm-2023-code.csv", "rows": 8819, "context": "18059974",
                   "generated": "245896", "lines": ["4515", "246"], "total": "4761"},
}
MAPPING = ["--type", "llm_request", "--time-column", "TIMESTAMP",
           "--property", "context_tokens=ContextTokens",
           "--property", "generated_tokens=GeneratedTokens"]
INVOICES = """SELECT id, number, customer_id, status, currency, total_minor, input, created_at
              FROM invoices ORDER BY id"""
LINES = """SELECT customer_id, charge, amount_minor FROM invoice_lines
           JOIN invoices ON invoices.id = invoice_id ORDER BY customer_id, position"""


class Azure(unittest.TestCase):
    def trace_import(self, stack, subject, path, code=0, backfill=True):
        extra = ["--backfill"] if backfill else []
        done = stack.run("tally", "import", path, "--subject", subject, *MAPPING, *extra,
                         "--report", "json", code=code)
        return json.loads(done.stdout), done.stderr

    def usage_check(self, stack):
        for subject, trace in TRACES.items():
            self.assertEqual(stack.usage("context_tokens", subject), trace["context"])
            self.assertEqual(stack.usage("generated_tokens", subject), trace["generated"])

    def setup_customers(self, stack):
        stack.up()
        stack.tally("catalog", "apply", support.CATALOG)
        for subject in TRACES:
            stack.tally("customer", "add", subject, "--email", f"{subject}@example.com")
            stack.tally("subscribe", subject, "llm-tokens", "--from", "2023-11-01")

    def test_traces_become_the_right_invoices_once(self):
        with support.Stack() as stack:
            self.setup_customers(stack)
            for subject, trace in TRACES.items():
                path = os.path.join(support.SHARED_DIR, "data", trace["file"])
                report, _ = self.trace_import(stack, subject, path)
                self.assertEqual(report["stored"], trace["rows"])
                self.assertEqual(report["rejected"] + report["duplicates"], 0)
            self.usage_check(stack)

            stack.run("tally-billing", "run", "--period", "2023-11")
            first = stack.sql(INVOICES)
            self.assertEqual([row[5] for row in first],
                             [TRACES[row[2]]["total"] for row in first])
            self.assertEqual(sorted(row[2] for row in first), sorted(TRACES))
            self.assertEqual({(row[3], row[4]) for row in first}, {("finalized", "USD")})
            lines = stack.sql(LINES)
            for subject, trace in TRACES.items():
                self.assertEqual([row[2] for row in lines if row[0] == subject], trace["lines"])

            self.again_check(stack, first)

    def again_check(self, stack, first):
        """The same files, also under another name, and the same run change nothing."""
        for subject, trace in TRACES.items():
            path = os.path.join(support.SHARED_DIR, "data", trace["file"])
            renamed = os.path.join(stack.folder, "renamed.csv")
            shutil.copyfile(path, renamed)
            for again in (path, renamed):
                report, _ = self.trace_import(stack, subject, again)
                self.assertEqual(report["duplicates"], trace["rows"])
                self.assertEqual(report["stored"] + report["rejected"] + report["conflicts"], 0)
        self.usage_check(stack)
        stack.run("tally-billing", "run", "--period", "2023-11")
        self.assertEqual(stack.sql(INVOICES), first)

    def test_old_rows_are_rejected_without_backfill(self):
        with support.Stack() as stack:
            stack.up()
            trace = TRACES["azure-code"]
            path = os.path.join(support.SHARED_DIR, "data", trace["file"])
            report, said = self.trace_import(stack, "azure-code", path, code=1, backfill=False)
            self.assertEqual(report["stored"], 0)
            self.assertEqual(report["rejected"], trace["rows"])
            self.assertEqual([reason["count"] for reason in report["reasons"]], [trace["rows"]])
            self.assertIn("too old", report["reasons"][0]["reason"])
            self.assertIn(f"{path}:2: ", said)
            text = stack.run("tally", "import", path, "--subject", "azure-code", *MAPPING, code=1)
            self.assertIn("--backfill", text.stdout)


if __name__ == "__main__":
    if not os.path.isdir(os.path.join(support.SHARED_DIR, "data")):
        support.skip("the traces are not here; TALLY_SHARED names the folder above data/")
    unittest.main(verbosity=2)
