"""Charges of single events and of levels that last: imported, corrected, billed by a real run, and
held against Python fractions of the same events (the oracle of tests/billing)."""

import csv
import datetime
import json
import os
import random
import sys
import unittest
from fractions import Fraction

import support

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "billing"))
import price_oracle_test as oracle  # pylint: disable=wrong-import-position

FROM = datetime.datetime(2023, 11, 1)
NEXT = datetime.datetime(2023, 12, 1)
AFTER = datetime.datetime(2024, 1, 1)
CUT = datetime.datetime(2023, 11, 20)
DAYS = 30
BEFORE = datetime.datetime(2023, 10, 3)

PAY = {"rate": "1.3", "fixed": "2", "free_events": 3, "free_amount": "250"}
CARD = {"rate": "2.99", "fixed": "0.1", "min": "1.75", "max": "12", "free_events": 2}
TIERS = [("5", "10", "100"), ("12.5", "5", "50"), (None, "2.5", "0.333")]
PARTS = [("1000", {"first": ".12", "third": ".15", "default": ".2"}),
         (None, {"first": ".06", "third": ".08", "default": ".1"})]
METERS = ["pay", "card", "call", "part", "w_standard", "w_volume", "p_standard", "p_graduated",
          "p_volume"]
# The same events, each paid when it comes.
ADVANCE = ["a_pay", "a_card", "a_call", "a_part", "a_tiers"]


def tiers():
    return {"tiers": [{"to": to, "unit": unit, "flat": flat} for to, unit, flat in TIERS]}


def rows():
    return [(None if to is None else Fraction(to), Fraction(unit), Fraction(flat))
            for to, unit, flat in TIERS]


def event_type(meter):
    return "part" if meter == "a_tiers" else meter.removeprefix("a_")


def catalogue():
    def charge(key, model, params, **more):
        return {"key": key, "name": key, "meter": key, "model": model, "params": params, **more}
    parts = [{"to": to, "prices": {key: "0" + price for key, price in prices.items()}}
             for to, prices in PARTS]
    charges = [
        charge("pay", "percentage", PAY),
        charge("card", "percentage", CARD, maximum="40"),
        charge("call", "dynamic", {}, price_property="$.price"),
        charge("part", "custom_fold", {"tiers": parts}, dimension="party"),
        charge("w_standard", "standard", {"amount": "3.7"}, recurring="weighted"),
        charge("w_volume", "volume", tiers(), recurring="weighted"),
        charge("p_standard", "standard", {"amount": "3.7"}, recurring="prorated"),
        charge("p_graduated", "graduated", tiers(), recurring="prorated", minimum="101"),
        charge("p_volume", "volume", tiers(), recurring="prorated"),
    ]
    advance = {"pay_in_advance": True}
    charges += [
        charge("a_pay", "percentage", PAY, **advance),
        charge("a_card", "percentage", CARD, maximum="40", **advance),
        charge("a_call", "dynamic", {}, price_property="$.price", **advance),
        charge("a_part", "custom_fold", {"tiers": parts}, dimension="party", **advance),
        charge("a_tiers", "graduated", tiers(), free_units="3.5", **advance),
    ]
    meters = [{"key": key, "event_type": event_type(key),
               "aggregation": "count" if key.endswith("call") else "sum"}
              for key in METERS + ADVANCE]
    for meter in meters:
        if meter["key"].endswith("part"):
            meter["dimensions"] = {"party": "$.party"}
    return {"currency": "USD", "meters": meters,
            "plans": [{"key": "all", "name": "All", "charges": charges}]}


# ---- events

def events_make(rng, subjects):
    """Each has a time of its own, so that its place among the others is known."""
    events = []
    span = int((AFTER - BEFORE).total_seconds()) + 5 * 86400
    seconds = rng.sample(range(span), 640)
    for i, second in enumerate(seconds):
        meter = rng.choice(METERS)
        value = Fraction(rng.randrange(1, 3000), rng.choice((1, 10, 100)))
        if meter[1] == "_":
            value = Fraction(rng.randrange(-3, 8))
        if meter == "part":
            value = Fraction(rng.randrange(-20, 300), 2)
        events.append({
            "id": f"e{i}", "subject": rng.choice(subjects), "type": meter, "value": value,
            "time": BEFORE + datetime.timedelta(seconds=second, microseconds=i),
            "price": Fraction(rng.randrange(0, 100000), 1000),
            "party": rng.choice(("first", "third", "other", ""))})
    return events


