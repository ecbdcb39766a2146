#!/usr/bin/env python3
"""What `tally-billing price` refuses: each line is answered with an error that names the member and
the reason, and the line after it is priced as if nothing had happened."""

import json
import os
import subprocess
import sys

TIERS = [{"to": "10", "unit": "1"}, {"to": None, "unit": "2"}]
FOLD = [{"to": None, "prices": {"a": 1, "default": 2}}]


def case(model, params, units="1", **more):
    return json.dumps({"model": model, "params": params, "units": units, **more})


def tiers(*bounds):
    return {"tiers": [{"to": bound, "unit": "1", "flat": "0"} for bound in bounds]}


def inner(model, params, events, **more):
    return case("pay_in_advance_sequence",
                {"model": model, "params": params, "events": events, **more})


# line, what the error must contain
CASES = [
    # the line
    ("{", "expected"),
    ("[]", "expected an object"),
    ("nonsense", "line 1, column"),
    ("{}", '"model" is missing'),
    ('{"model":"standard","units":"1"}', '"params" is missing'),
    ('{"model":"standard","params":{"amount":"1"}}', '"units" is missing'),
    ('{"model":"standard","model":"flat","params":{},"units":1}', "model"),
    ('{"model":"standard","params":[],"units":"1"}', "params: expected an object"),
    (case("wonderful", {}), 'there is no price model "wonderful"'),
    (case(7, {}), "model: expected a string"),
    (case("standard", {"amount": "1"}, price="2"), "price: there is no such key here"),
    (case("standard", {"amount": "1"}, currency="QQQ"), "currency: \"QQQ\" is not the code"),
    ('{"model":"standard","params":{"amount":"1"},"units":' + "[" * 40 + "]" * 40 + "}", "deep"),
    # numbers
    (case("standard", {}), 'params: "amount" is missing'),
    (case("standard", {"amount": "1", "unit": "2"}), "params.unit: there is no such key here"),
    (case("standard", {"amount": "-1"}), "params.amount: may not be negative"),
    (case("standard", {"amount": "abc"}), 'params.amount: "abc" is not a number'),
    (case("standard", {"amount": ""}), "params.amount: \"\" is not a number"),
    (case("standard", {"amount": "1e"}), "is not a number"),
    (case("standard", {"amount": "0x10"}), "is not a number"),
    (case("standard", {"amount": "1,5"}), "is not a number"),
    (case("standard", {"amount": " 1"}), "is not a number"),
    (case("standard", {"amount": "NaN"}), "is not a number"),
    (case("standard", {"amount": "Infinity"}), "is not a number"),
    (case("standard", {"amount": None}), "params.amount: expected a number"),
    (case("standard", {"amount": True}), "params.amount: expected a number"),
    (case("standard", {"amount": {}}), "params.amount: expected a number"),
    (case("standard", {"amount": "1e9999999999"}), "more than 40 digits"),
    (case("standard", {"amount": "1e-41"}), "more than 40 digits"),
    (case("standard", {"amount": "9" * 41}), "more than 40 digits"),
    (case("standard", {"amount": "1" * 20000}), "more than 40 digits"),
    (case("standard", {"amount": "1"}, units="ten"), 'units: "ten" is not a number'),
    (case("kb_day_ratio", {"from": "2023-02-23", "to": "2023-03-15"}, units="ten"),
     'units: "ten" is not a number'),
    (case("flat", {"amount": "1"}, units={"a": 1}), "units: expected a number"),
    (case("kb_consumable_multi", {}), '"parts" is missing'),
    (case("kb_consumable_multi", {"tiers": {"a": []}}, units={"b": 1}), '"b" is missing'),
    (case("day_proration", {"amount": "1", "window": "2024-13"}), "params.window: expected dates"),
    (case("standard", {"amount": "1"}, units=[1]), "units: expected a number"),
    (case("standard", {"amount": "1", "decimals": 13}), "decimals: expected a whole number from 0"),
    (case("standard", {"amount": "1", "decimals": "1.5"}), "decimals: expected a whole number"),
    # tiers
    (case("graduated", {}), '"tiers" is missing'),
    (case("graduated", {"tiers": []}), "params.tiers: expected at least one tier"),
    (case("graduated", {"tiers": {}}), "params.tiers: expected an array"),
    (case("graduated", {"tiers": [1]}), "params.tiers[0]: expected an object"),
    (case("graduated", tiers("10")), "params.tiers[0].to: the last tier is open"),
    (case("graduated", tiers(None, None)), "params.tiers[0].to: only the last tier may be open"),
    (case("graduated", tiers("10", "10", None)), "params.tiers[1].to: must be above where"),
    (case("graduated", tiers("10", "5", None)), "params.tiers[1].to: must be above where"),
    (case("graduated", tiers("0", None)), "begins (0)"),
    (case("graduated", tiers("-5", None)), "params.tiers[0].to: may not be negative"),
    (case("graduated", {"tiers": [{"unit": "1"}]}), '"to" is missing'),
    (case("graduated", {"tiers": [{"to": None}]}), 'params.tiers[0]: "unit" is missing'),
    (case("graduated", {"tiers": [{"to": None, "unit": "1", "flt": 1}]}), "tiers[0].flt: there is"),
    (case("graduated", {"tiers": [{"to": None, "unit": "-1"}]}), "tiers[0].unit: may not be neg"),
    (case("graduated", {"tiers": [{"to": None, "unit": "1", "flat": "-1"}]}), "flat: may not be"),
    (case("graduated", tiers(*[str(i + 1) for i in range(1000)], None)), "more than 1000 items"),
    (case("graduated", {"tiers": TIERS, "clamp_negative_to_zero": False}, "-1"), "units: is neg"),
    (case("graduated_percentage", {"tiers": TIERS}), "tiers[0].unit: there is no such key"),
    (case("volume", {"tiers": TIERS, "select_on": "-1"}), "params.select_on: may not be negative"),
    # models
    (case("package", {"amount": "1", "size": "0"}), "params.size: must be above zero"),
    (case("package", {"amount": "1", "size": "2", "free": "-1"}), "params.free: may not be neg"),
    (case("package", {"amount": "1", "size": "2", "bill_min_one": 1}), "expected true or false"),
    (case("package_delta", {"amount": "1", "size": "2"}), '"already_billed_units" is missing'),
    (case("percentage", {"rate": "1", "min": "2", "max": "1", "events": [1]}), "may not be below"),
    (case("percentage", {"rate": "1", "min": "2"}), '"events" is missing: min and max'),
    (case("percentage", {"rate": "1", "fixed": "2"}), '"events" is missing: how many'),
    (case("percentage", {"rate": "1", "free_events": 2, "events": 5}), '"running" is missing'),
    (case("percentage", {"rate": "1", "free_events": "1.5"}), "free_events: expected a whole"),
    (case("dynamic", {"sum_minor": "1", "subunit": "0"}), "params.subunit: must be above zero"),
    (case("custom_fold", {"tiers": [{"to": None, "prices": {"a": 1}}], "events": [[1, "b"]]}),
     "params.events[0]: a tier that it reaches has neither"),
    (case("custom_fold", {"tiers": [{"to": None, "prices": {"a": 1}}], "events": [[-1, "a"]]}),
     "params.events[0][0]: may not be negative"),
    (case("custom_fold", {"tiers": [{"to": None, "unit": 1}], "events": [1]}), "expected [unit"),
    (case("prorated_graduated", {"tiers": TIERS, "full": [1], "prorated": []}), "as many as in"),
    (case("prorated_graduated", {"tiers": TIERS, "full": [1], "prorated": [1], "round": 31}),
     "params.round: expected a whole number"),
    (case("prorated_graduated",
          {"tiers": TIERS, "full": [1], "prorated": [1], "round_mode": "odd"}),
     "params.round_mode: expected half-up"),
    (inner("volume", {"tiers": TIERS}, [1]), "params.model: volume cannot be paid in advance"),
    (inner("flat", {"amount": 1}, [1]), 'params.model: "flat" has no price'),
    (inner("magic", {}, [1]), 'params.model: "magic" has no price'),
    (inner("standard", {"amount": -1}, [1]), "params.params.amount: may not be negative"),
    (inner("standard", {"price": 1}, [1]), "params.params.price: there is no such key"),
    (inner("standard", {"amount": 1}, [[1]]), "params.events[0]: expected a list of 2"),
    (inner("standard", {"amount": 1}, [0] * 10001), "more than 10000 items"),
    (inner("custom_fold", {"tiers": FOLD}, [1]), "params.events[0]: expected [units, key]"),
    (inner("custom_fold", {"tiers": FOLD}, [[1, 2]]), "params.events[0]: expected [units, key]"),
    (inner("custom_fold", {"tiers": [{"to": None, "prices": {"a": 1}}]}, [[1, "a"]]),
     'params.params: tier 0 has no "default"'),
    (inner("standard", {"amount": 1}, [1], carried="0.5"), "params.carried: is not what"),
    (inner("standard", {"amount": 1}, [1], carried="-0.51"), "params.carried: is not what"),
    # quantities
    (case("weighted_sum", {"from": "2023-08-01T00:00:00Z", "to": "2023-08-01T00:00:00Z",
                           "period_days": 31, "events": []}), "params.to: must be after from"),
    (case("weighted_sum", {"from": "yesterday", "to": "2023-08-02T00:00:00Z", "period_days": 31,
                           "events": []}), "params.from: expected a time"),
    (case("weighted_sum", {"from": "2023-08-01T00:00:00Z", "to": "2023-08-02T00:00:00Z",
                           "period_days": 31, "events": [["2023-08-03T00:00:00Z", 1]]}),
     "params.events[0][0]: is not between"),
    (case("weighted_sum", {"from": "2023-08-01T00:00:00Z", "to": "2023-08-02T00:00:00Z",
                           "period_days": 0, "events": []}), "period_days: expected a whole"),
    (case("prorated_sum", {"added": [], "period_days": "0"}), "period_days: must be above zero"),
    (case("prorated_unique_count", {"period_days": "31"}), '"active_days" is missing'),
    (case("quantity_rounding", {"fn": "sideways"}), "params.fn: expected half-up"),
    (case("quantity_rounding", {"fn": "ceil", "precision": 99}), "params.precision: expected"),
    # parts of periods
    (case("day_proration", {"amount": "1"}), '"period_days" is missing'),
    (case("day_proration", {"amount": "1", "period_days": "0"}), "must be above zero"),
    (case("day_proration", {"amount": "1", "days": 3, "period_days": 31,
                            "window": "2022-03-01..2022-03-04"}), "the window has 4 days"),
    (case("day_proration", {"amount": "1", "period_days": 31, "window": "soon"}),
     "params.window: expected dates"),
    (case("day_proration", {"amount": "1", "period_days": 31,
                            "window": "2022-03-09..2022-03-04"}), "params.window: expected dates"),
    (case("day_proration", {"amount": "1", "period_days": 31,
                            "window": "2022-02-29..2022-03-04"}), "params.window: expected dates"),
    (case("termination_refund", {"paid": 1, "fee_total": 1, "invoice_total": 0, "used_net": 1,
                                 "creditable": 1}), "invoice_total: must be above zero"),
    (case("credit_note_total", {"amount": 1, "days": 1, "period": 2, "tax": "x%"}), "params.tax"),
    (case("coupon", {}), 'expected either "fixed" or "percent"'),
    (case("coupon", {"fixed": 1, "percent": 2}), 'expected either "fixed" or "percent"'),
    (case("coupon_tax_invoice", {"fees": [[1, 2]], "coupons": [[1, [1]]]}), "no such fee"),
    (case("coupon_tax_invoice", {"fees": [[1, 2], [1, 2]], "coupons": [[1, [1, 1]]]}), "twice"),
    (case("coupon_tax_invoice", {"fees": [1], "coupons": []}), "has no rate of tax"),
    (case("coupon_tax_invoice", {"fees": [[1, 2]], "coupons": [], "output": "x"}), '"tax" or "to'),
    (case("tax", {"bases": [[1]]}), "params.bases[0]: expected a list of 2 numbers"),
    (case("tax", {"bases": [[1, -2]]}), "params.bases[0][1]: may not be negative"),
    (case("wallet_credit", {"rate": 0}), "params.rate: must be above zero"),
    (case("wallet_credit", {}), 'params: "rate" is missing'),
    (case("wallet_credit", {"input": "minor", "output": "credits"}), 'params: "rate" is missing'),
    (case("percentage", {"rate": "1", "fixed": "2", "free_events": 1, "running": ["50", "150"]},
          units="800"), '"events" is missing: how many pay the fixed fee?'),
    (case("wallet_credit", {"rate": 1, "output": "coins"}), 'params.output: expected "credits"'),
    (case("allocate_largest_remainder", {"amount": "1", "weights": []}), "add up to nothing"),
    (case("allocate_largest_remainder", {"amount": "1", "weights": [["a", 0]]}), "add up to noth"),
    (case("allocate_largest_remainder", {"amount": "1", "weights": [["a", -1]]}), "negative"),
    (case("allocate_largest_remainder", {"amount": "1", "weights": [["a", 1], ["a", 1]]}), "twice"),
    (case("allocate_largest_remainder", {"amount": "0.001", "weights": [["a", 1]]}), "more than 2"),
    (case("payout_floor_to_multiple", {"multiple": 0}), "params.multiple: must be above zero"),
    # Kill Bill
    (case("kb_billing_cycles", {"start": "2011-01-01", "target": "2011-02-01"}), '"bcd" is'),
    (case("kb_billing_cycles", {"start": "2011-01-01", "target": "2011-02-01", "bcd": 32}),
     "params.bcd: expected a whole number from 1 to 31"),
    (case("kb_billing_cycles", {"start": "2011-02-30", "target": "2011-02-01", "bcd": 1}),
     "params.start: expected a date"),
    (case("kb_billing_cycles", {"start": "2011-02-03", "end": "2011-02-01", "bcd": 1,
                                "target": "2011-02-01"}), "params.end: is before the start"),
    (case("kb_billing_cycles", {"start": "2011-01-01", "target": "2011-02-01", "bcd": 1,
                                "period": "daily"}), "params.period: expected monthly"),
    (case("kb_day_ratio", {"from": "2011-01-02", "to": "2011-01-01"}), "params.to: is before from"),
    (case("kb_repair_keep", {"amount": 1, "start": "2011-01-01", "end": "2011-02-01",
                             "keep_until": "2011-03-01"}), "keep_until: is not in the item's"),
    (case("kb_consumable", {"tiers": [{"size": 0, "price": 1}]}), "size: must be above zero"),
    (case("kb_consumable", {"tiers": [{"size": 1, "price": 1, "max": 1}]}, "2"), "more than all"),
    (case("kb_consumable", {"tiers": [{"price": 1}], "policy": "SOME"}), "expected ALL_TIERS"),
    (case("kb_capacity", {"tiers": [{"limits": {"a": 1}, "price": 1}], "usage": {"a": 2}}),
     "above the limits of every tier"),
    (case("kb_capacity", {"tiers": [{"limits": {"a": 1}, "price": 1}], "usage": {"b": 2}}),
     'there is no limit for "b"'),
    (case("kb_capacity", {"tiers": []}), '"usage" is missing'),
]

