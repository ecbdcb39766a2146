#!/usr/bin/env python3
"""Measures what bench/RESULTS.md tells, and writes it: tables, and two pictures as SVG.

    bench/results.py run results.jsonl                 # release build; three hours, quiet
    bench/results.py run results.jsonl --only default,udp --runs 3 --seconds 5
    bench/results.py make results.jsonl bench          # bench/RESULTS.md, bench/*.svg

`run` appends a line of JSON for every measurement, with the load average before it, so a run that
was interrupted goes on where it was. `make` takes medians of the lines of a measurement, and says
how far they spread.

The host of a virtual machine takes its processors away for milliseconds at a time, in some minutes
for a tenth of all time, and latencies are then the host's. So a run is *quiet* when its machine
paused for at most --quiet percent. `run` waits for a quiet machine, at most --patience seconds in
all, and measures again, up to two times, what was not quiet. `make` leaves out runs that were not
quiet where there are enough others, and says how many they were.

Some hosts also take back memory that nobody uses, and then the first touch of each page costs ten
times as much as on a machine of one's own (`tally-bench micro limits` says what it costs). With
--fill the page cache is full before each measurement, as on a server that has been up for a while:
of a sparse file as large as memory, which is read, takes no disk, and goes in the end.
"""

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time

from quiet import (QUIET, is_quiet, judged, parts_of, paused_of, paused_text, pauses_shown,
                   runs_done, runs_text, used)

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# Name, what it is, options of `tally-bench load`.
LOADS = [
    ("default", "default conditions", []),
    ("minute", "default conditions, a minute", ["--seconds=60"]),
    ("paced", "open loop at 1 M events/s", ["--rate=1000000"]),
    ("paced_minute", "open loop at 1 M events/s, a minute", ["--rate=1000000", "--seconds=60"]),
    ("million", "1 M subjects", ["--subjects=1000000"]),
    ("million_minute", "1 M subjects, a minute", ["--subjects=1000000", "--seconds=60"]),
    ("zipf", "subjects by Zipf's law, 0.99", ["--zipf=0.99"]),
    ("hot", "one subject with half of all events", ["--hot-subject=50"]),
    ("unix", "unix socket", ["--unix"]),
    ("udp", "UDP, 100 events a datagram", ["--udp"]),
    ("udp_one", "UDP, one event a datagram", ["--udp", "--chunk=1", "--in-flight=1024"]),
    ("one", "chunks of one event", ["--chunk=1", "--in-flight=1024"]),
    ("large", "events of 64 KiB", ["--event-size=65536", "--events=40000"]),
    ("idle", "10 k idle connections beside", ["--idle-connections=10000"]),
    ("slow_clients", "100 clients beside that send or read slowly", ["--slow-clients=100"]),
    ("slow_disk", "each fsync takes 10 ms longer", ["--sync-delay=10"]),
]
WINDOWS = [0, 1000000, 10000000, 100000000, 300000000]
PARTS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1]
FILL_NAME = "tally-bench-fill"
BUSY = 3  # times the CPUs: a load average that the runs do not explain
KINDS = [name for name, _, _ in LOADS] + ["window", "sweep", "limits", "rest", "peers", "http"]


# --- measuring ---

def lines_read(path):
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


def text_of(path, key):
    """What a file of /proc says behind the first `key : `."""
    with open(path, encoding="utf-8") as file:
        for line in file:
            name, _, value = line.partition(":")
            if name.strip() == key:
                return value.strip()
    return "unknown"


def memory_bytes():
    return int(text_of("/proc/meminfo", "MemTotal").split()[0]) * 1024


def commit_of():
    try:
        return subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], check=True,
                              stdout=subprocess.PIPE, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def machine_of(folder):
    return {
        "cpu": text_of("/proc/cpuinfo", "model name"),
        "cpus": os.cpu_count(),
        "memory": text_of("/proc/meminfo", "MemTotal"),
        "kernel": platform.release(),
        "file_system": subprocess.run(["stat", "-f", "-c", "%T", folder], check=True,
                                      stdout=subprocess.PIPE, text=True).stdout.strip(),
        "commit": commit_of(),
    }


def say(text):
    print(text, file=sys.stderr, flush=True)


