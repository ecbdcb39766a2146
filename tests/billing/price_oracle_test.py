#!/usr/bin/env python3
"""Random prices against an oracle of Python fractions, written from the rules alone.

    price_oracle_test.py                      some thousands, as ctest runs it
    price_oracle_test.py --cases 100000 --seed 7

Bounds and quantities meet often and miss by 10^-18; prices have up to 18 decimals; quantities reach
10^18. Exact values must be equal to the last digit. Beside that: a larger quantity never costs less
where the model is monotone, and the parts of a split add up to the whole.
"""

import argparse
import calendar
import datetime
import json
import os
import random
import subprocess
import sys
from fractions import Fraction

TINY = Fraction(1, 10 ** 18)


# ---- numbers

def text(value):
    """A terminating fraction as plain digits."""
    value = Fraction(value)
    scale = 0
    while (value * 10 ** scale).denominator != 1:
        scale += 1
    digits = str(abs(int(value * 10 ** scale))).rjust(scale + 1, "0")
    whole, part = (digits[:-scale], digits[-scale:]) if scale else (digits, "")
    return ("-" if value < 0 else "") + whole + ("." + part if part else "")


def terminates(value):
    rest = value.denominator
    for factor in (2, 5):
        while rest % factor == 0:
            rest //= factor
    return rest == 1


def half_up(value, places=0):
    scaled = abs(value) * 10 ** places
    whole = (2 * scaled.numerator + scaled.denominator) // (2 * scaled.denominator)
    return Fraction(whole if value >= 0 else -whole, 10 ** places)