GOOD = case("standard", {"amount": "5.12345"}, "10")
# A fraction of all the denominators up to here has more digits than is allowed.
LONG = case("prorated_graduated", {
    "tiers": [{"to": str(10 ** 20), "unit": "1"}, {"to": None, "unit": "2"}],
    "full": [str((10 ** 38 - i) * (-1) ** (i + 1)) for i in range(1, 2000)],
    "prorated": [1] * 1999})

# Refused for its size, though it is a fine question; the rest of it is no line of its own.
HUGE = case("standard", {"amount": "1"}, id="x" * (3 << 20))


def ends_check(program):
    """No input, blank lines, a last line without its end."""
    failures = 0
    for given, answers in (("", 0), ("\n \r\n\n", 0), (GOOD, 1), (f"\n{GOOD}\n\n{GOOD}", 2)):
        done = subprocess.run([program, "price"], input=given, capture_output=True, text=True,
                              timeout=60, check=False)
        if done.returncode != 0 or done.stderr or len(done.stdout.splitlines()) != answers:
            failures += 1
            print(f"{given!r}: exit {done.returncode}, {done.stdout!r} {done.stderr!r}")
    return failures


def main():
    lines = [line for line, _ in CASES] + [LONG, HUGE]
    program = os.path.join(os.environ["TALLY_BIN_DIR"], "tally-billing")
    done = subprocess.run(
        [program, "price"], input="".join(f"{line}\n{GOOD}\n" for line in lines),
        capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != 0 or done.stderr:
        sys.exit(f"exit {done.returncode}: {done.stderr}")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    if len(answers) != 2 * len(lines):
        sys.exit(f"{len(answers)} answers to {2 * len(lines)} lines")
    failures = ends_check(program)
    for i, (line, expected) in enumerate(
            CASES + [(LONG, "more digits than anybody needs"), (HUGE, "at most 1048576 are read")]):
        refused, priced = answers[2 * i], answers[2 * i + 1]
        if list(refused) != ["error"] or expected not in refused["error"]:
            failures += 1
            print(f"{line[:200]}: expected an error with {expected!r}, got {refused}")
        if priced != {"exact": "51.2345", "rounded": "51.23"}:
            failures += 1
            print(f"after {line[:200]}: {priced}")
    print(f"{len(lines)} lines refused, {failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