def events_write(path, events):
    with open(path, "w", newline="", encoding="utf-8") as file:
        out = csv.DictWriter(file, ["id", "subject", "type", "value", "time", "price", "party"])
        out.writeheader()
        out.writerow(Rating.broken)
        for event in events:
            out.writerow({**event, "value": oracle.text(event["value"]),
                          "price": oracle.text(event["price"]),
                          "time": event["time"].isoformat() + "Z"})


def events_correct(stack, rng, events):
    """Cancels some and amends the value of others."""
    for event in rng.sample([e for e in events if FROM <= e["time"] < NEXT], 12):
        who = ["--subject", event["subject"], "--id", event["id"], "--who", "ann", "--why", "test"]
        if rng.randrange(2):
            stack.tally("ledger", "cancel", *who)
            events.remove(event)
        else:
            event["value"] = Fraction(rng.randrange(1, 50))
            stack.tally("ledger", "amend", *who, "--value", oracle.text(event["value"]))


# ---- what they cost

def numbers(params):
    keys = ("rate", "fixed", "min", "max", "free_amount")
    return {"free_events": params.get("free_events", 0),
            **{key: Fraction(params[key]) if key in params else
               (None if key in ("min", "max") else Fraction(0)) for key in keys}}


def levels(events, until):
    initial = sum((e["value"] for e in events if e["time"] < FROM), Fraction(0))
    return initial, [e for e in events if FROM <= e["time"] < until]


def weighted(events, until):
    initial, inside = levels(events, until)
    def micros(since):
        return (until - since) // datetime.timedelta(microseconds=1)
    total = initial * micros(FROM) + sum(e["value"] * micros(e["time"]) for e in inside)
    return oracle.up(total / (DAYS * 86400 * 10 ** 6), 20)


def prorated(events, until):
    """Full amounts and what they count for, the level at the start first."""
    initial, inside = levels(events, until)
    full = [initial] + [e["value"] for e in inside]
    days = [(until - FROM).days] + [
        (until - e["time"].replace(hour=0, minute=0, second=0, microsecond=0)).days
        for e in inside]
    return full, [f * d / DAYS for f, d in zip(full, days)]


def expected(meter, events, until):
    """Exact quantity and amount."""
    events = sorted((e for e in events if e["type"] == meter), key=lambda e: e["time"])
    inside = [e for e in events if FROM <= e["time"] < until]
    values = [e["value"] for e in inside]
    total = sum(values, Fraction(0))
    if meter == "pay":
        return total, oracle.percentage(numbers(PAY), total, values)
    if meter == "card":
        return total, min(Fraction(40), oracle.percentage(numbers(CARD), total, values))
    if meter == "call":
        return Fraction(len(inside)), sum((e["price"] for e in inside), Fraction(0)) / 100
    if meter == "part":
        parts = [(None if to is None else Fraction(to),
                  {key: Fraction(price) for key, price in prices.items()}) for to, prices in PARTS]
        return total, oracle.custom_fold(
            parts, [(e["value"], e["party"]) for e in inside if e["value"] > 0])
    if meter[0] == "w":
        units = weighted(events, until)
        amount = (max(units, Fraction(0)) * Fraction("3.7") if meter == "w_standard"
                  else oracle.volume(rows(), units, units))
        return units, amount
    full, counted = prorated(events, until)
    units = oracle.up(sum(counted, Fraction(0)), 5)
    if meter == "p_standard":
        return units, max(units, Fraction(0)) * Fraction("3.7")
    if meter == "p_volume":
        return units, oracle.volume(rows(), units, max(sum(full, Fraction(0)), Fraction(0)))
    least = Fraction(101) * (until - FROM).days / DAYS
    return units, max(least, oracle.prorated_graduated(rows(), full, counted))


