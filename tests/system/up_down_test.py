"""`tally up`, `status` and `down`: again, after kill -9, in odd folders, and when it cannot be."""

import json
import os
import signal
import socket
import unittest

import support


def status(stack, code=0):
    return json.loads(stack.tally("status", "--format", "json", code=code))


class UpDown(unittest.TestCase):
    def gone_check(self, *pids):
        for pid in pids:
            self.assertFalse(support.process_alive(pid), f"{pid} still runs")

    def test_up_status_down_and_up_again(self):
        with support.Stack() as stack:
            self.assertIn("started", stack.up())
            first = status(stack)
            self.assertTrue(first["well"])
            self.assertTrue(first["tallyd"]["healthy"])
            self.assertGreater(first["database"]["schema_version"], 0)
            self.assertGreater(first["disk_bytes"], 0)
            mode = os.stat(os.path.join(stack.data, "database.url")).st_mode & 0o777
            self.assertEqual(mode, 0o600)
            self.assertEqual(os.stat(os.path.join(stack.data, "pg")).st_mode & 0o777, 0o700)
            text = stack.tally("status")
            self.assertIn(str(first["tallyd"]["pid"]), text)
            self.assertIn(first["tallyd"]["tcp"], text)

            self.assertIn("runs already", stack.up())
            again = status(stack)
            self.assertEqual(again["tallyd"]["pid"], first["tallyd"]["pid"])
            self.assertEqual(again["database"]["pid"], first["database"]["pid"])

            self.assertIn("stopped", stack.tally("down"))
            self.gone_check(first["tallyd"]["pid"], first["database"]["pid"])
            self.assertFalse(status(stack, code=1)["well"])
            self.assertIn("nothing runs", stack.tally("down"))

            stack.up()
            self.assertTrue(status(stack)["well"])

    def test_files_of_killed_processes_mislead_nobody(self):
        with support.Stack() as stack:
            stack.up()
            first = status(stack)
            stack.kill_tallyd()
            self.assertFalse(status(stack, code=1)["tallyd"]["running"])
            postgres = first["database"]["pid"]
            os.kill(postgres, signal.SIGKILL)
            support.wait_for("PostgreSQL's end", lambda: not support.process_alive(postgres))
            self.assertFalse(status(stack, code=1)["database"]["running"])
            # A process that lives, but is no tallyd: nobody signals it.
            path = os.path.join(stack.data, "tallyd.json")
            with open(path, encoding="utf-8") as file:
                facts = json.load(file)
            facts["pid"] = os.getpid()
            with open(path, "w", encoding="utf-8") as file:
                json.dump(facts, file)
            self.assertFalse(status(stack, code=1)["tallyd"]["running"])
            self.assertIn("nothing runs", stack.tally("down"))
            stack.up()
            self.assertTrue(status(stack)["well"])

    def test_one_half_that_runs_is_completed(self):
        with support.Stack() as stack:
            stack.up()
            first = status(stack)
            stack.kill_tallyd()
            said = stack.up()
            self.assertIn("PostgreSQL  runs already", said)
            self.assertIn("tallyd      started", said)
            self.assertEqual(status(stack)["database"]["pid"], first["database"]["pid"])

    def test_a_path_with_spaces_and_signs(self):
        with support.Stack("a data & 100% 'odd' folder") as stack:
            stack.up()
            self.assertTrue(status(stack)["well"])
            stack.tally("catalog", "apply", support.CATALOG)
            pids = status(stack)["tallyd"]["pid"], status(stack)["database"]["pid"]
            stack.tally("down")
            self.gone_check(*pids)

    def test_a_socket_path_that_is_too_long_names_pg_dir(self):
        with support.Stack("d" * 90) as stack:
            done = stack.run("tally", "up", "--tcp", "127.0.0.1:0", code=1)
            self.assertIn("--pg-dir", done.stderr)
            self.assertIn("107", done.stderr)
            pg_dir = os.path.join(stack.folder, "pg")
            sock = os.path.join(stack.folder, "t.sock")
            stack.up("--pg-dir", pg_dir, "--unix", sock)
            self.assertTrue(status(stack)["well"])
            stack.tally("down")
            # The place is remembered, and another one is refused.
            stack.up("--unix", sock)
            self.assertTrue(os.path.exists(os.path.join(pg_dir, "PG_VERSION")))
            stack.tally("down")
            done = stack.run("tally", "up", "--pg-dir", stack.folder + "/other", code=1)
            self.assertIn("already", done.stderr)

    @unittest.skipUnless(os.geteuid() == 0, "only root starts PostgreSQL as another user")
    def test_a_folder_that_postgres_cannot_enter_names_pg_dir(self):
        with support.Stack("closed/data") as stack:
            os.mkdir(os.path.dirname(stack.data), 0o700)
            done = stack.run("tally", "up", "--tcp", "127.0.0.1:0", code=1)
            self.assertIn("--pg-dir", done.stderr)
            self.assertIn("postgres", done.stderr)

    def test_a_tallyd_that_cannot_start_leaves_nothing_behind(self):
        with support.Stack() as stack, socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            done = stack.run("tally", "up", "--tcp", f"127.0.0.1:{port}", "--metrics",
                             "127.0.0.1:0", code=1)
            self.assertIn(str(port), done.stderr)
            found = status(stack, code=1)
            self.assertFalse(found["tallyd"]["running"] or found["database"]["running"])

    def test_shards_are_fixed_and_options_reach_tallyd(self):
        with support.Stack() as stack:
            stack.up("--shards", "3", "--", "--log-format", "json")
            self.assertEqual(stack.tallyd()["shards"], 3)
            with open(os.path.join(stack.data, "log", "tallyd.log"), encoding="utf-8") as file:
                self.assertTrue(json.loads(file.readline()))
            stack.tally("down")
            done = stack.run("tally", "up", "--shards", "2", "--tcp", "127.0.0.1:0", code=1)
            self.assertIn("shard", done.stderr)

    def test_a_database_of_somebody_else_is_used_and_left_alone(self):
        with support.Stack() as theirs, support.Stack() as ours:
            theirs.up()
            with open(os.path.join(theirs.data, "database.url"), encoding="utf-8") as file:
                ours.env["DATABASE_URL"] = file.readline().strip()
            self.assertIn("not ours to start", ours.up())
            found = status(ours)
            self.assertTrue(found["well"] and found["database"]["external"])
            self.assertFalse(os.path.exists(os.path.join(ours.data, "pg")))
            self.assertFalse(os.path.exists(os.path.join(ours.data, "database.url")))
            ours.tally("down")
            self.assertTrue(status(theirs)["well"])
            theirs.tally("down")
            self.assertIn("database", ours.run(
                "tally", "up", "--tcp", "127.0.0.1:0", "--metrics", "127.0.0.1:0", code=1).stderr)

    def test_wrong_command_lines(self):
        with support.Stack() as stack:
            self.assertIn("import", stack.run("tally", "improt", code=2).stderr)
            self.assertIn("--data", stack.run("tally", "up", "--dta", "x", code=2).stderr)
            stack.run("tally", code=2)
            self.assertIn("tally up", stack.run("tally", "help", "up").stdout)
            self.assertIn("status", stack.run("tally", "help").stdout)
            self.assertRegex(stack.run("tally", "--version").stdout, r"^tally \d")
            stack.run("tally", "up", "--data", "/nowhere/there/data", code=1)
            stack.run("tally", "down", "--data", stack.folder + "/none", code=0)
            stack.run("tally", "status", "--data", stack.folder + "/none", code=1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