def up(value, places):
    return Fraction(-((-value.numerator * 10 ** places) // value.denominator), 10 ** places)


def printed(value):
    """What an exact value reads as: 20 places, half-even, when it does not end."""
    if terminates(value):
        return value
    return Fraction(round(value * 10 ** 20), 10 ** 20)


# ---- random parts

def price(rng):
    kind = rng.randrange(5)
    if kind == 0:
        return Fraction(0)
    if kind == 1:
        return Fraction(rng.randrange(1, 100))
    if kind == 2:
        return Fraction(rng.randrange(1, 10 ** 18), 10 ** 18)
    return Fraction(rng.randrange(1, 10 ** 9), 10 ** rng.randrange(0, 13))


def quantity(rng, bounds=()):
    kind = rng.randrange(8)
    if bounds and kind < 4:
        return rng.choice(bounds) + rng.choice((-1, 0, 0, 1)) * rng.choice((1, TINY, TINY * 10))
    if kind == 4:
        return Fraction(0)
    if kind == 5:
        return Fraction(rng.randrange(10 ** 17, 10 ** 18 + 1))
    if kind == 6:
        return -Fraction(rng.randrange(1, 10 ** 6), 10 ** rng.randrange(0, 7))
    return Fraction(rng.randrange(0, 10 ** 12), 10 ** rng.randrange(0, 13))


def bounds_of(rng, count):
    bounds, at = [], Fraction(0)
    for _ in range(count):
        at += rng.choice((TINY, Fraction(1, 10), Fraction(1), Fraction(rng.randrange(1, 10 ** 6)),
                          Fraction(rng.randrange(1, 10 ** 17))))
        bounds.append(at)
    return bounds


def tiers_of(rng, unit="unit"):
    bounds = bounds_of(rng, rng.randrange(0, 6))
    rows = [(bound, price(rng), rng.choice((Fraction(0), price(rng)))) for bound in bounds + [None]]
    params = [{"to": None if to is None else text(to), unit: text(p), "flat": text(flat)}
              for to, p, flat in rows]
    return bounds, rows, params


# ---- the rules

def graduated(rows, units, percent=False):
    if units < 0:
        return Fraction(0)
    total, low = Fraction(0), Fraction(0)
    for i, (to, unit, flat) in enumerate(rows):
        if i > 0 and units <= low:
            break
        inside = (units if to is None or units < to else to) - low
        total += inside * unit / (100 if percent else 1) + flat
        low = to
    return total


def volume(rows, units, by):
    if units < 0:
        return Fraction(0)
    for to, unit, flat in rows:
        if to is None or by <= to:
            return units * unit + flat
    raise AssertionError("the last tier is open")


def package(params, units):
    paid = units - params["free"]
    if paid <= 0 or units < 0:
        return params["amount"] if params["bill_min_one"] and units >= 0 else Fraction(0)
    return -(-paid // params["size"]) * params["amount"]


def percentage(p, units, events):
    """Section 2.5, or 2.6 with min or max; events are amounts."""
    if units < 0:
        return Fraction(0)
    if p["min"] is not None or p["max"] is not None:
        return max(Fraction(0), percentage_events(p, events))
    running, at = [], Fraction(0)
    for event in events:
        at += event
        running.append(at)
    if p["free_events"] > 0:
        running = running[:p["free_events"]]  # whichever limit runs out first
    limits = p["free_events"] > 0 or p["free_amount"] > 0
    if not running or running[-1] == 0 or not limits:
        free = Fraction(0)
    elif 0 < p["free_events"] < len(running):
        free = running[p["free_events"] - 1]
    elif p["free_amount"] == 0:
        free = running[-1]
    else:
        free = min(running[-1], p["free_amount"])
    counts = [c for c in (p["free_events"], sum(r < p["free_amount"] for r in running)) if c]
    paid_events = max(0, len(events) - (min(counts) if counts else 0))
    part = max(Fraction(0), units - free) * p["rate"] / 100
    return max(Fraction(0), part + (paid_events * p["fixed"] if units != 0 else 0))


def percentage_events(p, events):
    total, amount, count = Fraction(0), p["free_amount"], p["free_events"]
    for event in events:
        if amount > 0:
            count -= 1
            if event <= amount:
                amount -= event
                continue
            event, amount, count = event - amount, Fraction(0), 0
        elif count > 0:
            count -= 1
            continue
        fee = event * p["rate"] / 100 + p["fixed"]
        if p["min"] is not None:
            fee = max(fee, p["min"])
        if p["max"] is not None:
            fee = min(fee, p["max"])
        total += fee
    return total


def prorated_graduated(rows, full, prorated):
    level = high = Fraction(0)
    total = Fraction(0)
    for units, counted in zip(full, prorated):
        after = level + units
        low, top = min(level, after), max(level, after)
        begin = None
        for to, unit, _ in rows:
            a = low if begin is None else max(low, begin)
            b = top if to is None else min(top, to)
            if b > a:
                total += (b - a) / (top - low) * counted * unit
            begin = to
        level, high = after, max(high, after)
    total += sum(flat for i, (_, _, flat) in enumerate(rows) if i == 0 or high > rows[i - 1][0])
    return max(Fraction(0), total) if level >= 0 else Fraction(0)


def custom_fold(rows, events):
    total = level = Fraction(0)
    for units, key in events:
        end, begin = level + units, Fraction(0)
        for to, prices in rows:
            a, b = max(level, begin), end if to is None else min(end, to)
            if b > a:
                total += (b - a) * prices.get(key, prices["default"])
            begin = to
        level = end
    return total


def allocate(amount, weights, places, by_key):
    units = amount * 10 ** places
    total = sum(w for _, w in weights)
    shares = [(units * w / total) for _, w in weights]
    floors = [s.numerator // s.denominator for s in shares]
    left = int(units - sum(floors))
    order = sorted(range(len(weights)), key=lambda i: (
        -(shares[i] - floors[i]), weights[i][0].encode() if by_key else i))
    for i in order[:left]:
        floors[i] += 1
    return {weights[i][0]: Fraction(floors[i], 10 ** places) for i in range(len(weights))}


# ---- cases: each returns model, params, units, the expected exact value (or list, or map), places

def money(model, params, units, value):
    return model, params, text(units), value, 2


def case_standard(rng):
    amount, units = price(rng), quantity(rng)
    return money("standard", {"amount": text(amount)}, units, max(units, Fraction(0)) * amount)


def case_graduated(rng):
    bounds, rows, params = tiers_of(rng)
    units = quantity(rng, bounds)
    return money("graduated", {"tiers": params}, units, graduated(rows, units))


def case_graduated_percentage(rng):
    bounds, rows, params = tiers_of(rng, "rate")
    units = quantity(rng, bounds)
    return money("graduated_percentage", {"tiers": params}, units, graduated(rows, units, True))


def case_volume(rng):
    bounds, rows, params = tiers_of(rng)
    units = quantity(rng, bounds)
    if rng.randrange(3):
        return money("volume", {"tiers": params}, units, volume(rows, units, units))
    by = max(Fraction(0), quantity(rng, bounds))
    return money("volume", {"tiers": params, "select_on": text(by)}, units,
                 volume(rows, units, by))


def case_package(rng):
    p = {"amount": price(rng), "size": rng.choice((Fraction(1), Fraction(10), Fraction(7, 2), TINY,
                                                   Fraction(10 ** 9))),
         "free": abs(rng.choice((Fraction(0), quantity(rng)))), "bill_min_one": rng.random() < .2}
    units = quantity(rng, [p["free"], p["free"] + p["size"], p["size"] * 3])
    params = {k: v if isinstance(v, bool) else text(v) for k, v in p.items()}
    return money("package", params, units, package(p, units))


def percentage_params(rng, events):
    total = sum(events, Fraction(0))
    low = rng.choice((None, None, price(rng)))
    p = {"rate": price(rng), "fixed": price(rng), "min": low,
         "max": rng.choice((None, (low or 0) + price(rng))),
         "free_events": rng.randrange(0, 6),
         "free_amount": rng.choice((Fraction(0), total, total / 2, price(rng),
                                    sum(events[:2], Fraction(0))))}
    params = {k: v if isinstance(v, int) else text(v) for k, v in p.items() if v is not None}
    return p, params


def event_amounts(rng, count):
    return [abs(quantity(rng)) if rng.random() < .7 else Fraction(rng.randrange(0, 50))
            for _ in range(count)]


def case_percentage(rng):
    events = event_amounts(rng, rng.randrange(0, 6))
    p, params = percentage_params(rng, events)
    units = sum(events, Fraction(0))
    params["events"] = [text(event) for event in events]
    return money("percentage", params, units, percentage(p, units, events))


def case_prorated_graduated(rng):
    bounds, rows, params = tiers_of(rng)
    full = []
    for _ in range(rng.randrange(0, 6)):
        level = sum(full, Fraction(0))
        removed = -level * Fraction(rng.randrange(1, 17), 16)  # down again, rarely below zero
        full.append(removed if level > 0 and rng.random() < .5 else quantity(rng, bounds))
    prorated = [units * Fraction(rng.randrange(0, 32), 32) for units in full]
    value = prorated_graduated(rows, full, prorated)
    return money("prorated_graduated", {
        "tiers": params, "full": [text(f) for f in full], "prorated": [text(p) for p in prorated]},
        sum(full, Fraction(0)), value)


def case_custom_fold(rng):
    rows = [(to, {key: price(rng) for key in ("a", "b", "default")})
            for to in bounds_of(rng, rng.randrange(0, 4)) + [None]]
    events = [(abs(quantity(rng, [to for to, _ in rows if to])), rng.choice("abc"))
              for _ in range(rng.randrange(0, 6))]
    params = {"tiers": [{"to": None if to is None else text(to),
                         "prices": {k: text(v) for k, v in prices.items()}} for to, prices in rows],
              "events": [[text(units), key] for units, key in events]}
    return money("custom_fold", params, sum((u for u, _ in events), Fraction(0)),
                 custom_fold(rows, events))


def advance_rate(rng, deltas):
    """A model to pay in advance by: its name, its params, and the price of events so far."""
    kind = rng.choice(("standard", "graduated", "graduated_percentage", "package", "percentage",
                       "custom_fold"))
    if kind == "standard":
        amount = price(rng)
        return kind, {"amount": text(amount)}, lambda es: max(sum(u for u, _ in es), 0) * amount
    if kind in ("graduated", "graduated_percentage"):
        percent = kind != "graduated"
        _, rows, tiers = tiers_of(rng, "rate" if percent else "unit")
        return kind, {"tiers": tiers}, lambda es: graduated(rows, sum(u for u, _ in es), percent)
    if kind == "package":
        p = {"amount": price(rng), "size": Fraction(3), "free": Fraction(2), "bill_min_one": False}
        params = {"amount": text(p["amount"]), "size": "3", "free": "2"}
        return kind, params, lambda es: package(p, sum(u for u, _ in es))
    if kind == "percentage":
        p, params = percentage_params(rng, [abs(delta) for delta in deltas])
        return kind, params, lambda es: percentage(p, sum(u for u, _ in es), [u for u, _ in es])
    rows = [(to, {key: price(rng) for key in ("a", "b", "default")})
            for to in bounds_of(rng, rng.randrange(0, 4)) + [None]]
    params = {"tiers": [{"to": None if to is None else text(to),
                         "prices": {k: text(v) for k, v in prices.items()}} for to, prices in rows]}
    return kind, params, lambda es: custom_fold(rows, [(u, k) for u, k in es if u > 0])


def advance_fees(rng, rate, events, high_water, carried):
    """Each fee: the price with the event less that without it, and what of it is billed."""
    counted, level, high, paid, exact = [], Fraction(0), Fraction(0), Fraction(0), carried
    fees, billed = [], 0
    for units, key in events:
        level += units
        counts = units
        if high_water and units != 0:
            counts = level - high if units > 0 and level > high else None
            high = max(high, level) if units > 0 else high
        fee = Fraction(0)
        if counts is not None:
            counted.append((counts, key))
            now = rate(counted)
            fee, paid = max(Fraction(0), now - paid), now
        exact += fee * 100
        total = (exact + Fraction(1, 2)).__floor__()
        fees.append((fee * 100, Fraction(total - billed)))
        billed = total
    assert abs(exact - billed) <= Fraction(1, 2) and all(b >= 0 for _, b in fees)
    if counted and all(units >= 0 for units, _ in events):
        # What is billed and what is left are the price of the whole.
        assert billed + (exact - billed) == carried + rate(events) * 100
    return fees


def case_pay_in_advance(rng):
    high_water = rng.random() < .6
    if high_water or rng.random() < .5:
        deltas = [quantity(rng) for _ in range(rng.randrange(0, 8))]
    else:
        deltas = event_amounts(rng, rng.randrange(0, 8))
    kind, params, rate = advance_rate(rng, deltas)
    if kind in ("percentage", "custom_fold") and not high_water:
        deltas = [abs(d) for d in deltas]
    events = [(units, rng.choice("abc")) for units in deltas]
    carried = Fraction(rng.randrange(-50, 50), 100) * rng.choice((0, 1))
    fees = advance_fees(rng, rate, events, high_water, carried)
    return ("pay_in_advance_sequence", {
        "model": kind, "params": params, "high_water": high_water, "carried": text(carried),
        "events": [[text(u), k] if kind == "custom_fold" else text(u) for u, k in events]},
        text(sum(deltas, Fraction(0))), fees, 0)


def case_allocate(rng):
    places = rng.choice((0, 2, 2, 3))
    keys = rng.sample("abcdefghij", rng.randrange(1, 9))
    weights = [(key, rng.choice((Fraction(1), Fraction(rng.randrange(0, 10)), price(rng))))
               for key in keys]
    if sum(w for _, w in weights) == 0:
        weights[0] = (keys[0], Fraction(1))
    amount = Fraction(rng.randrange(-10 ** 6, 10 ** rng.randrange(1, 19)), 10 ** places)
    by_key = rng.random() < .5
    params = {"amount": text(amount), "weights": [[key, text(w)] for key, w in weights],
              "decimals": places, "tie": "key" if by_key else "input"}
    return ("allocate_largest_remainder", params, text(amount),
            allocate(amount, weights, places, by_key), places)


def case_days(rng):
    amount, days, period = price(rng), rng.randrange(0, 367), rng.randrange(1, 367)
    return ("day_proration", {"amount": text(amount), "days": days, "period_days": period},
            str(days), amount * days / period, 0)


def case_credit_note(rng):
    amount, days, period = price(rng), rng.randrange(0, 31), rng.randrange(1, 32)
    tax = Fraction(rng.randrange(0, 10000), 10000)
    net = amount * days / period
    return ("credit_note_total", {"amount": text(amount), "days": days, "period": period,
                                  "tax": text(tax)}, "1", half_up(net) + half_up(net * tax), 0)


def case_coupons(rng):
    fees = [(Fraction(rng.randrange(0, 10000)), Fraction(rng.randrange(0, 2500), 100))
            for _ in range(rng.randrange(1, 6))]
    coupons = [(Fraction(rng.randrange(0, 6000)), rng.sample(range(len(fees)),
                                                             rng.randrange(0, len(fees) + 1)))
               for _ in range(rng.randrange(0, 4))]
    rest = [amount for amount, _ in fees]
    for amount, indexes in coupons:
        base = sum((rest[i] for i in indexes), Fraction(0))
        for i, left in [(i, rest[i]) for i in indexes]:
            rest[i] -= min(amount, base) * left / base if base else 0
    tax = sum((left * rate / 100 for left, (_, rate) in zip(rest, fees)), Fraction(0))
    total = rng.random() < .5
    params = {"fees": [[text(a), text(r)] for a, r in fees],
              "coupons": [[text(a), indexes] for a, indexes in coupons],
              "output": "total" if total else "tax"}
    return ("coupon_tax_invoice", params, "1", tax + (sum(rest) if total else 0), 0)


def case_prorated_sum(rng):
    full, period = quantity(rng), rng.randrange(1, 32)
    added = [(quantity(rng), rng.randrange(0, 32)) for _ in range(rng.randrange(0, 5))]
    value = full + sum((a * d for a, d in added), Fraction(0)) / period
    return ("prorated_sum", {"full_period_units": text(full), "period_days": period,
                             "added": [[text(a), d] for a, d in added]}, "1", up(value, 5), None)


def month_later(date, months, day):
    count = date.year * 12 + date.month - 1 + months
    year, month = divmod(count, 12)
    last = calendar.monthrange(year, month + 1)[1]
    return datetime.date(year, month + 1, min(day, last))


def ratio9(days, period):
    return half_up(Fraction(days, period), 9)


def case_kb_cycles(rng):
    start = datetime.date(2010, 1, 1) + datetime.timedelta(rng.randrange(0, 1500))
    day, step = rng.randrange(1, 32), rng.choice((1, 1, 3, 12))
    end = rng.choice((None, start + datetime.timedelta(rng.randrange(1, 800))))
    target = start + datetime.timedelta(rng.randrange(-5, 900))
    at = month_later(start, 0, day)
    if at < start:
        at = month_later(at, step, day)
    value = Fraction(0)
    if target >= start:
        if at > start:
            before = month_later(at, -step, at.day)
            value += ratio9((min(at, end or at) - start).days, (at - before).days)
        while at <= target and (end is None or at < end):
            after = month_later(at, step, day)
            if end is not None and end < after:
                value += ratio9((end - at).days, (after - at).days)
                break
            value += 1
            at = after
    params = {"start": str(start), "bcd": day, "target": str(target),
              "period": {1: "monthly", 3: "quarterly", 12: "annual"}[step]}
    if end:
        params["end"] = str(end)
    return "kb_billing_cycles", params, "1", value, None


def case_kb_consumable(rng):
    tiers = [(rng.randrange(1, 50), rng.randrange(1, 20), price(rng))
             for _ in range(rng.randrange(0, 4))] + [(rng.randrange(1, 50), None, price(rng))]
    edges = [sum(size * most for size, most, _ in tiers[:i + 1] if most) for i in range(len(tiers))]
    units = max(Fraction(0), quantity(rng, [Fraction(e) for e in edges]))
    is_all, rest, value = rng.random() < .5, units, Fraction(0)
    for size, most, unit in tiers:
        inside = rest if most is None else min(rest, Fraction(size * most))
        if is_all:
            value += -(-inside // size) * unit
        elif rest > 0:
            value = -(-units // size) * unit
        rest -= inside
    params = {"policy": "ALL_TIERS" if is_all else "TOP_TIER",
              "tiers": [{"size": size, "max": -1 if most is None else most, "price": text(unit)}
                        for size, most, unit in tiers]}
    return money("kb_consumable", params, units, value)


def case_weighted_sum(rng):
    """Level by level in time order; the end is the second after 23:59:59.999."""
    begin, days = datetime.datetime(2023, 8, 1), 31
    initial = quantity(rng)
    events = [(rng.randrange(0, days * 86400), quantity(rng)) for _ in range(rng.randrange(0, 6))]
    value, level, at = Fraction(0), initial, 0
    for second, delta in sorted(events, key=lambda event: event[0]):
        value += level * (second - at)
        level, at = level + delta, second
    value += level * (days * 86400 - at)
    params = {"from": "2023-08-01T00:00:00Z", "to": "2023-08-31T23:59:59.999Z", "period_days": days,
              "initial": text(initial),
              "events": [[(begin + datetime.timedelta(seconds=second)).isoformat() + "Z",
                          text(delta)] for second, delta in events]}
    return "weighted_sum", params, "1", up(value / (days * 86400), 20), None


def case_termination(rng):
    amount, billed = Fraction(rng.randrange(0, 10000)), Fraction(rng.randrange(0, 10000))
    days, period = rng.randrange(0, 31), rng.randrange(28, 32)
    before, coupon = Fraction(rng.randrange(0, 3000)), Fraction(rng.randrange(0, 3000))
    tax = Fraction(rng.randrange(0, 101), 100)
    credit = max(Fraction(0), min(amount * days / period, billed) - before)
    if billed:
        credit = max(Fraction(0), credit - coupon * credit / billed)
    return ("termination_credit", {
        "amount": text(amount), "days": days, "period": period, "billed_fee": text(billed),
        "already_credited": text(before), "coupon_on_fee": text(coupon), "tax": text(tax)},
        str(days), credit * (1 + tax), 0)


CASES = [case_standard, case_graduated, case_graduated, case_graduated_percentage, case_volume,
         case_package, case_percentage, case_percentage, case_prorated_graduated, case_custom_fold,
         case_pay_in_advance, case_allocate, case_days, case_credit_note, case_coupons,
         case_prorated_sum, case_kb_cycles, case_kb_consumable, case_weighted_sum,
         case_termination]


# ---- comparing

def run(lines):
    program = os.path.join(os.environ["TALLY_BIN_DIR"], "tally-billing")
    done = subprocess.run([program, "price"], input="\n".join(lines) + "\n", capture_output=True,
                          text=True, timeout=1200, check=False)
    if done.returncode != 0:
        sys.exit(f"tally-billing price: exit {done.returncode}: {done.stderr}")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    if len(answers) != len(lines):
        sys.exit(f"{len(answers)} answers to {len(lines)} lines")
    return answers


def difference(answer, expected, places):
    """What is wrong with an answer, or None."""
    if isinstance(expected, list):
        if not isinstance(answer, list) or len(answer) != len(expected):
            return "not a list of as many"
        for got, (exact, rounded) in zip(answer, expected):
            if Fraction(got["exact"]) != printed(exact) or Fraction(got["rounded"]) != rounded:
                return f"expected {float(exact)} and {rounded}, got {got}"
        return None
    if isinstance(expected, dict):
        if not isinstance(answer, dict) or answer.keys() != expected.keys():
            return "not an object of the same keys"
        wrong = [key for key in expected if difference(answer[key], expected[key], places)]
        return f"{wrong} differ" if wrong else None
    if "exact" not in answer or Fraction(answer["exact"]) != printed(expected):
        return f"expected {printed(expected)}"
    if (places is None) != ("rounded" not in answer):
        return "rounded or not"
    if places is not None and Fraction(answer["rounded"]) != half_up(expected, places):
        return f"expected {half_up(expected, places)} rounded"
    return None


def monotone_check(rng, count):
    """More units never cost less: standard, graduated, package."""
    lines, sizes = [], []
    for _ in range(count):
        bounds, _, tiers = tiers_of(rng)
        model, params = rng.choice((
            ("standard", {"amount": text(price(rng))}),
            ("graduated", {"tiers": tiers}),
            ("package", {"amount": text(price(rng)), "size": "3", "free": "2"})))
        row = sorted(quantity(rng, bounds) for _ in range(8))
        sizes.append(len(row))
        lines += [json.dumps({"model": model, "params": params, "units": text(u)}) for u in row]
    answers, failures = run(lines), 0
    for size in sizes:
        amounts = [Fraction(answer["exact"]) for answer in answers[:size]]
        answers = answers[size:]
        if amounts != sorted(amounts):
            failures += 1
            print(f"not monotone: {amounts}")
    return failures


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=20231101)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    cases = [rng.choice(CASES)(rng) for _ in range(options.cases)]
    answers = run([json.dumps({"model": model, "params": params, "units": units})
                   for model, params, units, _, _ in cases])
    failures = parts = 0
    for (model, params, units, expected, places), answer in zip(cases, answers):
        wrong = difference(answer, expected, places)
        if not wrong and model == "allocate_largest_remainder":
            parts += 1
            if sum(Fraction(part["rounded"]) for part in answer.values()) != Fraction(units):
                wrong = "the parts do not add up"
        if wrong:
            failures += 1
            if failures <= 10:
                print(f"{model} {json.dumps(params)} {units}: {wrong}, got {json.dumps(answer)}")
    failures += monotone_check(rng, max(1, options.cases // 50))
    print(f"{len(cases)} cases with seed {options.seed}, {parts} splits, {failures} failures")
    return 1 if failures or not parts else 0


if __name__ == "__main__":
    sys.exit(main())