def advance_rate(meter):
    """The price of the first events of a period that count: [value, key, price] each."""
    if meter in ("a_pay", "a_card"):
        params = numbers(PAY if meter == "a_pay" else CARD)
        return lambda es: oracle.percentage(
            params, sum((e[0] for e in es), Fraction(0)), [e[0] for e in es])
    if meter == "a_call":
        return lambda es: sum((e[2] for e in es), Fraction(0)) / 100
    if meter == "a_part":
        parts = [(None if to is None else Fraction(to),
                  {key: Fraction(price) for key, price in prices.items()}) for to, prices in PARTS]
        return lambda es: oracle.custom_fold(parts, [(e[0], e[1]) for e in es])
    return lambda es: oracle.graduated(
        rows(), max(Fraction(0), sum((e[0] for e in es), Fraction(0)) - Fraction("3.5")))


def advance(meter, events, since, until, carried):
    """Each event's exact and billed fee, the units that counted, and what is carried on."""
    rate, counted, fees = advance_rate(meter), [], []
    level = high = paid = due = Fraction(0)
    exact, billed = carried, 0
    for event in sorted(events, key=lambda e: e["time"]):
        if event["type"] != event_type(meter) or not since <= event["time"] < until:
            continue
        value = Fraction(1) if meter == "a_call" else event["value"]
        level += value
        above = level - high if value > 0 else value
        high = max(high, level)
        fee = Fraction(0)
        if above > 0 or value == 0:
            counted.append((above, event["party"], event["price"]))
            now = rate(counted)
            fee, paid = max(Fraction(0), now - paid), now
            if meter == "a_card":
                fee = min(fee, 40 - due)
        due += fee
        exact += fee * 100
        total = (exact + Fraction(1, 2)).__floor__()
        fees.append((fee, Fraction(total - billed)))
        billed = total
    return fees, high, exact - billed


