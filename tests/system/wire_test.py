"""What docs/wire.md says of connections, messages, acks and events, seen by a client."""

import gzip
import json
import os
import signal
import socket
import ssl
import struct
import time
import unittest

import support
from wire_client import (
    Raw, Server, Wire, chunk_name, event_time, float32, pack, pack_wide, unpack)
from wire_proves import proves

DAY = 86400


def entries_packed(entries):
    return b"".join(map(pack, entries))


class WireTest(unittest.TestCase):
    """Tests that share a tallyd; each has subjects of its own."""

    arguments = ()

    @classmethod
    def setUpClass(cls):
        cls.server = Server(*cls.arguments)
        cls.addClassCleanup(cls.server.__exit__, None, None, None)
        cls.server.begin()
        for name in ("sum", "count"):
            cls.server.tally(
                "meter", "add", name, "--event-type", "api_call", "--aggregation", name)

    def subject(self):
        return self.id().rsplit(".", 1)[1]

    def counted(self, count, subject=None):
        self.assertEqual(self.server.usage("count", subject or self.subject()), str(count))

    def record(self, **members):
        return {"subject": self.subject(), **members}

    def fine(self, record, time=None, tag="api_call"):
        answer = self.server.results([[time, record]], tag)
        self.assertEqual((answer["rejected"], answer["conflicts"]), ([], []), record)
        return answer

    def same(self, *records):
        """The records have one identity and one payload."""
        for number, record in enumerate(records):
            self.assertEqual(self.fine(record)["duplicates"], min(number, 1), record)

    def acked(self, message):
        """A message in full, whose chunk is c."""
        self.assertEqual(self.server.ask(message), {"ack": "c"}, message)


