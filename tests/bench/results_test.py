"""bench/results.py: medians, spreads and ratios of known lines; pictures that are well-formed and
place what they show; and a small real run, which goes on where it was.

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


def load(name, rate, cpu_ns=400.0, matches=True, offered=0, average=0.5):
    return {"name": name, "load_average": average, "result": {
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
    "limits_disk_sync_p50_us": 80}}
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
                            peers(20), peers(30), peers(26), LIMITS, HTTP,
                            load("window_0", 800000), load("window_100000000", 600000)])
    for part in ("| default conditions | 2 M | 1 M - 3 M | 1 / 4 / 9 | 400 | 3 | 3 | yes |",
                 "| one subject with half of all events | 500 k |", "| 1 | NO |",
                 "| other | 38.5 k | 33.3 k - 50 k | 26.0 | 5 | 7000 | yes |",
                 "| none | not installed (none-server) |", "Not done: dedup.", "commit abc",
                 "| loopback receive, nothing looked at | 8 M | 8 M - 8 M | 0.25 |",
                 "| ingest in batches | 8 | 200 k events/s | 200 k - 200 k | 1 / 4 / 9 "
                 "| 3000 + 1500 | 1 | yes |",
                 "| usage by day of a subject, beside 500 k events/s over TCP | 16 | 1 k queries",
                 "| none | 800 k | 800 k - 800 k | 100 % | 400 | 3 | 1.2 | 1 |",
                 "| 100 M | 600 k | 600 k - 600 k | 75 % | 400 | 3 | 1.2 | 1 |",
                 "of 110-byte events | 1 M | 1 M - 1 M | 2.00 |"):
        assert part in text, (part, text)
    assert "busy" not in text and "load.svg" not in text, text
    text = made_of(folder, [MACHINE, load("default", 1, average=20)], "--note", "by hand")
    assert "busy" in text and "- by hand" in text, text


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
                 "--only", "unix"]
    results(*arguments, "--runs", "1")
    results(*arguments, "--runs", "1")
    with open(lines, encoding="utf-8") as file:
        read = [json.loads(line) for line in file]
    assert [line.get("name") for line in read] == [None, "unix"], read
    assert read[0]["machine"]["cpus"] == os.cpu_count(), read[0]
    assert read[1]["result"]["usage_matches"] is True, read[1]
    results("make", lines, folder)
    results("run", lines, "--only", "no-such", expected=1)


for check in (tables_check, picture_check, run_check):
    with tempfile.TemporaryDirectory() as place:
        check(place)
