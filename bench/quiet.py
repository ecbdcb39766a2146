"""Which runs of a measurement count: the host of a virtual machine takes its processors away for
milliseconds at a time, in some minutes for a tenth of all time, and latencies are then the host's.
tally-bench tells for how much of a run the machine paused; a run is quiet when that is little.

    runs_done(lines, "default", limit)     # of as many as are wanted; a loud one is tried again
    lines = judged(lines, limit)           # each result with is_quiet and is_used
    figures of used(parts), runs_text(parts), paused_text(parts)

Values: lines are those of results.py's file.
"""

import copy

QUIET = 1.0  # percent of the time that the machine may pause in a quiet run: above, p99 is its own
TRIES = 3  # of a measurement, until one is quiet; the last one counts whatever it is
ENOUGH = 3  # quiet runs for a median of them alone, or as many as were wanted


def parts_of(line):
    """The results of a line that have pauses of their own: a load's one, or each phase's."""
    return line["result"].get("rows", [line["result"]]) if "result" in line else []


def paused_of(parts):
    """Percent of the time that the machine paused in those of which it is known."""
    percents = [part.get("machine_paused_percent") for part in parts]
    return [percent for percent in percents if percent is not None]


def is_quiet(parts, limit):
    return all(percent <= limit for percent in paused_of(parts))


def runs_done(lines, name, limit):
    """Measurements that need no further try."""
    done = tries = 0
    for line in lines:
        if line.get("name") == name:
            tries += 1
            if tries == TRIES or is_quiet(parts_of(line), limit):
                done, tries = done + 1, 0
    return done


def judged(lines, limit):
    """A copy in which each result says whether it is quiet, and whether it is used: where there are
    enough quiet ones of a measurement, they alone."""
    lines = copy.deepcopy(lines)
    groups, wanted = {}, {}
    for line in lines:
        for part in parts_of(line):
            group = line["name"], part.get("name")
            groups.setdefault(group, []).append(part)
            wanted[group] = line.get("runs", ENOUGH)
    for group, parts in groups.items():
        for part in parts:
            part["is_quiet"] = is_quiet([part], limit)
        has_enough = sum(part["is_quiet"] for part in parts) >= min(ENOUGH, wanted[group])
        for part in parts:
            part["is_used"] = part["is_quiet"] or not has_enough
    return lines


def used(parts):
    return [part for part in parts if part.get("is_used", True)]


def runs_text(parts):
    """How many the figures are of, and what became of those that were not quiet."""
    count = len(used(parts))
    if count < len(parts):
        return f"{count}, {len(parts) - count} left out"
    loud = sum(not part["is_quiet"] for part in parts)
    return f"{count}, {loud} not quiet" if loud else f"{count}"


def paused_text(parts):
    """Of those that the figures are of."""
    percents = paused_of(used(parts))
    if not percents:
        return "-"
    low, high = f"{min(percents):.2g}", f"{max(percents):.2g}"
    return low if low == high else f"{low} - {high}"


def pauses_shown(lines, limit):
    """A line for the head of the document; none when no run says how much its machine paused."""
    parts = [part for line in lines for part in parts_of(line) if "machine_paused_percent" in part]
    if not parts:
        return []
    loud = sum(not part["is_quiet"] for part in parts)
    left_out = len(parts) - len(used(parts))
    unknown = len(parts) - len(paused_of(parts))
    text = (f"- A run is quiet when for at most {limit:g} % of its time the machine itself (its "
            "host, or the kernel) kept a real-time thread from a processor for more than 1 ms. "
            f"{loud} of {len(parts)} runs (over HTTP: phases) were not quiet.")
    if left_out:
        text += f" {left_out} of them are left out of all figures but whether usage is right."
    if loud > left_out:
        text += f" {loud - left_out} are in, because too few others were quiet."
    if unknown:
        text += f" Of {unknown} it is not known, and they count as quiet."
    return [text]
