"""Clients that send what was not acked again, as the SDKs do, and what has to be there in the end.

    sender = Sender(server)              # a wire_client.Server; it may die and begin again
    sender.start()
    ... sender.acked ...                 # numbers of the chunks whose ack was read
    sender.stop()
    sender.check(server)                 # everything sent again: there exactly once

Chunk `n` holds the same events whoever makes it: mostly new ones, some that another chunk has, too,
and some that are refused. An event counts as acked no earlier than anybody read the ack.
"""

import collections
import json
import re
import socket
import threading

import support
import wire_client

CONNECTIONS = 2
WINDOW = 4     # chunks of a connection that wait for their acks
SUBJECTS = 5
METERS = (("events", "count"), ("amounts", "sum"))


def events_own(number):
    """The events that chunk `number` has first."""
    return [{"subject": f"s{(number + i) % SUBJECTS}", "id": f"{number}-{i}", "value": i + 1}
            for i in range(1 + number % 7)]


def events(number):
    again = events_own(number - 5)[:1] if number >= 5 and number % 5 == 0 else []
    return events_own(number) + again


def refused(number):
    return [{"id": f"{number}-nobody"}] if number % 11 == 0 else []


def message(number):
    entries = [[None, record] for record in events(number) + refused(number)]
    return ["api_call", entries, {"chunk": f"c{number}", "tally": {"results": True}}]


def answer_check(number, answer):
    assert answer["ack"] == f"c{number}", (number, answer)
    assert not answer.get("conflicts"), (number, answer)
    assert len(answer.get("rejected", [])) == len(refused(number)), (number, answer)


class Sender:
    def __init__(self, server, connections=CONNECTIONS):
        self.server = server
        self.connections = connections
        self.lock = threading.Lock()
        self.next = 0
        self.sent = set()
        self.acked = set()
        self.resent = 0
        self.stopping = threading.Event()
        self.threads = []
        self.failures = []

    def start(self):
        self.stopping.clear()
        self.threads = [threading.Thread(target=self.body, args=(i,), daemon=True)
                        for i in range(self.connections)]
        for thread in self.threads:
            thread.start()

    def stop(self):
        """What has no ack by now gets none."""
        self.stopping.set()
        for thread in self.threads:
            thread.join(120)
            assert not thread.is_alive(), "a client hangs"
        assert not self.failures, self.failures

    def take(self):
        with self.lock:
            self.next += 1
            return self.next - 1

    def body(self, index):
        waiting = collections.deque()
        try:
            while not self.stopping.is_set():
                try:
                    self.converse(index, waiting)
                except (OSError, AssertionError) as error:
                    if isinstance(error, AssertionError) and "ended" not in str(error):
                        raise
                self.stopping.wait(0.01)
        except Exception as error:  # of a thread: told by stop()
            self.failures.append(repr(error))

    def connect(self, index):
        wire = self.server.connect_unix() if index % 2 == 1 else self.server.connect()
        wire.socket.settimeout(0.2)
        return wire

    def converse(self, index, waiting):
        """One connection, until it ends: first what has no ack, then new chunks."""
        with self.connect(index) as wire:
            for number in waiting:
                wire.write(wire_client.pack(message(number)))
            self.resent += len(waiting)
            while not self.stopping.is_set():
                if len(waiting) < WINDOW:
                    waiting.append(self.take())
                    self.sent.add(waiting[-1])
                    wire.write(wire_client.pack(message(waiting[-1])))
                if len(waiting) == WINDOW:
                    self.answer_take(wire, waiting)

    def answer_take(self, wire, waiting):
        try:
            answer = wire.read()
        except socket.timeout:
            return
        number = int(answer["ack"][1:])
        answer_check(number, answer)
        waiting.remove(number)
        self.acked.add(number)

    # --- in the end ---

    def meters_make(self):
        for key, aggregation in METERS:
            self.server.tally("meter", "add", key, "--event-type", "api_call",
                              "--aggregation", aggregation)

    def check_resent(self, server):
        """Every chunk again: of one that was acked each event is known."""
        with server.connect() as wire:
            for number in sorted(self.sent):
                answer = wire.ask(message(number))
                answer_check(number, answer)
                known = answer.get("duplicates", 0)
                if number in self.acked:
                    assert known == len(events(number)), ("lost", number, answer)

    def check_usage(self, server):
        want = {key: collections.Counter() for key, _ in METERS}
        for number in self.sent:
            for event in events_own(number):
                want["events"][event["subject"]] += 1
                want["amounts"][event["subject"]] += event["value"]
        for key, _ in METERS:
            rows = json.loads(server.tally("usage", "--meter", key, "--format", "json"))["rows"]
            got = {row["subject"]: int(row["value"]) for row in rows}
            assert got == dict(want[key]), ("usage", key, got, want[key])

    def check(self, server):
        """Of a tallyd that runs; it is ended, and what it left behind looked at. How many."""
        self.check_resent(server)
        self.check_usage(server)
        server.end()
        server.tally("ledger", "verify")
        got = collections.Counter(
            re.findall(r'"id":"([^"]+)"', server.tally("ledger", "dump")))
        want = {event["id"] for number in self.sent for event in events_own(number)}
        assert set(got) == want, ("dump", sorted(want ^ set(got))[:20])
        twice = [id for id, count in got.items() if count != 1]
        assert not twice, ("twice", twice[:20])
        return len(want)