class Connecting(WireTest):
    @proves("W10", "W11")
    def test_addresses_are_where_the_options_say(self):
        for _ in range(5):  # another program may take the port first
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                address = f"127.0.0.1:{probe.getsockname()[1]}"
            server = Server("--tcp", address)
            try:
                with server:
                    said = server.tallyd()
                    self.assertEqual((said["tcp"], said["udp"]), (address, address))
                    self.assertEqual(server.ask(["t", [], {"chunk": "c"}]), {"ack": "c"})
                break
            except AssertionError:
                if "in use" not in server.log():
                    raise
        with Server("--udp", "127.0.0.2:0") as server:
            self.assertRegex(server.tallyd()["udp"], r"^127\.0\.0\.2:\d+$")

    @proves("W12")
    def test_unix_socket(self):
        path = self.server.tallyd()["unix"]
        self.assertEqual(os.path.realpath(path),
                         os.path.realpath(os.path.join(self.server.data, "tallyd.sock")))
        with self.server.connect_unix() as wire:
            self.assertEqual(wire.ask(["t", [], {"chunk": "c"}]), {"ack": "c"})
        with Server("--unix", "other.sock") as server:
            self.assertEqual(os.path.basename(server.tallyd()["unix"]), "other.sock")
            with server.connect_unix() as wire:
                self.assertEqual(wire.ask(["t", [], {"chunk": "c"}]), {"ack": "c"})

    @proves("W13")
    def test_the_file_of_addresses_is_there_while_it_runs(self):
        with Server() as server:
            path = os.path.join(server.data, "tallyd.json")
            with open(path, encoding="utf-8") as file:
                said = json.load(file)
            self.assertLessEqual({"tcp", "udp", "unix"}, set(said))
            server.end()
            self.assertFalse(os.path.exists(path))

    @proves("W14", "W34", "W52")
    def test_nothing_is_said_but_acks(self):
        with self.server.connect() as wire:
            wire.write(pack(None))
            wire.write(pack(["api_call", [[None, self.record()]]]))
            wire.write(pack(["api_call", None, self.record(), {"size": 1}]))
            self.assertEqual(wire.ask(["t", [], {"chunk": "c"}]), {"ack": "c"})
        self.counted(2)

    @proves("W15", "W40")
    def test_messages_follow_one_another(self):
        chunks = ["x", "y" * 255] + [chunk_name() for _ in range(50)]
        with self.server.connect() as wire:
            wire.write(b"".join(
                pack(["api_call", [[None, self.record()]], {"chunk": chunk}]) for chunk in chunks))
            self.assertEqual(sorted(wire.read()["ack"] for _ in chunks), sorted(chunks))
        self.counted(len(chunks))

    @proves("W16")
    def test_a_client_may_shut_its_sending_side(self):
        with self.server.connect() as wire:
            wire.write(pack(["api_call", [[None, self.record()]], {"chunk": "c"}]))
            wire.socket.shutdown(socket.SHUT_WR)
            self.assertEqual(wire.read(), {"ack": "c"})
            self.assertTrue(wire.is_ended())

    @proves("W17")
    def test_pieces_of_any_size(self):
        message = pack(["api_call", [[None, self.record()]], {"chunk": "c"}])
        with self.server.connect() as wire:
            wire.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for at in range(len(message)):
                wire.write(message[at:at + 1])
            self.assertEqual(wire.read(), {"ack": "c"})
            wire.write(message[:-1])
            wire.socket.shutdown(socket.SHUT_WR)
            self.assertTrue(wire.is_ended())
        self.counted(1)

    @proves("W18", "W19")
    def test_tls(self):
        message = pack(["t", [], {"chunk": "c"}])
        with Server() as server:
            ours, theirs = (support.certificate_make(server.folder, name)
                            for name in ("server", "client"))
            server.end()
            server.arguments = ("--tls-cert", ours.certificate, "--tls-key", ours.key)
            server.begin()
            for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
                context = ssl.create_default_context(cafile=ours.certificate)
                context.minimum_version = context.maximum_version = version
                with Wire(server.address(), context) as wire:
                    self.assertEqual(wire.ask(message), {"ack": "c"})
            with server.connect() as plain:
                plain.write(message)
                self.assertNotEqual(plain.read_raw(), pack({"ack": "c"}))
            server.end()
            server.arguments += ("--tls-client-ca", theirs.certificate)
            server.begin()
            context = ssl.create_default_context(cafile=ours.certificate)
            with Wire(server.address(), context) as wire:
                wire.write(message)
                self.assertTrue(wire.is_ended())
            context.load_cert_chain(theirs.certificate, theirs.key)
            with Wire(server.address(), context) as wire:
                self.assertEqual(wire.ask(message), {"ack": "c"})

    @proves("W18", "W138")
    def test_no_tls(self):
        sent = ssl.MemoryBIO()
        hello = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), sent, server_hostname="x")
        with self.assertRaises(ssl.SSLWantReadError):
            hello.do_handshake()
        with self.server.connect() as wire:
            wire.write(sent.read())
            self.assertTrue(wire.is_ended())
        self.assertIn("a TLS handshake, and this listener has no TLS", self.server.log())


