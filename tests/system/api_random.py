"""Requests made of an OpenAPI document by a seeded generator, good ones and broken ones, and
answers held against it.

    maker = Maker(document, random.Random(7), pools)
    request = maker.request("POST", "/api/v1/meters", broken=False)
    fault = answer_fault(document, operation, answer)      # None: as the document says

What a schema cannot say (which meters there are) comes from pools: pools.values(name) is a list for
the parameter or member of that name, or None.
"""

import collections
import json
import string
import urllib.parse

Request = collections.namedtuple("Request", "method target body fields")

STRANGE = ("", " ", "\x00", "\x7f", "../..", "%00", "'; DROP TABLE x; --", "ü" * 3, "\ud83d\ude00",
           "x" * 300, "null", "-1", "1e999", "{}", "[]", "$", "$.a.b", "9" * 40, "\n", "a,b", "*")
WORDS = ("eu", "us", "acme", "api_call", "a", "b1", "tokens", "x-y", "Zoë")


def resolve(document, schema):
    """A schema itself, whatever it refers to."""
    while "$ref" in schema:
        found = document
        for part in schema["$ref"].lstrip("#/").split("/"):
            found = found[part]
        schema = found
    return schema


class Maker:
    """Makes requests; the same seed makes the same ones."""

    def __init__(self, document, random, pools):
        self.document = document
        self.random = random
        self.pools = pools
        self.serial = 0

    def operation(self, method, path):
        return self.document["paths"][path][method.lower()]

    def parameters(self, path, operation):
        shared = self.document["paths"][path].get("parameters", [])
        return [resolve(self.document, one) for one in shared + operation.get("parameters", [])]

    # --- values ---

    def text(self, schema, name):
        shape = schema.get("format")
        if shape in ("date-time", "date"):
            return self.pools.time(self.random, name)
        if shape in ("uri", "uri-reference"):
            return self.random.choice(("https://example.com/a", "/svc", "svc"))
        pattern = schema.get("pattern", "")
        if pattern.startswith("^\\$"):
            return "$." + self.random.choice(("n", "region", "size"))
        self.serial += 1
        if pattern.startswith("^[a-z"):
            return f"m{self.serial}_{self.random.randrange(1 << 30)}"
        word = self.random.choice(WORDS)
        if schema.get("minLength") or self.random.random() < 0.5:
            word += str(self.random.randrange(1000))
        return word[:schema.get("maxLength", 100)]

    def value(self, schema, name="", depth=0):
        schema = resolve(self.document, schema)
        if schema.get("nullable") and self.random.random() < 0.1:
            return None
        if name and schema.get("type") in (None, "string", "integer"):
            values = self.pools.values(name)
            if values:
                return self.random.choice(values)
        for word in ("oneOf", "anyOf"):
            if word in schema:
                return self.value(self.random.choice(schema[word]), name, depth + 1)
        if "allOf" in schema:
            merged = {}
            for part in schema["allOf"]:
                merged.update(self.value(part, name, depth + 1))
            return merged
        if "enum" in schema:
            return self.random.choice(schema["enum"])
        return getattr(self, "make_" + schema.get("type", "any"))(schema, name, depth)

    def make_any(self, schema, name, depth):
        return self.random.choice((1, "a", None, True, {}, []))

    def make_string(self, schema, name, depth):
        return self.text(schema, name)

    def make_boolean(self, schema, name, depth):
        return self.random.random() < 0.5

    def make_integer(self, schema, name, depth):
        low = schema.get("minimum", 0)
        return self.random.randint(low, schema.get("maximum", low + 50))

    def make_number(self, schema, name, depth):
        return self.make_integer(schema, name, depth) + self.random.choice((0, 0.5, 0.25))

    def make_array(self, schema, name, depth):
        count = self.random.choice((1, 1, 2, 3)) if depth < 6 else 0
        count = min(max(count, schema.get("minItems", 0)), schema.get("maxItems", 3))
        return [self.value(schema.get("items", {}), name, depth + 1) for _ in range(count)]

    def make_object(self, schema, name, depth):
        made = {}
        required = schema.get("required", [])
        for member, inner in schema.get("properties", {}).items():
            if member in required or (depth < 6 and self.random.random() < 0.4):
                made[member] = self.value(inner, member, depth + 1)
        extra = schema.get("additionalProperties")
        if isinstance(extra, dict):
            keys = self.pools.values(name + "{}") or ["a", "b"]
            for key in self.random.sample(keys, self.random.randrange(len(keys) + 1)):
                made[key] = self.value(extra, "", depth + 1)
        elif not made and "properties" not in schema:
            made = {"n": self.random.randrange(100), "region": self.random.choice(("eu", "us"))}
        return self.pools.fit(name, made, self.random)

    # --- requests ---

    def query(self, parameters):
        pairs = []
        for parameter in parameters:
            if parameter["in"] != "query":
                continue
            if not parameter.get("required") and self.random.random() < 0.75:
                continue
            name, schema = parameter["name"], resolve(self.document, parameter["schema"])
            value = self.value(schema, name)
            if isinstance(value, list):
                pairs += [(name, one) for one in value]
            elif isinstance(value, dict):
                pairs += [(f"{name}[{key}]", one) for key, one in value.items()]
            else:
                pairs.append((name, value))
        return [(name, json.dumps(value) if isinstance(value, (bool, dict)) else str(value))
                for name, value in pairs]

    def target(self, path, parameters, pairs):
        for parameter in parameters:
            if parameter["in"] == "path":
                values = self.pools.of_path(path)
                value = (self.random.choice(values) if values else
                         self.value(parameter["schema"], parameter["name"]))
                path = path.replace("{" + parameter["name"] + "}",
                                    urllib.parse.quote(str(value), safe=""))
        return path + ("?" + urllib.parse.urlencode(pairs) if pairs else "")

    def request(self, method, path, broken):
        operation = self.operation(method, path)
        parameters = self.parameters(path, operation)
        fields, body = {}, None
        for parameter in parameters:
            if parameter["in"] == "header" and self.random.random() < 0.3:
                fields[parameter["name"]] = str(self.value(parameter["schema"], parameter["name"]))
        content = resolve(self.document, operation.get("requestBody", {})).get("content")
        if content:
            kind = self.random.choice(sorted(content))
            fields["Content-Type"] = kind
            value = self.value(content[kind].get("schema", {}))
            body = json.dumps(value) if "json" in kind else str(value)
        accepted = sorted({kind for answer in operation["responses"].values()
                           for kind in resolve(self.document, answer).get("content", {})})
        if accepted and self.random.random() < 0.3:
            fields["Accept"] = self.random.choice(accepted)
        pairs = self.pools.fit_query(self.query(parameters), self.random)
        if not broken:
            return Request(method, self.target(path, parameters, pairs), body, fields)
        return self.break_one(Request(method, self.target(path, parameters, pairs), body, fields))

    # --- what is broken ---

    def break_one(self, request):
        ways = [self.break_path, self.break_query]
        if request.body is not None:
            ways += [self.break_text, self.break_member, self.break_member, self.break_type]
        return self.random.choice(ways)(request)

    def break_path(self, request):
        parts = request.target.split("?")[0].split("/")
        at = self.random.randrange(1, len(parts))
        parts[at] = urllib.parse.quote(self.random.choice(STRANGE).encode("utf-8", "replace"))
        return request._replace(target="/".join(parts))

    def break_query(self, request):
        names = ("from", "to", "limit", "windowSize", "groupBy", "page", "cursor", "x",
                 "filterGroupBy[region]", "advancedMeterGroupByFilters", "windowTimeZone")
        pair = urllib.parse.urlencode(
            {self.random.choice(names): self.random.choice(STRANGE).encode("utf-8", "replace")})
        mark = "&" if "?" in request.target else "?"
        return request._replace(target=request.target + mark + pair)

    def break_text(self, request):
        text = request.body
        at = self.random.randrange(len(text) + 1)
        broken = self.random.choice((
            text[:at], text[:at] + self.random.choice(string.printable) + text[at:], "", "null",
            "[" * 1000, text + text, '{"a":1,"a":2}', '"' + "x" * 100000 + '"', "1e400"))
        return request._replace(body=broken)

    def break_member(self, request):
        value = json.loads(request.body)
        inside = value
        while isinstance(inside, list) and inside:
            inside = self.random.choice(inside)
        if not isinstance(inside, dict) or not inside:
            return request._replace(body=json.dumps([value]))
        member = self.random.choice(sorted(inside))
        if self.random.random() < 0.3:
            del inside[member]
        else:
            inside[member] = self.random.choice(
                (None, True, -1, 1.5, 10 ** 30, [], {}, [[]], {"a": {"b": {}}},
                 self.random.choice(STRANGE), self.random.choice(STRANGE)))
        return request._replace(body=json.dumps(value))

    def break_type(self, request):
        fields = dict(request.fields)
        fields["Content-Type"] = self.random.choice(
            ("text/plain", "application/xml", "", "application/json; charset=latin1", "*/*"))
        return request._replace(fields=fields)


