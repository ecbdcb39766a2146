"""Does what lines of JSON on stdin say with the Python SDK; a line of JSON answers each.

sdk_cases.py has the commands.
"""

import datetime
import json
import os
import sys

sys.path.insert(0, sys.argv[1])
import tally_client  # noqa: E402  after the path is known

SECONDS = {"batch_age", "ack_timeout", "connect_timeout", "retry_min", "retry_max"}
ERRORS = {tally_client.FullError: "full", tally_client.InvalidError: "invalid",
          tally_client.UnackedError: "timeout", tally_client.ClosedError: "closed"}


def event_of(event):
    """{"big": "123"}: a whole number that JSON does not carry exactly everywhere."""
    event = dict(event)
    if isinstance(event.get("value"), dict):
        event["value"] = int(event["value"]["big"])
    if "time_ms" in event:
        event["time"] = datetime.datetime.fromtimestamp(
            event.pop("time_ms") / 1000, datetime.timezone.utc)
    return {"subject": None, "type": None, **event}


class Driver:
    def __init__(self):
        self.client = None
        self.refusals = []

    def open(self, options):
        seconds = {name[:-3]: options[name] / 1000 for name in options if name[:-3] in SECONDS}
        others = {name: options[name] for name in options if name[:-3] not in SECONDS}
        if "tls_ca" in others:
            names = {"ca": "tls_ca", "servername": "tls_name"}
            others["tls"] = {name: others.pop(option) for name, option in names.items()
                             if option in others}
        self.client = tally_client.Client(
            **others, **seconds, on_refusal=lambda refusal: self.refusals.append(refusal._asdict()))

    def send(self, event, wait_ms=0):
        return self.client.send(**event_of(event), timeout=wait_ms / 1000)

    def send_many(self, count, prefix, event, wait_ms=0):
        for i in range(count):
            self.send({**event, "id": f"{prefix}-{i}" if prefix else None}, wait_ms)
        return count

    def flush(self, timeout_ms):
        self.client.flush(timeout_ms / 1000)

    def close(self, timeout_ms):
        self.client.close(timeout_ms / 1000)

    def stats(self):
        return self.client.stats


def answer_of(driver, command):
    name = command.pop("do")
    try:
        if name == "refusals":
            return {"result": driver.refusals}
        return {"result": getattr(driver, name)(**command)}
    except tally_client.TallyError as error:
        return {"error": ERRORS.get(type(error), "other"), "text": str(error)}


if __name__ == "__main__":
    the_driver = Driver()
    for line in sys.stdin:
        print(json.dumps(answer_of(the_driver, json.loads(line))), flush=True)
    os._exit(0)  # what a test left unacked stays so