class Run:
    """Measurements to a file of lines; what has enough of them already is passed over."""

    def __init__(self, options):
        self.options = options
        self.lines = lines_read(options.lines)
        self.fill_bytes = memory_bytes() if options.fill < 0 else options.fill
        self.patience = options.patience if options.quiet < 100 else 0

    def append(self, line):
        self.lines.append(line)
        with open(self.options.lines, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def bench(self, *arguments):
        command = [self.options.bench, *arguments, "--format=json", f"--dir={self.options.dir}"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"results.py: {' '.join(command)} ended with {done.returncode}")
        return json.loads(done.stdout)

    def fill(self):
        """A page cache without room, so that memory is taken from it and not from the host."""
        if not self.options.fill:
            return
        path = os.path.join(self.options.dir, FILL_NAME)
        with open(path, "ab") as file:
            file.truncate(self.fill_bytes)
        with open(path, "rb", buffering=0) as file:
            while file.read(1 << 20):
                pass

    def unfill(self):
        path = os.path.join(self.options.dir, FILL_NAME)
        if self.options.fill and os.path.exists(path):
            os.remove(path)

    def wait(self):
        """Until the machine is quiet, or patience has an end."""
        while self.patience > 0:
            began = time.monotonic()
            percent = self.bench("micro", "pauses", "--seconds=2")["machine_paused_percent"]
            if percent is None:
                self.patience = 0
                say("how much the machine pauses is not known here: not waited for")
            elif percent <= self.options.quiet:
                return
            else:
                self.patience -= time.monotonic() - began
                say(f"the machine pauses {percent:.1f} % of the time, {self.options.quiet:g} is "
                    f"quiet: waiting, at most {max(self.patience, 0):.0f} s more")

    def measure(self, name, arguments):
        quiet, runs = self.options.quiet, self.options.runs
        while (done := runs_done(self.lines, name, quiet)) < runs:
            self.fill()
            self.wait()
            say(f"{name} {done + 1}/{runs}")
            before = os.getloadavg()[0]
            self.append({"name": name, "arguments": arguments, "load_average": before,
                         "is_filled": self.fill_bytes > 0, "runs": runs,
                         "result": self.bench(*arguments)})
            if not is_quiet(parts_of(self.lines[-1]), quiet):
                say(f"{name}: the machine paused {max(paused_of(parts_of(self.lines[-1]))):.1f} % "
                    "of the time")

    def load(self, name, *arguments):
        if not any(argument.startswith("--seconds=") for argument in arguments):
            arguments = (f"--seconds={self.options.seconds}", *arguments)
        self.measure(name, ["load", *arguments])

    def all(self):
        kinds = self.options.only.split(",") if self.options.only else KINDS
        unknown = set(kinds) - set(KINDS)
        if unknown:
            sys.exit(f"results.py: there is no {unknown.pop()}; there is {', '.join(KINDS)}")
        if not any("machine" in line for line in self.lines):
            self.append({"machine": machine_of(self.options.dir)})
        for name, _, arguments in LOADS:
            if name in kinds:
                self.load(name, *arguments)
        if "sweep" in kinds:
            self.load("default")
            lines = judged(self.lines, self.options.quiet)
            full = median_of(lines, "default", "events_acked_per_second")
            for part in PARTS:
                self.load(f"sweep_{part}", f"--rate={int(full * part)}")
        if "window" in kinds:
            for window in WINDOWS:
                if window <= self.options.window_max:
                    self.load(f"window_{window}", f"--prefill={window}", "--restart")
        if "limits" in kinds:
            self.measure("limits", ["micro", "limits"])
        if "rest" in kinds:
            self.measure("rest", ["micro", "idle"])
        if "peers" in kinds:
            self.measure("peers", ["peers", f"--seconds={self.options.seconds}"])
        if "http" in kinds:
            self.measure("http", ["http", f"--seconds={self.options.seconds}"])


# --- figures ---

def results_of(lines, name):
    """All of them, used or not."""
    return [line["result"] for line in lines if line.get("name") == name]


def values_of(lines, name, key):
    return [result[key] for result in used(results_of(lines, name))]


def median_of(lines, name, key):
    return statistics.median(values_of(lines, name, key))


def has(lines, name):
    return any(line.get("name") == name for line in lines)


def short(value):
    """1234567 -> 1.23 M"""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= 0.9995 * size:  # three digits: 999.9 k is 1 M
            return f"{value / size:.3g} {unit}"
    return f"{value:.3g}"


def spread_of(values):
    return f"{short(min(values))} - {short(max(values))}"


def load_row(lines, name, title):
    rates = values_of(lines, name, "events_acked_per_second")
    results = results_of(lines, name)
    matches = all(result["usage_matches"] for result in results)

    def ms(key):
        return f"{median_of(lines, name, key) / 1000:.3g}"

    return (f"| {title} | {short(statistics.median(rates))} | {spread_of(rates)} | "
            f"{ms('ack_p50_us')} / {ms('ack_p99_us')} / {ms('ack_p999_us')} | "
            f"{median_of(lines, name, 'server_cpu_ns_per_event'):.0f} | "
            f"{median_of(lines, name, 'server_anon_bytes') / 2**20:.0f} | {paused_text(results)} | "
            f"{runs_text(results)} | {'yes' if matches else 'NO'} |")


def loads_table(lines):
    rows = [load_row(lines, name, title) for name, title, _ in LOADS if has(lines, name)]
    if not rows:
        return []
    return ["## Loads", "",
            "| load | events/s acked | spread | ack p50 / p99 / p99.9 ms | server CPU ns an event "
            "| anonymous MiB | machine paused % | runs | usage right |",
            "|---|---|---|---|---|---|---|---|---|", *rows, ""]


def window_row(lines, window):
    name = f"window_{window}"
    rates = values_of(lines, name, "events_acked_per_second")
    results = results_of(lines, name)
    base = median_of(lines, "window_0", "events_acked_per_second") if has(lines, "window_0") else 0
    part = f"{100 * statistics.median(rates) / base:.0f} %" if base else "-"
    return (f"| {short(window) if window else 'none'} | {short(statistics.median(rates))} | "
            f"{spread_of(rates)} | {part} | "
            f"{median_of(lines, name, 'server_cpu_ns_per_event'):.0f} | "
            f"{median_of(lines, name, 'server_anon_bytes') / 2**20:.0f} | "
            f"{median_of(lines, name, 'server_restart_seconds'):.2g} | {paused_text(results)} | "
            f"{runs_text(results)} |")


def windows_table(lines):
    rows = [window_row(lines, window) for window in WINDOWS if has(lines, f"window_{window}")]
    if not rows:
        return []
    return ["## With identities in the window before", "",
            "Ready again after kill -9 in the end, with the files' pages still in memory.", "",
            "| identities before | events/s acked | spread | of the rate with none "
            "| server CPU ns an event | anonymous MiB | ready again after s "
            "| machine paused % | runs |",
            "|---|---|---|---|---|---|---|---|---|", *rows, ""]


def limits_table(lines):
    if not has(lines, "limits"):
        return []
    rows = []
    event = 110
    base = median_of(lines, "default", "events_acked_per_second") if has(lines, "default") else None
    for key, title, divisor in (
            ("limits_receive_events_per_second", "loopback receive, nothing looked at", 1),
            ("limits_memory_events_per_second", "in-memory loop: ids and sums, nothing kept", 1),
            ("limits_lmdb_bytes_per_second", "LMDB append, each MiB synced, of 110-byte events",
             event),
            ("limits_disk_bytes_per_second", "raw disk, each MiB synced, of 110-byte events",
             event)):
        values = [value / divisor for value in values_of(lines, "limits", key)]
        middle = statistics.median(values)
        ratio = f"{base / middle:.2f}" if base else "-"
        rows.append(f"| {title} | {short(middle)} | {spread_of(values)} | {ratio} |")
    sync = median_of(lines, "limits", "limits_disk_sync_p50_us")
    touches = [result["limits_touch_bytes_per_second"] for result in results_of(lines, "limits")
               if "limits_touch_bytes_per_second" in result]
    touch = (f" Memory is touched for the first time at {short(statistics.median(touches))}B/s."
             if touches else "")
    return ["## Limits of this machine", "",
            "| limit | events/s | spread | tally's default load in relation |", "|---|---|---|---|",
            *rows, "", f"A sync of 4 KiB takes {sync:.0f} us (median). The ledger stores less than "
            "the 110 bytes of an event, so the last two can be exceeded." + touch, ""]


def rest_table(lines):
    if not has(lines, "rest"):
        return []

    def figure(key):
        return median_of(lines, "rest", key)

    return ["## At rest", "",
            f"Nobody sends anything: {figure('idle_cpu_percent'):.3f} % of one CPU, "
            f"{figure('idle_wakeups_per_second'):.1f} wakeups/s, "
            f"{figure('idle_anon_bytes') / 2**20:.0f} MiB; with {figure('idle_connections'):.0f} "
            f"idle connections {figure('idle_crowded_cpu_percent'):.3f} %, "
            f"{figure('idle_crowded_wakeups_per_second'):.1f} wakeups/s, "
            f"{figure('idle_connection_bytes'):.0f} bytes a connection.", ""]


def peers_table(lines):
    runs = values_of(lines, "peers", "rows")
    if not runs:
        return []
    rows, notes = [], []
    for index, first in enumerate(runs[0]):
        found = [run[index] for run in runs]
        assert all(row["name"] == first["name"] for row in found), "peers of unlike runs"
        if "missing_package" in first:
            missing = first["missing_package"]
            rows.append(f"| {first['name']} | not installed ({missing}) | | | | | |")
            continue
        rates = [row["events_acked_per_second"] for row in found]
        ratio = statistics.median(row["tally_is_times_faster"] for row in found)
        cpu = statistics.median(row["server_cpu_ns_per_event"] for row in found)
        p99 = statistics.median(row["ack_p99_us"] for row in found) / 1000
        right = "yes" if all(row["matches"] for row in found) else "NO"
        rows.append(f"| {first['name']} | {short(statistics.median(rates))} | {spread_of(rates)} | "
                    f"{ratio:.1f} | {p99:.3g} | {cpu:.0f} | {right} |")
        lacks = f" Not done: {first['lacks']}." if first["lacks"] else ""
        notes.append(f"- **{first['name']}**: {first['settings']}.{lacks}")
    return ["## Beside what one would run instead", "",
            f"The same events in one run of `tally-bench peers`; runs: {len(runs)}.", "",
            "| | events/s acked | spread | tally is times faster | ack p99 ms "
            "| server CPU ns an event | holds what was sent |",
            "|---|---|---|---|---|---|---|", *rows, "", *notes, ""]


HTTP_TITLES = {"batch": "ingest in batches", "single": "ingest, an event a request",
               "query": "usage by day of a subject"}


def http_row(rows, right):
    found = used(rows)
    first = found[0]

    def middle(key):
        return statistics.median(row[key] for row in found)

    rates = [row["events_per_second"] or row["requests_per_second"] for row in found]
    title = HTTP_TITLES[first["name"]]
    if "stream_events_per_second" in first:
        title += f", beside {short(middle('stream_events_per_second'))} events/s over TCP"
    unit = "events/s" if first["events"] else "queries/s"
    times = " / ".join(f"{middle(key) / 1000:.3g}" for key in ("p50_us", "p99_us", "p999_us"))
    cpu = " + ".join(f"{middle(key):.0f}" for key in ("api_cpu_ns_each", "tallyd_cpu_ns_each"))
    return (f"| {title} | {first['connections']} | {short(statistics.median(rates))} {unit} | "
            f"{spread_of(rates)} | {times} | {cpu} | {paused_text(rows)} | {runs_text(rows)} | "
            f"{'yes' if right else 'NO'} |")


def http_table(lines):
    runs = values_of(lines, "http", "rows")
    if not runs:
        return []
    right = all(values_of(lines, "http", "usage_matches"))
    rows = [http_row([row for run in runs for row in run if row["name"] == name], right)
            for name in HTTP_TITLES]
    return ["## Over HTTP", "",
            "`tally-bench http`: tally-api, tallyd and PostgreSQL beside the load. Queries in an "
            "open loop; CPU in nanoseconds of tally-api and tallyd, an event or a query.", "",
            "| | connections | a second | spread | p50 / p99 / p99.9 ms | CPU ns each "
            "| machine paused % | runs | usage right |",
            "|---|---|---|---|---|---|---|---|---|", *rows, ""]


# --- pictures ---

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 300, 70, 20, 40, 50
COLORS = ["#1f5fa8", "#c0392b"]


class Axis:
    """Values to places, and the places of a few round values."""

    def __init__(self, values, start, end, is_log):
        self.start, self.end, self.is_log = start, end, is_log
        low, high = min(values), max(values)
        self.low = self.scaled(low) if is_log else 0
        self.high = self.scaled(high)
        if self.high <= self.low:
            self.high = self.low + 1

    def scaled(self, value):
        return math.log10(max(value, 1e-9)) if self.is_log else value

    def place(self, value):
        part = (self.scaled(value) - self.low) / (self.high - self.low)
        return self.start + part * (self.end - self.start)

    def ticks(self):
        if self.is_log:
            return [10 ** k for k in range(math.ceil(self.low), math.floor(self.high) + 1)]
        step = 10 ** math.floor(math.log10(self.high / 2))
        step *= 1 if self.high / step <= 6 else 2 if self.high / step <= 12 else 5
        return [step * k for k in range(int(self.high / step) + 1)]


def chart(top, title, x_title, points, color, x_is_log, y_is_log):
    """One panel: (x, low, median, high) each a dot with its spread."""
    x_axis = Axis([point[0] for point in points], LEFT, WIDTH - RIGHT, x_is_log)
    y_axis = Axis([value for point in points for value in point[1:]], top + HEIGHT - BOTTOM,
                  top + TOP, y_is_log)
    out = [f'<text x="{LEFT}" y="{top + 22}" font-size="14">{title}</text>',
           f'<text x="{WIDTH - RIGHT}" y="{top + HEIGHT - 12}" text-anchor="end">{x_title}</text>']
    for tick in y_axis.ticks():
        place = y_axis.place(tick)
        out.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{place:.1f}" y2="{place:.1f}" '
                   f'stroke="#ddd"/><text x="{LEFT - 6}" y="{place + 4:.1f}" '
                   f'text-anchor="end">{short(tick)}</text>')
    for tick in x_axis.ticks():
        place = x_axis.place(tick)
        out.append(f'<text x="{place:.1f}" y="{top + HEIGHT - BOTTOM + 18}" '
                   f'text-anchor="middle">{short(tick)}</text>')
    path = " ".join(f"{x_axis.place(x):.1f},{y_axis.place(middle):.1f}"
                    for x, _, middle, _ in points)
    out.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
    for x, low, middle, high in points:
        place = x_axis.place(x)
        out.append(f'<line x1="{place:.1f}" x2="{place:.1f}" y1="{y_axis.place(low):.1f}" '
                   f'y2="{y_axis.place(high):.1f}" stroke="{color}"/><circle cx="{place:.1f}" '
                   f'cy="{y_axis.place(middle):.1f}" r="3" fill="{color}"/>')
    return out


