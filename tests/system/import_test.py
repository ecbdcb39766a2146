"""`tally import` against a real tallyd: mapping, refusals, identities."""

import json
import os
import time
import unittest

import support


def now(offset=0):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 3600 + offset))


class Import(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = support.Stack()
        cls.stack.up()
        cls.stack.tally("meter", "add", "calls", "--event-type", "api_call",
                        "--aggregation", "sum", "--dimension", "region=$.region")

    @classmethod
    def tearDownClass(cls):
        cls.stack.__exit__(None, None, None)

    def write(self, name, text):
        path = os.path.join(self.stack.folder, name)
        with open(path, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        return path

    def import_report(self, *arguments, code=0, stdin=None):
        done = self.stack.run("tally", "import", *arguments, "--report", "json", code=code,
                              stdin=stdin)
        return json.loads(done.stdout), done.stderr

    def test_equal_rows_count_each_and_files_count_once(self):
        row = f"twins,api_call,2,{now()}\n"
        path = self.write("twins.csv", "subject,type,value,time\n" + row * 3)
        report, _ = self.import_report(path)
        self.assertEqual((report["stored"], report["duplicates"]), (3, 0))
        self.assertEqual(self.stack.usage("calls", "twins"), "6")
        again = self.write("other.csv", "subject,type,value,time\n" + row * 4)
        report, _ = self.import_report(again)
        self.assertEqual((report["stored"], report["duplicates"]), (1, 3))
        self.assertEqual(self.stack.usage("calls", "twins"), "8")

    def test_columns_in_another_order_are_the_same_rows(self):
        at = now()
        self.import_report("-", stdin=f"subject,type,value,time\norder,api_call,2,{at}\n")
        report, _ = self.import_report(
            "-", "--format", "ndjson",
            stdin=json.dumps({"time": at, "value": 2.0, "type": "api_call", "subject": "order"}))
        self.assertEqual((report["stored"], report["duplicates"]), (0, 1))

    def test_ndjson_keeps_digits_and_nested_objects(self):
        big = "9007199254740993.000000000000000001"
        text = (f'{{"subject":"digits","type":"api_call","value":{big},"time":"{now()}",'
                '"region":"eu","more":{"a":[1,2.5,null]}}\n')
        report, _ = self.import_report(self.write("digits.ndjson", text), "--properties")
        self.assertEqual(report["stored"], 1)
        self.assertEqual(self.stack.usage("calls", "digits"), big)

    def test_refused_rows_are_counted_and_named(self):
        path = self.write("bad.csv", (
            "subject,type,value,time\n"
            f"bad,api_call,1,{now()}\n"
            f",api_call,1,{now()}\n"
            f"bad,api_call,many,{now()}\n"
            "bad,api_call,1,yesterday\n"
            "bad,api_call\n"
            f"bad,api_call,1,{now(86400 * 30)}\n"
            f'bad,"api_call,1,{now()}\n'))
        rejects = os.path.join(self.stack.folder, "rejects.ndjson")
        report, said = self.import_report(path, "--rejects", rejects, code=1)
        self.assertEqual((report["rows"], report["stored"], report["rejected"]), (7, 1, 6))
        self.assertTrue(report["complete"])
        for line, reason in ((3, "no subject"), (4, "not a number"), (5, "not a time"),
                             (6, "number of fields"), (7, "too far ahead"), (8, "not closed")):
            self.assertRegex(said, rf"(?m)^{path}:{line}: .*{reason}")
        with open(rejects, encoding="utf-8") as file:
            listed = [json.loads(line) for line in file]
        self.assertEqual(sorted(row["line"] for row in listed), [3, 4, 5, 6, 7, 8])
        self.import_report(path, "--allow-rejects", code=0)

    def test_an_id_column_decides_and_conflicts_are_told(self):
        header = "subject,type,value,time,key\n"
        at = now()
        first = self.write("ids.csv", header + f"ids,api_call,1,{at},a\nids,api_call,1,{at},b\n")
        report, _ = self.import_report(first, "--id-column", "key")
        self.assertEqual(report["stored"], 2)
        other = self.write("ids2.csv", header + f"ids,api_call,1,{at},a\nids,api_call,5,{at},b\n")
        report, said = self.import_report(other, "--id-column", "key", code=1)
        self.assertEqual((report["duplicates"], report["conflicts"]), (1, 1))
        self.assertRegex(said, rf"(?m)^{other}:3: ")
        self.assertEqual(self.stack.usage("calls", "ids"), "2")

    def test_a_dry_run_stores_nothing(self):
        path = self.write("dry.csv", f"subject,type,time\ndry,api_call,{now()}\n")
        report, _ = self.import_report(path, "--dry-run")
        self.assertEqual((report["rows"], report["sent"], report["stored"]), (1, 1, 0))
        self.assertEqual(self.stack.usage("calls", "dry"), "0")

    def test_a_limit_stops_early(self):
        path = self.write("limit.csv", "subject,type,time\n" + "".join(
            f"limit,api_call,{now(i)}\n" for i in range(50)))
        report, _ = self.import_report(path, "--limit", "7")
        self.assertEqual((report["rows"], report["stored"]), (7, 7))

    def test_wrong_command_lines_are_usage_errors(self):
        path = self.write("usage.csv", "a,b\n1,2\n")
        for arguments in ([], [path, "--format", "xml"], [path, "--delimiter", "ab"],
                          [path, "--property", "id=a"], [path, "--report", "xml"],
                          [path, "--subject", "s", "--subject-column", "a"], [path, "--nonsense"]):
            self.stack.run("tally", "import", *arguments, code=2)
        done = self.stack.run("tally", "import", path, "--type", "t", code=1)
        self.assertIn("--subject", done.stderr)
        done = self.stack.run("tally", "import", os.path.join(self.stack.folder, "none.csv"),
                              "--type", "t", code=1)
        self.assertIn("none.csv", done.stderr)

    def test_a_server_that_is_not_there_is_named(self):
        path = self.write("away.csv", f"subject,type,time\naway,api_call,{now()}\n")
        done = self.stack.run("tally", "import", path, "--server",
                              f"unix:{self.stack.folder}/none.sock", "--timeout", "1s", code=1)
        self.assertIn("none.sock", done.stderr)
        done = self.stack.run("tally", "import", path, "--data", self.stack.folder, code=1)
        self.assertIn("tally up", done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
