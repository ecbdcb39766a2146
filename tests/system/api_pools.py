"""Values that requests of api_random.py need and no schema can say: which meters there are, times
that make sense. A route with a new kind of parameter gets a method `pool_NAME` here, or its random
requests find nothing."""

import datetime
import re


class Pools:
    """Names of things that exist, made when they run out."""

    def __init__(self, api):
        self.api = api
        self.serial = 0
        self.meters = []
        self.found = {}

    def changed(self):
        """To be called after each request that may have made or removed something."""
        self.meters = []
        self.found = {}

    def number(self):
        self.serial += 1
        return self.serial

    def listed(self, path, make, name):
        """What `name` is of each thing at this path; `make` makes one when there is none."""
        if not self.found.get(path):
            if not self.items(path):
                make()
            self.found[path] = [str(item[name]) for item in self.items(path)]
        return self.found[path]

    def items(self, path):
        answer = self.api.get(path).json
        return answer["items"] if isinstance(answer, dict) else answer

    def made(self, path, body):
        answer = self.api.post(path, body)
        assert answer.status in (200, 201), answer
        return answer.json

    def meter_make(self):
        self.serial += 1
        answer = self.api.post("/api/v1/meters", {
            "slug": f"pool_{self.serial}", "aggregation": "SUM", "eventType": "api_call",
            "valueProperty": "$.n", "groupBy": {"region": "$.region", "size": "$.size"}})
        assert answer.status == 200, answer

    def pool_meter(self):
        while not any(slug.startswith("pool_") for slug in self.meters):
            self.meters = [meter["slug"] for meter in self.api.get("/api/v1/meters").json]
            if not any(slug.startswith("pool_") for slug in self.meters):
                self.meter_make()
        return [slug for slug in self.meters if slug.startswith("pool_")]

    def pool_key(self):
        return ["region", "size"]

    def pool_groupBy(self):
        return ["region", "size", "subject"]

    def pool_subject(self):
        names = ["s1", "s2", "s3"]
        if "subjects" not in self.found:
            self.made("/api/v1/subjects", [{"key": name} for name in names])
            self.found["subjects"] = names
        return names

    def pool_customer(self):
        return self.listed(
            "/api/v1/customers?pageSize=100&orderBy=createdAt&order=DESC",
            lambda: self.made("/api/v1/customers", {"key": f"pool-{self.number()}", "name": "a"}),
            "id")

    pool_customerId = pool_filterCustomerId = pool_customer_id = pool_customer

    def of_path(self, path):
        """For the parameter of this path; None: whatever its name says."""
        # To fill one or to close it, it must be open.
        is_open = re.match("/api/v1/backfills/{backfill}/(events|close)$", path)
        return self.open_backfills() if is_open else None

    def open_backfills(self):
        return self.listed(
            "/api/v1/backfills?state=open",
            lambda: self.made("/api/v1/backfills", {"why": "a", "who": "b"}), "id")

    def pool_backfill(self):
        return self.open_backfills() + self.listed(
            "/api/v1/backfills?state=closed", self.closed_make, "id")

    def closed_make(self):
        name = self.made("/api/v1/backfills", {"why": "a", "who": "b"})["id"]
        self.made(f"/api/v1/backfills/{name}/close", {})

    def event_make(self):
        name = f"c{self.number()}"
        answer = self.api.post("/api/v1/events", {
            "id": name, "source": "pools", "specversion": "1.0", "type": "api_call",
            "subject": "s1", "data": {"n": 1}}, key="ingest")
        assert answer.status == 204, answer
        return {"subject": "s1", "source": "pools", "id": name}

    def pool_correction(self):
        return self.listed(
            "/api/v1/corrections",
            lambda: self.made("/api/v1/corrections",
                              {"kind": "cancel", "why": "a", **self.event_make()}), "id")

    def pool_threshold(self):
        return self.listed(
            "/api/v1/thresholds",
            lambda: self.made("/api/v1/thresholds", {
                "key": f"pool_{self.number()}", "meter": self.pool_meter()[0], "limit": 5}), "key")

    def pool_sinceCut(self):
        return self.listed("/api/v1/cuts", lambda: self.made("/api/v1/cuts", {
            "at": "2026-01-01T00:00:00Z"}), "number")

    def pool_clientId(self):
        self.api.get(f"/api/v1/meters/{self.pool_meter()[0]}/query?clientId=pool")
        return ["pool"]

    def pool_filter(self):
        return ['{"type": {"$eq": "api_call"}}', '{"subject": {"$in": ["s1", "s2"]}}']

    def pool_time_zone(self):
        return self.pool_windowTimeZone()

    def pool_group_by_dimensions(self):
        return self.pool_groupBy()

    def pool_type(self):
        return ["api_call", "other"]

    def pool_eventType(self):
        return ["api_call", "other"]

    def pool_windowTimeZone(self):
        return ["UTC", "Europe/Vienna", "America/New_York"]

    def pool_advancedMeterGroupByFilters(self):
        return ['{"region": {"$eq": "eu"}}', '{"size": {"$in": ["a", "b"]}}']

    def values(self, name):
        """For a parameter or member of this name; None: whatever its schema says."""
        if name in ("filterGroupBy{}", "dimensions{}"):
            return ["region", "size"]
        if name == "Idempotency-Key":
            return [f"once-{self.number()}"]
        make = getattr(self, "pool_" + name, None) if name.isidentifier() else None
        return make() if make else None

    def time(self, random, name):
        """`from` lies before `to`, both in the last day, whole minutes."""
        back = {"from": random.randint(800, 1400), "to": random.randint(0, 700)}.get(
            name, random.randint(0, 1400))
        if name.endswith("From"):
            back = random.randint(800, 1400)
        now = datetime.datetime.now(datetime.timezone.utc).replace(second=0, microsecond=0)
        return (now - datetime.timedelta(minutes=back)).strftime("%Y-%m-%dT%H:%M:%SZ")

    def fit(self, name, made, random):
        """An object as its rules want it, where they are between members."""
        for rule in (self.fit_meter, self.fit_event, self.fit_customer, self.fit_change,
                     self.fit_filter):
            made = rule(made, random)
        return made

    def fit_meter(self, made, random):
        value = "value_property" if "event_type" in made else "valueProperty"
        if "aggregation" in made:
            if made["aggregation"].upper() == "COUNT":
                made.pop(value, None)
            else:
                made.setdefault(value, "$.n")
        for member in ("groupBy", "dimensions"):
            is_paths = member == "groupBy" or "event_type" in made
            if is_paths and isinstance(made.get(member), dict):
                made[member] = {key: "$." + key for key in ("region", "size")
                                if random.random() < 0.5}
        if "event_type" in made:
            # Of any aggregation: not one of pool_meter's.
            made["key"] = f"other_{self.number()}"
        return made

    def fit_event(self, made, random):
        if made.get("specversion"):
            made["id"] = f"e{self.number()}"
        return made

    def fit_customer(self, made, random):
        """Keys and emails are unique, and have their own forms."""
        for member, value in (("primaryEmail", f"a{self.serial}@example.com"),
                              ("primary_email", f"a{self.serial}@example.com"),
                              ("stripeCustomerId", f"cus_{self.serial}"), ("currency", "USD"),
                              ("country", "US")):
            if made.get(member) is not None:
                made[member] = value
        for member in ("subjectKeys", "subject_keys"):
            if member in made:
                made[member] = [f"u{self.number()}"]
        if "key" in made and "name" in made and "event_type" not in made:
            made["key"] = f"k{self.number()}"
        return made

    def fit_change(self, made, random):
        if "limit" in made:
            made["limit"] = random.choice((1, 2.5, "7.25"))
            if "key" in made:
                made["key"] = f"pool_{self.number()}"
        if made.get("kind") in ("cancel", "amend"):
            made.update(self.event_make())
            made = {member: value for member, value in made.items()
                    if member not in ("time", "value", "data")}
            if made["kind"] == "amend":
                made["data"] = {"n": 2}
        return made

    def fit_filter(self, made, random):
        operators = {"exists", "eq", "neq", "in", "nin", "contains", "ncontains", "and", "or"}
        if made and operators >= set(made):
            return random.choice(({"eq": "eu"}, {"in": ["eu", "us"]}))
        if isinstance(made.get("advancedMeterGroupByFilters"), (dict, str)):
            made["advancedMeterGroupByFilters"] = {"region": {"$eq": "eu"}}
            made.pop("filterGroupBy", None)
        return made

    def fit_query(self, pairs, random):
        month = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m")
        # A cursor is what an answer gave.
        pairs = [(name, month if name == "period" and value not in ("day", "month") else value)
                 for name, value in pairs if name not in ("cursor", "page[after]", "atCut")]
        since = dict(pairs).get("sinceCut")
        ends = [cut["at"] for cut in self.items("/api/v1/cuts")
                if str(cut["number"]) == since] if since else []
        if ends:
            pairs = [(name, ends[0] if name == "to" else value) for name, value in pairs
                     if name not in ("from", "windowTimeZone")]
        # One at most: not all of them go together.
        filters = [pair for pair in pairs if pair[0].startswith("filter[")]
        pairs = [pair for pair in pairs if pair not in filters[1:]]
        if any(name == "advancedMeterGroupByFilters" for name, _ in pairs):
            return [pair for pair in pairs if not pair[0].startswith("filterGroupBy")]
        return pairs