class Messages(WireTest):
    @proves("W20")
    def test_wide_forms(self):
        record = self.record(id="wide", value=7, flag=True, none=None, list=[1, {"a": 2}])
        self.acked(pack_wide(["api_call", [[None, record]], {"chunk": "c"}]))
        self.same(record | {"id": "narrow"}, record | {"id": "narrow"})
        self.assertEqual(self.fine(record)["duplicates"], 1)
        for data in (b"\xcc\x07", b"\xcd\x00\x07", b"\xce\0\0\0\x07", b"\xcf" + b"\0" * 7 + b"\x07",
                     b"\xd0\x07", b"\xd1\x00\x07", b"\xd2\0\0\0\x07", b"\xd3" + b"\0" * 7 + b"\x07",
                     float32(7), b"\xd9\x017", b"\xda\0\x017", b"\xdb\0\0\0\x017",
                     b"\xc4\x017", b"\xc5\0\x017", b"\xc6\0\0\0\x017"):
            self.assertEqual(self.fine(record | {"value": Raw(data)})["duplicates"], 1, data)
        exts = [bytes([tag, 5]) + b"e" * size for tag, size in
                ((0xd4, 1), (0xd5, 2), (0xd6, 4), (0xd7, 8), (0xd8, 16))]
        exts += [b"\xc7\x03\x05eee", b"\xc8\0\x03\x05eee", b"\xc9\0\0\0\x03\x05eee"]
        self.fine(self.record(exts=[Raw(ext) for ext in exts]))

    @proves("W21")
    def test_texts_are_str_or_bin(self):
        record = self.record(id="i", type="api_call")
        bins = {key.encode(): value.encode() for key, value in record.items()}
        self.assertEqual(self.server.ask([b"tag", [[None, bins]], {b"chunk": b"c"}]), {"ack": b"c"})
        self.assertEqual(self.fine(record)["duplicates"], 1)
        self.fine({"subject": Raw(b"\xa2\xff\xfe"), "type": Raw(b"\xa2\xff\xfe")})

    @proves("W22", "W222")
    def test_depth_of_a_message(self):
        def message(depth):
            # The message and its option are two.
            nested = Raw(b"\x91" * (depth - 2) + b"\xc0")
            return pack(["t", [], {"chunk": "c", "other": nested}])
        self.acked(message(32))
        with self.server.connect() as wire:
            wire.write(message(33))
            self.assertTrue(wire.is_ended())

    @proves("W23", "W50")
    def test_answers_are_short(self):
        for chunk in ("c", b"c", "y" * 31, "y" * 32, "y" * 255, b"y" * 255):
            for form in (pack, pack_wide):
                with self.server.connect() as wire:
                    wire.write(form(["t", [], {"chunk": chunk}]))
                    self.assertEqual(wire.read_raw(), pack({"ack": chunk}))
        entries = [[None, {}]] * 300
        with self.server.connect() as wire:
            wire.write(pack(["t", entries, {"chunk": "c", "tally": {"results": True}}]))
            raw = wire.read_raw()
        self.assertEqual(raw, pack(unpack(raw)[0]))

    def taken(self, count, *parts, **option):
        """The message counts so many events: with a chunk, without an option, with nil."""
        chunk = chunk_name()
        option = {"chunk": chunk, "tally": {"results": True}, **option}
        self.assertEqual(self.server.ask(["api_call", *parts, option]), {
            "ack": chunk, "duplicates": 0, "rejected": [], "conflicts": []})
        if "compressed" in option:
            return count
        with self.server.connect() as wire:
            wire.write(pack(["api_call", *parts]) + pack(["api_call", *parts, None]))
            self.assertEqual(wire.ask(["t", [], {"chunk": "c"}]), {"ack": "c"})
        return 3 * count

    @proves("W30", "W31", "W32", "W33", "W35", "W39", "W59")
    def test_modes(self):
        entries = [[None, self.record(number=number)] for number in range(20)]
        packed = entries_packed(entries)
        members = b"".join(gzip.compress(pack(entry)) for entry in entries)
        size = struct.pack(">I", len(packed))
        self.assertGreater(len(packed), 255)
        count = self.taken(1, *entries[0])
        for some in (entries[:1], entries, Raw(pack_wide(entries))):
            count += self.taken(1 if len(some) == 1 else 20, some)
        for some in (packed, Raw(b"\xc6" + size + packed), Raw(b"\xda" + size[2:] + packed),
                     Raw(b"\xdb" + size + packed)):
            count += self.taken(20, some)
        count += self.taken(1, pack(entries[0]))
        for some in (gzip.compress(packed), members, Raw(b"\xda" + struct.pack(
                ">H", len(members)) + members)):
            count += self.taken(20, some, compressed="gzip")
        support.wait_for("all of them",
                         lambda: self.server.usage("count", self.subject()) == str(count))

    @proves("W31", "W32", "W33", "W42")
    def test_as_fluentd_and_fluent_bit_send(self):
        """Options and forms as in their sources: str 32 and "text", a digest as chunk."""
        now = int(time.time())
        entries = [[event_time(now, number), self.record(id=f"i-{number}")] for number in range(9)]
        packed = entries_packed(entries)
        members = b"".join(gzip.compress(pack(entry)) for entry in entries)
        base64, digest = "WQp0ZXN0IGNodW5rIGlkCg==\n", "0123456789abcdef" * 2
        for data, compressed in ((packed, "text"), (members, "gzip")):
            text = Raw(b"\xdb" + struct.pack(">I", len(data)) + data)
            self.assertEqual(self.server.ask(["api_call", text, {
                "size": 9, "compressed": compressed, "chunk": base64}]), {"ack": base64})
        for data, option in ((entries, {}), (gzip.compress(packed), {"compressed": "gzip"})):
            self.assertEqual(self.server.ask(["api_call", data, {
                "chunk": digest, "size": 9, **option}]), {"ack": digest})
        self.counted(9)

    @proves("W36")
    def test_no_entries(self):
        for parts in ([[]], [b""], [""]):
            self.acked(["t", *parts, {"chunk": "c"}])

    @proves("W37")
    def test_metadata(self):
        record = self.record(id="i")
        self.assertEqual(self.fine(record, time=[event_time(int(time.time())), {"a": {"b": 1}}])
                         ["duplicates"], 0)
        self.assertEqual(self.fine(record)["duplicates"], 1)

    @proves("W38", "W61")
    def test_the_tag_is_a_missing_type(self):
        record = self.record(id="i")
        self.fine(record, tag="of the tag")
        self.assertEqual(self.fine(record | {"type": "of the tag"}, tag="another")
                         ["duplicates"], 1)
        self.fine(self.record(type="t" * 100), tag="")
        self.fine(self.record(), tag="t" * 100)