def picture(panels):
    """Panels below one another: (title, x_title, points, x_is_log, y_is_log)."""
    height = HEIGHT * len(panels)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
           f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="11">',
           f'<rect width="{WIDTH}" height="{height}" fill="white"/>']
    for index, (title, x_title, points, x_is_log, y_is_log) in enumerate(panels):
        out += chart(HEIGHT * index, title, x_title, points, COLORS[index % 2], x_is_log, y_is_log)
    return "\n".join([*out, "</svg>", ""])


def points_of(lines, names, key, divisor=1):
    points = []
    for x, name in names:
        if has(lines, name):
            values = [value / divisor for value in values_of(lines, name, key)]
            points.append((x, min(values), statistics.median(values), max(values)))
    return points


def offered(lines, name):
    for line in lines:
        if line.get("name") == name:
            return line["result"]["conditions"]["rate"]
    return 0


def pictures(lines):
    """File name -> text, of what was measured at two places at least."""
    names = [(offered(lines, f"sweep_{part}"), f"sweep_{part}") for part in PARTS
             if has(lines, f"sweep_{part}")]
    made = {}
    if len(names) > 1:
        made["load.svg"] = picture([
            ("events/s acked", "events/s offered (open loop)",
             points_of(lines, names, "events_acked_per_second"), False, False),
            ("ack p99, ms", "events/s offered (open loop)",
             points_of(lines, names, "ack_p99_us", 1000), False, True)])
    names = [(max(window, 100000), f"window_{window}") for window in WINDOWS
             if has(lines, f"window_{window}")]
    if len(names) > 1:
        made["window.svg"] = picture([
            ("server CPU, ns an event", "identities in the window (the first: none)",
             points_of(lines, names, "server_cpu_ns_per_event"), True, False),
            ("events/s acked, closed loop", "identities in the window (the first: none)",
             points_of(lines, names, "events_acked_per_second"), True, False)])
    return made


