"""Live figures of ingest as server-sent events: many listeners, tallyd away, and the end."""

import http.client
import json
import os
import time
import unittest

import api_client
import support

STREAM = "/api/v1/ingest/stream"


class Listener:
    """One client that listens."""

    def __init__(self, api, key="read"):
        self.connection = http.client.HTTPConnection(api.address, timeout=60)
        self.connection.request(
            "GET", STREAM, headers={"Authorization": "Bearer " + api.keys[key],
                                    "Accept": "text/event-stream", "Accept-Encoding": "gzip"})
        self.answer = self.connection.getresponse()

    def next(self):
        """(event, data) of the next one; None at the end."""
        event = None
        while line := self.answer.readline():
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name == "event":
                event = value
            if name == "data":
                return event, json.loads(value)
        return None

    def until(self, wanted):
        """The first event that is wanted."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            event = self.next()
            assert event, "the stream ended"
            if wanted(*event):
                return event[1]
        raise AssertionError("not within 60 s")

    def close(self):
        self.answer.close()
        self.connection.close()


class Live(unittest.TestCase):
    def setUp(self):
        self.stack = support.Stack()
        self.stack.__enter__()
        self.addCleanup(self.stack.__exit__, None, None, None)
        self.stack.env["TALLY_API_STREAMS_MAX"] = "3"
        self.api = api_client.start(self.stack)
        self.addCleanup(self.api.close)

    def send(self, first, count):
        events = [{"id": f"l{first + i}", "source": "live", "specversion": "1.0", "type": "live",
                   "subject": "s"} for i in range(count)]
        self.assertEqual(self.api.post("/api/v1/events", json.dumps(events), key="ingest", fields={
            "Content-Type": "application/cloudevents-batch+json"}).status, 204)

    def streams(self):
        text = self.api.get("/metrics").body.decode()
        return next(line for line in text.splitlines() if line.startswith("tally_api_streams "))

    def test_figures_for_all_who_listen_until_the_end(self):
        listeners = [Listener(self.api) for _ in range(3)]
        for listener in listeners:
            self.assertEqual(listener.answer.status, 200)
            self.assertEqual(listener.answer.headers["Content-Type"], "text/event-stream")
            self.assertEqual(listener.answer.headers["Cache-Control"], "no-store")
        answer = self.api.get(STREAM, key="read")
        self.assertEqual((answer.status, answer.fields["Retry-After"]), (503, "1"))
        self.assertEqual(self.api.ask("HEAD", STREAM).status, 200)
        self.assertEqual(self.streams(), "tally_api_streams 3")
        self.send(0, 300)
        for listener in listeners:
            figures = listener.until(lambda event, data: data.get("stored", 0) >= 300)
            self.assertEqual(figures["stored"], 300)
            self.assertGreaterEqual(figures["connections"], 1)
            self.assertTrue(figures["time"].endswith("Z"))
        # Counted once more, as duplicates, with a rate that is known by now.
        self.send(0, 300)
        figures = listeners[0].until(lambda event, data: data.get("duplicates") == 300)
        self.assertEqual((figures["stored"], figures["rejected"]), (300, 0))
        figures = listeners[0].until(lambda event, data: data.get("storedPerSecond") is not None)
        self.assertGreaterEqual(figures["storedPerSecond"], 0)
        # One goes, another comes.
        listeners.pop().close()
        support.wait_for("a free place", lambda: self.streams() == "tally_api_streams 2")
        listeners.append(Listener(self.api))
        self.assertEqual(listeners[2].answer.status, 200)
        # Who listens is told of the end, and keeps nobody from stopping.
        self.assertIn("tally-api   stopped", self.stack.tally("down"))
        for listener in listeners:
            while listener.next():
                pass
            listener.close()
        with open(os.path.join(self.stack.data, "log", "tally-api.log"), encoding="utf-8") as file:
            self.assertIn("stopped", file.read().splitlines()[-1])

    def test_tallyd_goes_and_comes_back(self):
        listener = Listener(self.api, "admin")
        listener.until(lambda event, data: event == "ingest")
        self.stack.kill_tallyd()
        away = listener.until(lambda event, data: event == "away")
        self.assertTrue(away["detail"])
        self.stack.up("--api", "127.0.0.1:0")
        listener.until(lambda event, data: event == "ingest")
        listener.close()


if __name__ == "__main__":
    unittest.main(verbosity=2)
