"""`tally-bench plan`: a small profile is measured, kept, and asked; wrong questions are refused.

    plan_test.py BIN_DIR

With TALLY_LONG=1 its predictions are held against three loads that it has not seen: CPU, memory and
disk within 25 %. That is a measurement: it needs a quiet machine and a release build.
"""

import json
import os
import subprocess
import sys
import tempfile

BENCH = os.path.join(sys.argv[1], "tally-bench")
TABLE = 4 << 20  # identities, of all shards together
IS_LONG = os.environ.get("TALLY_LONG") == "1"
WITHIN = 0.25

# Rate as a part of the closed loop's, bytes, subjects, identities in the window before.
UNSEEN = [
    (0.40, 200, 100000, 0),
    (0.20, 110, 10000, 5000000),
    (0.60, 300, 30000, 1000000),
]


def run(command, *options, expected=0):
    done = subprocess.run([BENCH, command, *map(str, options)], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == expected, (command, options, done.returncode, done.stderr)
    return done


def write(path, value):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(value, file)


def measure(work, profile, *options):
    run("plan", "--measure", "--dir", work, "--profile", profile, *options)
    with open(profile, encoding="utf-8") as file:
        return json.load(file)


def measured(work, profile):
    """A profile of this machine; of one so busy that its rates do not rise, another."""
    for _ in range(5):
        runs = measure(work, profile, "--seconds", 1, "--prefill", 70000)
        for role in ("full", "low", "middle", "large_events", "many_subjects", "window"):
            assert runs[role]["events"] > 0 and runs[role]["cpu_seconds"] > 0, role
        assert runs["window"]["identities_bytes"] > 70000, runs["window"]
        rates = [runs[role]["events"] / runs[role]["seconds"] for role in ("low", "middle", "full")]
        if rates == sorted(set(rates)):
            return runs
    raise AssertionError("five profiles, and of none do the rates rise")


def short_check(work):
    profile = os.path.join(work, "profile.json")
    runs = measured(work, profile)
    run("plan", "--profile", profile, "--rate", 1000)
    # What is asked next does not depend on how fast this machine is today.
    for rate, role in ((100, "low"), (200, "middle"), (400, "full")):
        runs[role].update(events=rate * 10, seconds=10, cpu_seconds=rate * 10 * 1e-5)
    write(profile, runs)
    answer = json.loads(run("plan", "--profile", profile, "--rate", 1000, "--use", 50,
                            "--window-days", 2, "--format", "json").stdout)
    assert answer["cpu_ns_per_event"] >= 10000, answer
    assert abs(answer["cores"] - 2 * answer["cpu"]) < 0.002, answer
    assert answer["identities"] == 1000 * 86400 * 2, answer
    assert answer["nodes"] >= 1000 / (400 * 0.5), answer
    table = run("plan", "--profile", profile, "--rate", 1000).stdout
    for word in ("cores", "memory", "disk a day", "the window", "nodes", " = "):
        assert word in table, table
    assert "measure" in run("plan", "--rate", 5, "--profile", work + "/none", expected=1).stderr
    run("plan", expected=2)
    run("plan", "--rate", "fast", expected=2)
    write(profile, {"cpus": 2})
    assert "lacks" in run("plan", "--rate", 5, "--profile", profile, expected=1).stderr
    assert os.listdir(work) == ["profile.json"], os.listdir(work)


def compare(name, predicted, found):
    off = predicted / found - 1
    print(f"  {name}: predicted {predicted:.4g}, found {found:.4g}, {off:+.0%}", flush=True)
    return abs(off) <= WITHIN


def unseen_check(work, profile, full_rate, unseen):
    part, size, subjects, identities = unseen
    rate = int(part * full_rate)
    load = json.loads(run("load", "--rate", rate, "--event-size", size, "--subjects", subjects,
                          "--prefill", identities, "--seconds", 10, "--dir", work,
                          "--format", "json").stdout)
    events = load["events_acked"]
    plan = json.loads(run("plan", "--profile", profile, "--rate", rate, "--event-size", size,
                          "--subjects", subjects, "--identities", identities,
                          "--events", events, "--format", "json").stdout)
    # The plan tells the window's disk apart: whole tables of identities went there meanwhile.
    window = json.loads(run("plan", "--profile", profile, "--rate", rate, "--identities", 1000000,
                            "--events", events, "--format", "json").stdout)["window_bytes"]
    added = load["server_disk_bytes"] - load["server_disk_bytes_before"]
    disk = (added - events // TABLE * TABLE * window / 1000000) / events
    print(f"{rate} events/s of {size} bytes, {subjects} subjects, {identities} identities")
    return [compare("CPU", plan["cpu"], load["server_cpu_seconds"] / load["seconds"]),
            compare("memory", plan["memory_bytes"], load["server_anon_bytes"]),
            compare("disk", plan["disk_bytes_per_event"], disk)]


def long_check(work):
    profile = os.path.join(work, "profile.json")
    full = measure(work, profile, "--seconds", 10)["full"]
    held = [unseen_check(work, profile, full["events"] / full["seconds"], unseen)
            for unseen in UNSEEN]
    assert all(map(all, held)), "a prediction is off by more than 25 %"


with tempfile.TemporaryDirectory() as folder:
    short_check(folder)
if IS_LONG:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        long_check(folder)
