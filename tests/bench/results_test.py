"""bench/results.py: medians, spreads and ratios of known lines; pictures that are well-formed and
place what they show; runs that were not quiet, which are made again and left out; and a small
real run, which goes on where it was.

    results_test.py BIN_DIR
"""

import json
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as tree

SCRIPT = os.path.join(os.environ["TALLY_SOURCE_DIR"], "bench", "results.py")
BENCH = os.path.join(sys.argv[1], "tally-bench")
SVG = "{http://www.w3.org/2000/svg}"


def results(*arguments, expected=0):
    done = subprocess.run([sys.executable, SCRIPT, *arguments], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == expected, (arguments, done.returncode, done.stderr)
    return done


def load(name, rate, cpu_ns=400.0, matches=True, offered=0, average=0.5, paused=None, runs=3):
    return {"name": name, "load_average": average, "runs": runs, "result": {
        "machine_paused_percent": paused, "machine_pause_max_us": None,
        "events_acked_per_second": rate, "ack_p50_us": 1000, "ack_p99_us": 2000 + rate / 1000,
        "ack_p999_us": 9000, "server_cpu_ns_per_event": cpu_ns, "server_anon_bytes": 3 << 20,
        "server_restart_seconds": 1.25, "usage_matches": matches, "conditions": {"rate": offered}}}


def peers(ratio):
    rest = {"ack_p99_us": 5000, "server_cpu_ns_per_event": 7000, "matches": True}
    return {"name": "peers", "load_average": 0.1, "result": {"rows": [
        {"name": "tally", "settings": "fsync", "lacks": "", "events_acked_per_second": 1000000,
         "tally_is_times_faster": 1, **rest},
        {"name": "other", "settings": "best", "lacks": "dedup",
         "events_acked_per_second": 1000000 / ratio, "tally_is_times_faster": ratio, **rest},
        {"name": "none", "settings": "", "lacks": "", "missing_package": "none-server"}]}}


LIMITS = {"name": "limits", "load_average": 0.1, "result": {
    "limits_receive_events_per_second": 8e6, "limits_memory_events_per_second": 2e6,
    "limits_lmdb_bytes_per_second": 110e6, "limits_disk_bytes_per_second": 220e6,
    "limits_disk_sync_p50_us": 80, "limits_touch_bytes_per_second": 2.2e9}}
TIMES = {"p50_us": 1000, "p99_us": 4000, "p999_us": 9000, "api_cpu_ns_each": 3000,
         "tallyd_cpu_ns_each": 1500}
HTTP = {"name": "http", "load_average": 0.1, "result": {"usage_matches": True, "rows": [
    {"name": "batch", "connections": 8, "requests_per_second": 2000, "events": 400000,
     "events_per_second": 200000, **TIMES},
    {"name": "single", "connections": 8, "requests_per_second": 200, "events": 400,
     "events_per_second": 200, **TIMES},
    {"name": "query", "connections": 16, "requests_per_second": 1000, "events": 0,
     "events_per_second": 0, "stream_events_per_second": 500000, **TIMES}]}}
MACHINE = {"machine": {"cpu": "a made one", "cpus": 2, "memory": "24 GB", "kernel": "6",
                       "file_system": "ext4", "commit": "abc"}}


def made_of(folder, lines, *arguments):
    path = os.path.join(folder, "lines.jsonl")
    with open(path, "w", encoding="utf-8") as file:
        for line in lines:
            file.write(json.dumps(line) + "\n")
    results("make", path, folder, *arguments)
    with open(os.path.join(folder, "RESULTS.md"), encoding="utf-8") as file:
        return file.read()


def tables_check(folder):
    text = made_of(folder, [MACHINE, load("default", 1000000), load("default", 3000000),
                            load("default", 2000000), load("hot", 500000, matches=False),
                            load("unix", 999600),
                            peers(20), peers(30), peers(26), LIMITS, HTTP,
                            load("window_0", 800000), load("window_100000000", 600000)])
    for part in ("| default conditions | 2 M | 1 M - 3 M | 1 / 4 / 9 | 400 | 3 | - | 3 | yes |",
                 "| one subject with half of all events | 500 k |", "| - | 1 | NO |", "0 of 7 runs",
                 "| unix socket | 1 M | 1 M - 1 M |", "Of 7 it is not known",
                 "| other | 38.5 k | 33.3 k - 50 k | 26.0 | 5 | 7000 | yes |",
                 "| none | not installed (none-server) |", "Not done: dedup.", "commit abc",
                 "| loopback receive, nothing looked at | 8 M | 8 M - 8 M | 0.25 |",
                 "| ingest in batches | 8 | 200 k events/s | 200 k - 200 k | 1 / 4 / 9 "
                 "| 3000 + 1500 | - | 1 | yes |",
                 "| usage by day of a subject, beside 500 k events/s over TCP | 16 | 1 k queries",
                 "| none | 800 k | 800 k - 800 k | 100 % | 400 | 3 | 1.2 | - | 1 |",
                 "| 100 M | 600 k | 600 k - 600 k | 75 % | 400 | 3 | 1.2 | - | 1 |",
                 "of 110-byte events | 1 M | 1 M - 1 M | 2.00 |"):
        assert part in text, (part, text)
    assert "busy" not in text and "load.svg" not in text, text
    text = made_of(folder, [MACHINE, load("default", 1, average=20)], "--note", "by hand")
    assert "busy" in text and "- by hand" in text, text
    assert "page cache" not in text, text
    filled = {**load("default", 1), "is_filled": True}
    assert "was full before each measurement (`--fill`).\n" in made_of(folder, [MACHINE, filled])
    text = made_of(folder, [MACHINE, filled, {**filled, "is_filled": False}])
    assert "(`--fill`), but for 1 of 2." in text, text


def paused_http(*percents):
    """A run of the three phases whose p99 and requests tell how much its machine paused."""
    line = json.loads(json.dumps(HTTP))
    for row, percent in zip(line["result"]["rows"], percents):
        row.update(machine_paused_percent=percent, p99_us=percent * 1000)
    return {**line, "runs": 5}


def quiet_check(folder):
    rates = ((1e6, 0.2), (2e6, 9), (3e6, 1.5), (4e6, 1.6), (5e6, 0.4))
    lines = [MACHINE] + [load("default", rate, paused=paused) for rate, paused in rates]
    # Enough quiet ones, of which it is known or not; a wrong usage is wrong in a loud run as well.
    lines += [load("hot", rate, paused=paused, matches=rate < 9e6)
              for rate, paused in ((1e6, 0), (2e6, None), (3e6, 0.5), (9e6, 4))]
    # Too few quiet ones; one where no more was wanted; as many as there were tries.
    lines += [load("million", rate, paused=rate / 1e6) for rate in (1e6, 2e6, 3e6, 4e6)]
    lines += [load("unix", rate, paused=rate / 1e6, runs=1) for rate in (2e6, 3e6, 1e6)]
    lines += [load("window_0", rate, paused=rate / 1e6) for rate in (0.5e6, 1e6, 1.5e6, 2e6)]
    # Of the third run, the query alone was not quiet.
    lines += [paused_http(1, 1, 1), paused_http(1, 1, 1), paused_http(1, 1, 8),
              paused_http(1, 4, 1)]
    text = made_of(folder, lines, "--quiet", "1.5")
    for part in ("| default conditions | 3 M | 1 M - 5 M | 1 / 5 / 9 | 400 | 3 | 0.2 - 1.5 "
                 "| 3, 2 left out | yes |",
                 "| 2 M | 1 M - 3 M | 1 / 4 / 9 | 400 | 3 | 0 - 0.5 | 3, 1 left out | NO |",
                 "| 1 M subjects | 2.5 M | 1 M - 4 M | 1 / 4.5 / 9 | 400 | 3 | 1 - 4 "
                 "| 4, 3 not quiet | yes |",
                 "| unix socket | 1 M | 1 M - 1 M | 1 / 3 / 9 | 400 | 3 | 1 | 1, 2 left out |",
                 "| none | 1 M | 500 k - 1.5 M | 100 % | 400 | 3 | 1.2 | 0.5 - 1.5 "
                 "| 3, 1 left out |",
                 "| 1 / 1 / 9 | 3000 + 1500 | 1 | 4 | yes |",
                 "is quiet when for at most 1.5 % of its time the machine",
                 "than 1 ms. 11 of 32 runs (over HTTP: phases) were not quiet. "
                 "8 of them are left out of all figures but whether usage is right. "
                 "3 are in, because too few others were quiet. Of 1 it is not known"):
        assert part in text, (part, text)
    assert text.count("| 3000 + 1500 | 1 | 3, 1 left out | yes |") == 2, text
    text = made_of(folder, lines, "--quiet", "100")
    assert "| 3 M | 1 M - 5 M | 1 / 5 / 9 | 400 | 3 | 0.2 - 9 | 5 | yes |" in text, text
    assert "0 of 32 runs" in text and "left out" not in text, text
    text = made_of(folder, lines)
    assert "when for at most 1 % of its time" in text, text
    assert "| 0.2 - 9 | 5, 3 not quiet | yes |" in text, text


# What the machine pauses is what the next line of a file says; it keeps what it was asked.
FAKE_BENCH = """#!{python}
import json, os, sys
kind = "probe" if "pauses" in sys.argv else "load"
with open("{folder}/" + kind, encoding="utf-8") as file:
    first, *rest = file.read().split()
with open("{folder}/" + kind, "w", encoding="utf-8") as file:
    file.write(" ".join(rest or [first]))
with open("{folder}/asked", "a", encoding="utf-8") as file:
    file.write(kind + " ")
if os.path.exists("{folder}/tally-bench-fill"):
    with open("{folder}/tally-bench-fill-seen", "w", encoding="utf-8") as file:
        file.write(str(os.path.getsize("{folder}/tally-bench-fill")))
print(json.dumps({{"machine_paused_percent": json.loads(first), "usage_matches": True}}))
"""


class Fake:
    """A bench whose machine pauses as it is told; what it is told last it says for ever."""

    def __init__(self, folder, probes, loads):
        self.folder = folder
        self.path = os.path.join(folder, "fake-bench")
        self.lines = os.path.join(folder, "fake.jsonl")
        self.filled = os.path.join(folder, "tally-bench-fill")
        with open(self.path, "w", encoding="utf-8") as file:
            file.write(FAKE_BENCH.format(python=sys.executable, folder=folder))
        os.chmod(self.path, 0o700)
        if os.path.exists(self.lines):
            os.unlink(self.lines)
        self.say(probes, loads)

    def say(self, probes, loads):
        for name, text in (("probe", probes), ("load", loads), ("asked", "")):
            with open(os.path.join(self.folder, name), "w", encoding="utf-8") as file:
                file.write(text)

    def run(self, *arguments):
        """What it was asked, and what run said."""
        said = results("run", self.lines, "--bench", self.path, "--dir", self.folder, "--only",
                       "unix", *arguments).stderr
        with open(os.path.join(self.folder, "asked"), encoding="utf-8") as file:
            return file.read().split(), said

    def measured(self):
        with open(self.lines, encoding="utf-8") as file:
            return [line["result"]["machine_paused_percent"] for line in map(json.loads, file)
                    if "result" in line]


def again_check(folder):
    # The machine is waited for, and a loud run is kept and made again.
    fake = Fake(folder, "9 3 0.5 0.5 1.1 1.0", "0.3 7 1")
    asked, said = fake.run("--runs", "2")
    assert asked == ["probe"] * 3 + ["load", "probe", "load", "probe", "probe", "load"], asked
    assert fake.measured() == [0.3, 7, 1], fake.measured()
    assert "the machine pauses 9.0 % of the time, 1 is quiet: waiting" in said, said
    assert "unix: the machine paused 7.0 % of the time" in said, said
    # Three tries, no more; none of what is there already.
    fake = Fake(folder, "0", "8")
    asked, said = fake.run("--runs", "1")
    assert fake.measured() == [8, 8, 8], fake.measured()
    fake.run("--runs", "1")
    assert fake.measured() == [8, 8, 8], fake.measured()
    fake.say("0", "2 8")
    fake.run("--runs", "2", "--quiet", "5")
    # By that limit none of the three was quiet either, so it is the second measurement.
    assert fake.measured() == [8, 8, 8, 2], fake.measured()
    # Patience ends, the measurement is made; where nothing is known, or all is quiet, none is due.
    fake = Fake(folder, "50", "0.1")
    asked, said = fake.run("--runs", "1", "--patience", "0.1")
    assert asked[0] == "probe" and asked[-1] == "load" and "at most 0 s more" in said, (asked, said)
    fake = Fake(folder, "null", "null")
    asked, said = fake.run("--runs", "2")
    assert asked == ["probe", "load", "load"] and "not known" in said, (asked, said)
    fake = Fake(folder, "50", "50")
    asked, said = fake.run("--runs", "1", "--quiet", "100")
    assert asked == ["load"], asked
    # The file that fills the page cache is there while it is measured, and then gone.
    fake.run("--runs", "2", "--quiet", "100", "--fill", "3000000")
    assert fake.measured() == [50, 50] and not os.path.exists(fake.filled), fake.measured()
    with open(fake.lines, encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    assert [line["is_filled"] for line in lines[1:]] == [False, True], lines
    with open(fake.filled + "-seen", encoding="utf-8") as file:
        assert file.read() == "3000000", "the file's size"


def picture_check(folder):
    parts = ["0.1", "0.5", "1.0"]
    lines = [load(f"sweep_{part}", float(part) * 1e6, offered=float(part) * 1e6) for part in parts]
    lines += [load(f"window_{window}", 1e6, cpu_ns=cost)
              for window, cost in ((0, 300), (1000000, 350), (100000000, 420))]
    text = made_of(folder, [MACHINE, *lines])
    for name in ("load.svg", "window.svg"):
        assert f"]({name})" in text, text
        root = tree.parse(os.path.join(folder, name)).getroot()
        dots = [(float(dot.get("cx")), float(dot.get("cy"))) for dot in root.iter(SVG + "circle")]
        assert len(dots) == 6, dots
        first, second = dots[:3], dots[3:]
        for panel in (first, second):
            assert [x for x, _ in panel] == sorted(x for x, _ in panel), panel
        # More events or more cost is higher up, which in SVG is a smaller y.
        assert first[0][1] > first[1][1] > first[2][1], first
        assert all(0 <= x <= 640 and 0 <= y <= 600 for x, y in dots), dots


def run_check(folder):
    lines = os.path.join(folder, "run.jsonl")
    arguments = ["run", lines, "--bench", BENCH, "--dir", folder, "--seconds", "1",
                 "--only", "unix", "--quiet", "100"]
    results(*arguments, "--runs", "1")
    results(*arguments, "--runs", "1")
    with open(lines, encoding="utf-8") as file:
        read = [json.loads(line) for line in file]
    assert [line.get("name") for line in read] == [None, "unix"], read
    assert read[0]["machine"]["cpus"] == os.cpu_count(), read[0]
    assert read[1]["result"]["usage_matches"] is True, read[1]
    results("make", lines, folder)
    results("run", lines, "--only", "no-such", expected=1)


for check in (tables_check, quiet_check, again_check, picture_check, run_check):
    with tempfile.TemporaryDirectory() as place:
        check(place)