# --- answers ---

TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int,
         "number": (int, float)}


def value_fault(document, schema, value, place="body"):
    """Why a value is not of a schema; None: it is."""
    schema = resolve(document, schema)
    if value is None:
        return None if schema.get("nullable") or "type" not in schema else f"{place} is null"
    for word in ("oneOf", "anyOf"):
        if word in schema:
            faults = [value_fault(document, one, value, place) for one in schema[word]]
            return None if None in faults else "; ".join(faults)
    for one in schema.get("allOf", ()):
        if fault := value_fault(document, one, value, place):
            return fault
    wanted = schema.get("type")
    if wanted and (not isinstance(value, TYPES[wanted]) or
                   isinstance(value, bool) != (wanted == "boolean")):
        return f"{place} is {value!r}, no {wanted}"
    if "enum" in schema and value not in schema["enum"]:
        return f"{place} is {value!r}, none of {schema['enum']}"
    if isinstance(value, list):
        faults = (value_fault(document, schema.get("items", {}), one, f"{place}[{i}]")
                  for i, one in enumerate(value))
        return next(filter(None, faults), None)
    if isinstance(value, dict):
        return members_fault(document, schema, value, place)
    return None


def members_fault(document, schema, value, place):
    properties = schema.get("properties", {})
    extra = schema.get("additionalProperties", True)
    for name in schema.get("required", ()):
        if name not in value:
            return f"{place}.{name} is missing"
    for name, inner in value.items():
        if name in properties:
            fault = value_fault(document, properties[name], inner, f"{place}.{name}")
        elif isinstance(extra, dict):
            fault = value_fault(document, extra, inner, f"{place}.{name}")
        elif properties:
            fault = f"{place}.{name} is not in the document"
        else:
            fault = None
        if fault:
            return fault
    return None


def answer_fault(document, operation, answer):
    """Why an answer is not one of its operation; None: it is."""
    responses = operation["responses"]
    if answer.status != 500 and str(answer.status) not in responses:
        return f"{answer.status} is not among {sorted(responses)}"
    response = resolve(document, responses.get(str(answer.status), responses.get("default")))
    content = response.get("content", {})
    kind = answer.fields.get("Content-Type", "").split(";")[0]
    if not content:
        return None if not answer.body else f"{answer.status} has a body"
    if kind not in content:
        return f"{kind!r} is not among {sorted(content)}"
    if answer.json is None:
        return None
    return value_fault(document, content[kind].get("schema", {}), answer.json)
