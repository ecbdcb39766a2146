"""Values that requests of api_random.py need and no schema can say: which meters there are, times
that make sense. A route with a new kind of parameter gets a method `pool_NAME` here, or its random
requests find nothing."""

import datetime


class Pools:
    """Names of things that exist, made when they run out."""

    def __init__(self, api):
        self.api = api
        self.serial = 0
        self.meters = []
        self.grown = 0

    def changed(self):
        """To be called after each request that may have made or removed something."""
        self.meters = []

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
        return ["s1", "s2", "s3"]

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
        if name == "filterGroupBy{}":
            return ["region", "size"]
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
        if "aggregation" in made:
            if made["aggregation"] == "COUNT":
                made.pop("valueProperty", None)
            else:
                made.setdefault("valueProperty", "$.n")
        if made.get("specversion"):
            self.serial += 1
            made["id"] = f"e{self.serial}"
        if "groupBy" in made and isinstance(made["groupBy"], dict):
            made["groupBy"] = {key: "$." + key for key in ("region", "size")
                               if random.random() < 0.5}
        if isinstance(made.get("advancedMeterGroupByFilters"), (dict, str)):
            made["advancedMeterGroupByFilters"] = {"region": {"$eq": "eu"}}
            made.pop("filterGroupBy", None)
        return made

    def fit_query(self, pairs, random):
        if any(name == "advancedMeterGroupByFilters" for name, _ in pairs):
            return [pair for pair in pairs if not pair[0].startswith("filterGroupBy")]
        return pairs