class Options(WireTest):
    @proves("W41", "W46", "W47", "W48")
    def test_what_says_nothing(self):
        for option in ({}, {"size": 12}, {"size": "many"}, {"size": [1]}, {"other": {"a": [1]}},
                       {"compressed": None}, {"tally": None}, {"tally": {}},
                       {"tally": {"results": None, "backfill": None, "other": [1]}}):
            self.acked(["api_call", [[None, self.record()]], {"chunk": "c", **option}])
        with self.server.connect() as wire:
            wire.write(pack(["api_call", [[None, self.record()]], {"chunk": None}]))
            self.assertEqual(wire.ask(["t", [], {"chunk": "c"}]), {"ack": "c"})
        self.counted(2)

    @proves("W42")
    def test_compressed(self):
        packed = pack([None, self.record(id="i")])
        self.acked(["api_call", packed, {"chunk": "c", "compressed": "text"}])
        self.acked(["api_call", [[None, self.record(id="j")]],
                    {"chunk": "c", "compressed": "gzip"}])
        self.acked(["api_call", None, self.record(id="k"), {"chunk": "c", "compressed": "gzip"}])
        self.counted(3)

    @proves("W43", "W44", "W56")
    def test_results(self):
        entries = [[None, self.record(id="a")], [None, {}], [None, self.record(id="a", value=2)],
                   [None, self.record(id="a")], [None, self.record(subject="")]]
        answer = self.server.results(entries)
        self.assertEqual(set(answer), {"ack", "duplicates", "rejected", "conflicts"})
        self.assertEqual(answer["duplicates"], 1)
        self.assertEqual(sorted(answer["rejected"]), [
            [1, "subject missing"], [4, "subject is not a string of 1-255 bytes"]])
        self.assertEqual(answer["conflicts"], [2])
        self.acked(["api_call", entries, {"chunk": "c", "tally": {"results": False}}])

    @proves("W45", "W85", "W161")
    def test_backfill(self):
        old = [[int(time.time()) - 400 * DAY, self.record()]]
        for name in ("b", "b" * 100):
            message = ["api_call", old, {
                "chunk": chunk_name(), "tally": {"results": True, "backfill": name}}]
            with self.server.connect_unix() as wire:
                self.assertEqual(wire.ask(message)["rejected"], [[0, "backfill is not open"]])
                self.server.tally("ledger", "backfill", "open", "--id", name, "--who", "ann")
                self.assertEqual(wire.ask(message)["rejected"], [])
            self.assertEqual(self.server.ask(message)["rejected"],
                             [[0, "backfill not permitted"]])
        message = ["api_call", old, {"chunk": chunk_name(), "tally": {"results": True}}]
        with self.server.connect_unix() as wire:
            self.assertEqual(wire.ask(message)["rejected"], [[0, "time too old"]])
        self.counted(2)

    @proves("W243", "W244")
    def test_a_backfill_is_opened_closed_and_reverted(self):
        def send(number):
            with self.server.connect_unix() as wire:
                return wire.ask(["api_call", [[1, self.record(id=f"e{number}")]], {
                    "chunk": chunk_name(), "tally": {"results": True, "backfill": name}}])

        def change(act, code=0):
            return self.server.tally("ledger", "backfill", act, "--id", name, "--who", "ann",
                                     "--why", "a test", code=code)

        for name in ("first", "second"):
            self.assertEqual(send(1)["rejected"], [[0, "backfill is not open"]])
            self.assertEqual(change("open").strip(), name)
            self.assertEqual(send(1)["rejected"], [])
            change("close")
            self.assertEqual(send(1)["duplicates"], 1)
            self.assertEqual(send(2)["rejected"], [[0, "backfill is not open"]])
            self.counted(1)
            self.assertEqual(change("revert").strip(), "1 events")
            self.assertEqual(send(1)["rejected"], [[0, "backfill is not open"]])
            self.counted(0)
            change("revert", code=1)
            change("open", code=1)
        listed = json.loads(self.server.tally("ledger", "backfill", "list", "--format", "json"))
        self.assertEqual(
            [(one["id"], one["state"], one["events"], one["reverted_events"],
              one["reverted"]["why"]) for one in listed["backfills"]],
            [("first", "reverted", 1, 1, "a test"), ("second", "reverted", 1, 1, "a test")])