# --- the document ---

def head(lines, note, limit):
    machine = next(line["machine"] for line in lines if "machine" in line)
    averages = [line["load_average"] for line in lines if "load_average" in line]
    out = ["# Results", "",
           "Made by `bench/results.py` from measurements by `tally-bench`; what is measured and "
           "the default conditions are in [README.md](README.md). Medians; the spread is from the "
           "least to the most of the same runs.", "",
           f"- Machine: {machine['cpus']} CPUs ({machine['cpu']}), memory {machine['memory']}, "
           f"kernel {machine['kernel']}, {machine['file_system']}.",
           f"- tally at commit {machine['commit']}, release build, everything on this machine.",
           f"- Load average before the runs: {min(averages):.1f} - {max(averages):.1f}."]
    fills = [line.get("is_filled", False) for line in lines if "result" in line]
    if any(fills):
        out.append("- Memory: the page cache was full before each measurement (`--fill`)"
                   + ("." if all(fills) else f", but for {fills.count(False)} of {len(fills)}."))
    out += pauses_shown(lines, limit)
    # The runs themselves keep some threads busy.
    if statistics.median(averages) > BUSY * machine["cpus"]:
        out.append("- **The machine was busy with other work: these are no figures of tally, only "
                   "of this day.**")
    return [*out, *([f"- {note}"] if note else []), ""]