class Rating(unittest.TestCase):
    customers = {"alone": ["alone"], "ended": ["e-1", "e-2"], "many": ["m-1", "m-2", "m-3"],
                 "quiet": ["quiet"]}
    # Its one event has no price where the charge looks for it: it is named and waits.
    broken = {"id": "broken", "subject": "broken", "type": "call", "value": "1",
              "time": "2023-11-02T00:00:00Z"}

    def customers_make(self, stack):
        path = os.path.join(stack.folder, "catalog.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(catalogue(), file)
        stack.up()
        stack.tally("catalog", "apply", path)
        self.assertIn("unchanged", stack.tally("catalog", "apply", path))
        for customer, subjects in self.customers.items():
            stack.tally("customer", "add", customer, "--email", f"{customer}@example.com",
                        *[part for s in subjects for part in ("--subject", s)])
            until = ["--until", CUT.date()] if customer == "ended" else []
            stack.tally("subscribe", customer, "all", "--from", FROM.date(), *until)
        stack.tally("customer", "add", "broken")
        stack.tally("subscribe", "broken", "all", "--from", FROM.date())

    def lines_check(self, lines, events, customer):
        until = CUT if customer == "ended" else NEXT
        mine = [e for e in events if e["subject"] in self.customers[customer]]
        for meter in METERS:
            units, amount = expected(meter, mine, until)
            found = [line for line in lines if line[1] == meter]
            if units == 0 and amount == 0:
                self.assertEqual(found, [], (customer, meter))
                continue
            _, _, quantity, clamped, exact, minor = found[0]
            self.assertEqual(Fraction(quantity) + Fraction(clamped), oracle.printed(units),
                             (customer, meter))
            self.assertEqual(Fraction(exact), oracle.printed(amount), (customer, meter))
            self.assertEqual(int(minor), oracle.half_up(amount * 100), (customer, meter))

    def advance_check(self, stack, events, months):
        """The fees as the invoices record them, month after month."""
        for customer, subjects in self.customers.items():
            mine = [e for e in events if e["subject"] in subjects]
            carried = dict.fromkeys(ADVANCE, Fraction(0))
            for since, until in months:
                if customer == "ended":
                    until = min(until, CUT)
                found = stack.sql(
                    "SELECT charge, quantity, exact_amount, amount_minor, r.carried, r.remainder,"
                    " input FROM invoices i JOIN invoice_lines l ON l.invoice_id = i.id JOIN"
                    " charge_remainders r USING (invoice_id, charge) WHERE customer_id ="
                    f" '{customer}' AND period_start = '{since.isoformat()}Z'")
                found = {line[0]: line for line in found}
                for meter in ADVANCE:
                    fees, used, left = advance(meter, mine, since, until, carried[meter])
                    if not fees:
                        self.assertNotIn(meter, found, (customer, since))
                        continue
                    _, quantity, exact, minor, before, remainder, text = found.pop(meter)
                    recorded = [e[-2:] for charge in json.loads(text)["charges"]
                                if charge["charge"]["key"] == meter for e in charge["events"]]
                    self.assertEqual([(Fraction(e), Fraction(b)) for e, b in recorded], fees)
                    self.assertEqual(
                        [Fraction(x) for x in (quantity, exact, minor, before, remainder)],
                        [used, sum(f for f, _ in fees), sum(b for _, b in fees), carried[meter],
                         left], (customer, since, meter))
                    carried[meter] = left
                self.assertEqual(found, {}, (customer, since))

    def test_a_run_prices_single_events_and_levels(self):
        seed = 20231101
        rng = random.Random(seed)
        events = events_make(rng, [s for subjects in self.customers.values() for s in subjects
                                   if s != "quiet"])
        with support.Stack() as stack:
            self.customers_make(stack)
            path = os.path.join(stack.folder, "events.csv")
            events_write(path, events)
            stack.tally("import", path, "--properties", "--backfill")
            events_correct(stack, rng, events)
            # One customer is asked for alone, the others' events are read at once: both agree.
            alone = json.loads(stack.run(
                "tally-billing", "run", "--dry-run", "--period", "2023-11", "--customer", "many",
                "--format", "json").stdout)
            done = stack.run("tally-billing", "run", "--period", "2023-11", "--workers", "2",
                             "--chunk", 1, code=None)
            self.assertIn("call: an event of call at 2023-11-02T00:00:00Z has no price at $.price",
                          done.stdout + done.stderr)
            lines = stack.sql(
                "SELECT customer_id, charge, quantity, clamped_quantity, exact_amount, amount_minor"
                " FROM invoice_lines JOIN invoices ON invoices.id = invoice_id")
            for customer in self.customers:
                self.lines_check([line for line in lines if line[0] == customer], events, customer)
            invoices = stack.sql("SELECT id, customer_id, total_minor FROM invoices ORDER BY 2")
            self.assertEqual(len(invoices), len(self.customers))
            self.assertIn(f'"{dict((i[1], i[0]) for i in invoices)["many"]}"', json.dumps(alone))
            for invoice, customer, total in invoices:
                said = json.loads(stack.run(
                    "tally-billing", "explain", invoice, "--format", "json").stdout)
                self.assertEqual(
                    sum(int(line[5]) for line in lines if line[0] == customer), int(total))
                self.assertTrue(all(line["steps"] for line in said["explained"]), customer)
            # A second run finds nothing to do.
            stack.run("tally-billing", "run", "--period", "2023-11", code=None)
            self.assertEqual(
                stack.sql("SELECT id, customer_id, total_minor FROM invoices ORDER BY 2"), invoices)
            # What fees left goes on to the next month's.
            stack.run("tally-billing", "run", "--period", "2023-12", code=None)
            self.advance_check(stack, events, [(FROM, NEXT), (NEXT, AFTER)])
            for invoice, in stack.sql("SELECT id FROM invoices WHERE lines_count > 0"):
                stack.run("tally-billing", "explain", invoice)


if __name__ == "__main__":
    unittest.main(verbosity=2)