class Acks(WireTest):
    @proves("W51", "W55")
    def test_what_was_acked_is_known_after_a_crash(self):
        with Server() as server:
            entries = [[None, self.record(number=number)] for number in range(500)]
            message = ["api_call", entries, {"chunk": "c", "tally": {"results": True}}]
            self.assertEqual(server.ask(message)["duplicates"], 0)
            server.end(signal.SIGKILL)
            server.begin()
            self.assertEqual(server.ask(message)["duplicates"], len(entries))

    @proves("W53")
    def test_acks_in_another_order(self):
        with self.server.connect() as wire:
            # The first waits for the disk, of the second nothing has to be stored.
            wire.write(pack(["api_call", [[None, self.record()]], {"chunk": "stored"}])
                       + pack(["api_call", [], {"chunk": "empty"}]))
            self.assertEqual([wire.read()["ack"] for _ in range(2)], ["empty", "stored"])

    @proves("W54")
    def test_without_an_ack_it_may_have_counted(self):
        with self.server.connect() as wire:
            wire.write(pack(["api_call", [[None, self.record()]], {"chunk": "c"}]))
        support.wait_for("the event of a client that is gone",
                         lambda: self.server.usage("count", self.subject()) == "1")
        with self.server.connect() as wire:
            wire.write(pack(["api_call", [[None, self.record()], 7], {"chunk": ""}]))
            self.assertTrue(wire.is_ended())
        self.counted(1)

    @proves("W57", "W225")
    def test_long_lists_are_cut(self):
        self.fine(self.record(id="i"))
        for count in (1000, 1001, 2500):
            answer = self.server.results([[None, {}]] * count)
            self.assertEqual(sorted(answer["rejected"]),
                             [[index, "subject missing"] for index in range(1000)])
            self.assertEqual(answer.get("rejected_count"), count if count > 1000 else None)
            answer = self.server.results([[None, self.record(id="i", value=2)]] * count)
            self.assertEqual(len(set(answer["conflicts"])), 1000)
            self.assertEqual(answer.get("conflicts_count"), count if count > 1000 else None)

    @proves("W58")
    def test_the_same_answer_again(self):
        self.fine(self.record(id="i"))
        entries = [[None, {}], [None, self.record(id="i", value=2)]]
        for _ in range(2):
            answer = self.server.results(entries)
            self.assertEqual(answer["rejected"], [[0, "subject missing"]])
            self.assertEqual(answer["conflicts"], [1])