def pictures_shown(made):
    titles = {"load.svg": "Throughput and p99 against load",
              "window.svg": "Cost of an event against the size of the window"}
    out = []
    for name in made:
        out += [f"## {titles[name]}", "", f"![{titles[name]}]({name})", ""]
    return out


def make(options):
    lines = judged(lines_read(options.lines), options.quiet)
    made = pictures(lines)
    text = "\n".join(head(lines, options.note, options.quiet) +
                     loads_table(lines) + windows_table(lines) + limits_table(lines) +
                     peers_table(lines) + http_table(lines) + rest_table(lines) +
                     pictures_shown(made))
    for name, content in {**made, "RESULTS.md": text.rstrip() + "\n"}.items():
        with open(os.path.join(options.folder, name), "w", encoding="utf-8") as file:
            file.write(content)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="measure")
    run.add_argument("lines", help="file of lines, appended to")
    run.add_argument("--bench", default=os.path.join(ROOT, "build", "bin", "tally-bench"))
    run.add_argument("--dir", default="/var/tmp", help="the disk that is measured")
    run.add_argument("--runs", type=int, default=5)
    run.add_argument("--seconds", type=int, default=20,
                     help="of each load and each peer; a minute stays a minute")
    run.add_argument("--window-max", type=int, default=WINDOWS[-1], help="the largest window")
    run.add_argument("--only", help="some of " + ",".join(KINDS))
    run.add_argument("--patience", type=float, default=600, metavar="SECONDS",
                     help="waits at most so long in all for a quiet machine (600)")
    run.add_argument("--fill", type=int, nargs="?", const=-1, default=0,
                     metavar="BYTES", help="fills the page cache before each measurement (see "
                     "above); as much as there is memory, if nothing else is said")
    document = commands.add_parser("make", help="write RESULTS.md and the pictures")
    document.add_argument("lines")
    document.add_argument("folder")
    document.add_argument("--note", help="a line about the conditions")
    for command in (run, document):
        command.add_argument("--quiet", type=float, default=QUIET, metavar="PERCENT",
                             help="of the time that the machine pauses in a quiet run "
                                  f"({QUIET:g}); 100: every run is quiet")
    options = parser.parse_args()
    if options.command == "run":
        run = Run(options)
        try:
            run.all()
        finally:
            run.unfill()
    else:
        make(options)


if __name__ == "__main__":
    main()