class Events(WireTest):
    @proves("W60", "W62", "W63", "W215", "W216", "W217", "W218", "W105", "W106", "W107", "W108")
    def test_texts(self):
        for key, least, most in (("subject", 1, 255), ("type", 1, 100), ("id", 1, 128),
                                 ("source", 0, 255)):
            said = f"{key} is not a string of {least}-{most} bytes"
            for size in (least, most):
                self.fine(self.record(**{key: "x" * size}))
            sizes = [most + 1] + [least - 1] * (least > 0)
            for value in ["x" * size for size in sizes] + [5, 1.5, True, [], {}]:
                self.assertEqual(self.server.reason(self.record(**{key: value})), said)
        self.assertEqual(self.server.reason({}), "subject missing")
        for tag in ("", "t" * 101):
            self.assertEqual(self.server.reason(self.record(), tag=tag),
                             "type is not a string of 1-100 bytes")

    @proves("W64")
    def test_value(self):
        for record in (self.record(), self.record(value=2), self.record(value=0.5),
                       self.record(value="0.25"), self.record(value=b"-1")):
            self.fine(record)
        self.assertEqual(self.server.usage("sum", self.subject()), "2.75")
        self.counted(5)

    @proves("W65")
    def test_properties(self):
        self.server.tally("meter", "add", "by", "--event-type", "api_call", "--aggregation",
                          "count", "--dimension", "region=$.region", "--dimension", "deep=$.a.b")
        self.fine(self.record(
            region="eu", a={"b": "x"}, n=None, t=True, f=1.5, i=-1, list=[1, [2]], time="now",
            blob=b"\x00\x01", ext=event_time(1)))
        rows = json.loads(self.server.tally(
            "usage", "--meter", "by", "--subject", self.subject(), "--group-by", "region",
            "--group-by", "deep", "--format", "json"))["rows"]
        self.assertEqual(len(rows), 1)
        self.assertLessEqual({"eu", "x"}, set(str(rows[0]).replace("'", " ").split()), rows)

    @proves("W66", "W104")
    def test_nil_is_absent(self):
        record = self.record(type=None, id=None, source=None, value=None)
        self.fine(record)
        self.fine(record)
        self.counted(2)
        self.assertEqual(self.server.usage("sum", self.subject()), "2")
        self.assertEqual(self.server.reason({"subject": None}), "subject missing")

    @proves("W67", "W102", "W103")
    def test_keys(self):
        for key in (1, None, True, 1.5):
            pair = Raw(b"\x82\xa7subject\xa1s" + pack(key) + b"\x01")
            self.assertEqual(self.server.reason(pair), "a key is not a string")
            nested = self.record(p=[{"a": Raw(b"\x81" + pack(key) + b"\x01")}])
            self.assertEqual(self.server.reason(nested), "a key is not a string")
        for key in ("subject", "type", "id", "source", "value"):
            twice = pack(key) + pack("1")
            first = b"" if key == "subject" else pack("subject") + pack("s")
            count = 2 if key == "subject" else 3
            record = Raw(bytes([0x80 | count]) + first + twice + twice)
            self.assertEqual(self.server.reason(record), "a reserved key is given twice")
        self.fine(Raw(b"\x83\xa7subject\xa1s\xa1p\x01\xa1p\x02"))

    @proves("W245")
    def test_properties_under_the_key_zero(self):
        data = pack({"value": 5, "type": "t", "subject": "x", "id": 7, "region": "eu"})
        self.fine(Raw(b"\x82\xa7subject" + pack(self.subject()) + b"\x00" + data))
        self.counted(1)
        zero = b"\xa7subject\xa1s\x00"
        self.assertEqual(self.server.reason(Raw(b"\x82" + zero + b"\x01")), "record is not a map")
        self.assertEqual(self.server.reason(Raw(b"\x82" + zero + b"\x81\x01\x01")),
                         "a key is not a string")
        self.assertEqual(self.server.reason(Raw(b"\x83" + zero + b"\x80\x00\x80")),
                         "a reserved key is given twice")

    @proves("W68", "W113", "W221")
    def test_depth_of_a_property(self):
        for container in (b"\x91", b"\x81\xa1k"):
            self.fine(self.record(p=Raw(container * 8 + b"\x01")))
            self.assertEqual(self.server.reason(self.record(p=Raw(container * 9 + b"\x01"))),
                             "properties nested too deep")

    @proves("W69", "W114", "W219")
    def test_size(self):
        room = 65536 - len(pack(self.record(p="x" * 300))) + 300
        room -= 2 * (room > 65535)
        record = self.record(p="x" * room)
        self.assertEqual(len(pack(record)), 65536)
        self.fine(record)
        self.assertEqual(self.server.reason(self.record(p="x" * (room + 1))),
                         "event larger than 64 KiB")

    def sums(self, values, total):
        for value in values:
            self.fine(self.record(value=value))
        self.assertEqual(self.server.usage("sum", self.subject()), total)

    @proves("W70", "W110")
    def test_quantities_are_exact(self):
        self.sums(["9999999999999999999.999999999999999999", "0.000000000000000001",
                   -9223372036854775808, "-9999999999999999999.999999999999999999",
                   9223372036854775807, Raw(b"\xcf" + struct.pack(">Q", 9999999999999999999))],
                  "9999999999999999998.000000000000000001")
        for value in ("10000000000000000000", "-1e19", 1e19, -1e300, float32(1e20),
                      Raw(b"\xcf" + struct.pack(">Q", 10 ** 19))):
            self.assertEqual(self.server.reason(self.record(value=value)), "value out of range")

    @proves("W71")
    def test_floats_are_the_shortest_decimal(self):
        self.sums([0.1, float32(0.1), 1e-7, 0.1, 0.2, 123456.789], "123457.2890001")

    @proves("W72")
    def test_digits_beyond_the_eighteenth(self):
        self.sums(["0.0000000000000000005", "0.0000000000000000015", "-0.0000000000000000025",
                   "0.1000000000000000006", 1e-30], "0.100000000000000001")

    @proves("W73")
    def test_decimal_text(self):
        self.sums(["+1.5e2", "1e-2", "-2E+1", "007"], "137.01")
        for value in ("", " 1", "1 ", "1,5", "0x10", "1e", "e5", ".", "--1", "1_000", "one"):
            self.assertEqual(self.server.reason(self.record(value=value)),
                             "value is not a number", value)

    @proves("W74", "W109")
    def test_what_is_no_number(self):
        for value in (float("nan"), float("inf"), float("-inf"), float32(float("nan")), "NaN",
                      "inf", True, [], {}, event_time(1)):
            self.assertEqual(self.server.reason(self.record(value=value)),
                             "value is not a number", value)

    def used_between(self, since, until):
        stamp = [time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at)) for at in (since, until)]
        return self.server.usage("count", self.subject(), "--from", stamp[0], "--to", stamp[1])

    @proves("W80", "W81", "W82")
    def test_forms_of_time(self):
        quarter = int(time.time()) // 900 * 900 - 10 * DAY
        times = [event_time(quarter, 999999999), event_time(quarter + 1, 0, b"\xc7\x08\x00"),
                 quarter + 2, quarter + 3.25, float32(quarter // 2 ** 20 * 2 ** 20)]
        for at in times[:4]:
            self.fine(self.record(), time=at)
        self.assertEqual(self.used_between(quarter, quarter + 900), "4")
        self.fine(self.record(), time=times[4])

    @proves("W83")
    def test_the_time_of_arrival(self):
        since = int(time.time()) // 900 * 900
        for at in (None, 0, 0.0, event_time(0)):
            self.fine(self.record(), time=at)
        until = int(time.time()) // 900 * 900 + 900
        self.assertEqual(self.used_between(since, until), "4")

    @proves("W84", "W111", "W112")
    def test_range_of_time(self):
        for at in ("now", True, [], [1, 2], {}, event_time(1, 10 ** 9), Raw(b"\xd6\x00" + b"t" * 4),
                   Raw(b"\xd7\x01" + b"t" * 8), float("nan")):
            self.assertEqual(self.server.reason(self.record(), time=at),
                             "time is not EventTime, integer, float or nil", at)
        for at in (-1, -0.5, 2 ** 63, 9223372037, 9.3e9, 1e300):
            self.assertEqual(self.server.reason(self.record(), time=at),
                             "time before 1970 or after 2262", at)

    @proves("W85", "W117", "W118", "W213", "W214")
    def test_clock(self):
        now = int(time.time())
        self.fine(self.record(), time=now - 35 * DAY + 600)
        self.fine(self.record(), time=now + 240)
        self.assertEqual(self.server.reason(self.record(), time=now - 35 * DAY - 600),
                         "time too old")
        self.assertEqual(self.server.reason(self.record(), time=now + 3600), "time too far ahead")
        with Server("--past", "1h", "--future", "2h") as server:
            self.assertIsNone(server.reason(self.record(), time=now + 3600))
            self.assertEqual(server.reason(self.record(), time=now - 4000), "time too old")


class Identity(WireTest):
    @proves("W90", "W93")
    def test_by_id(self):
        record = self.record(id="i")
        self.assertEqual(self.fine(record)["duplicates"], 0)
        self.assertEqual(self.fine(record, time=int(time.time()) - DAY)["duplicates"], 1)
        for other in ({"source": "s"}, {"id": "j"}, {"subject": "another"}):
            self.assertEqual(self.fine(record | other)["duplicates"], 0, other)
        self.counted(3)

    @proves("W91")
    def test_by_chunk_and_place(self):
        entries = [[None, self.record(number=number)] for number in range(3)]
        chunk = chunk_name()
        self.assertEqual(self.server.results(entries, chunk=chunk)["duplicates"], 0)
        self.assertEqual(self.server.results(entries, chunk=chunk)["duplicates"], 3)
        answer = self.server.results(entries[::-1], chunk=chunk)
        self.assertEqual((answer["duplicates"], sorted(answer["conflicts"])), (1, [0, 2]))
        self.assertEqual(self.server.results(entries)["duplicates"], 0)
        self.assertEqual(self.server.results(
            [[None, self.record(source="s")]], chunk=chunk)["duplicates"], 0)
        self.counted(7)

    @proves("W92")
    def test_without_both(self):
        message = pack(["api_call", [[None, self.record()]]])
        with self.server.connect() as wire:
            wire.write(3 * message)
            self.assertEqual(wire.ask(["t", [], {"chunk": "c"}]), {"ack": "c"})
        support.wait_for("three events",
                         lambda: self.server.usage("count", self.subject()) == "3")

    @proves("W94")
    def test_conflicts(self):
        record = self.record(id="i", value=1, a=1, b=2.0, c="1", d=b"1", m={"x": 1, "y": 2})
        swapped = {"m": {"y": 2, "x": 1}} | dict(reversed(record.items()))
        wide = record | {"a": Raw(b"\xd3" + b"\0" * 7 + b"\x01")}
        self.same(record, swapped, wide, *(record | {"value": value} for value in
                                          (1.0, "1", "1.000", float32(1))))
        for other in ({"type": "other"}, {"value": 2}, {"a": 1.0}, {"a": "1"}, {"b": 2},
                      {"c": b"1"}, {"d": "1"}, {"m": {"x": 2, "y": 1}}, {"new": None}):
            answer = self.server.results([[None, record | other]])
            self.assertEqual((answer["conflicts"], answer["duplicates"]), ([0], 0), other)
        self.counted(1)

    @proves("W95")
    def test_a_known_event_is_never_too_old(self):
        record = self.record(id="i")
        self.fine(record)
        self.assertEqual(self.fine(record, time=1)["duplicates"], 1)
        self.assertEqual(self.server.reason(self.record(id="j"), time=1), "time too old")


if __name__ == "__main__":
    unittest.main(verbosity=2)
