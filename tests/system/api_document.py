"""api/openapi.yaml and the table of api/routes.c, each as {(method, path): scopes}."""

import os
import re

import support

# Who may, by the words of a row.
SCOPES = {
    "ANYBODY": (), "HEALTH": (), "INGEST": ("ingest",), "READ": ("read",), "BILLING": ("billing",),
    "ADMIN": ("admin",), "EITHER": ("read", "billing"), "MAKES": ("billing",),
    "DEFINES": ("admin",), "EVENTS": ("ingest",),
}
METHODS = ("get", "post", "put", "patch", "delete")


def document():
    """What openapi.yaml says there is."""
    found = {}
    path = method = None
    is_inside = False
    with open(os.path.join(support.SOURCE_DIR, "api", "openapi.yaml"), encoding="utf-8") as file:
        for line in file:
            if re.match(r"\w", line):
                is_inside = line.startswith("paths:")
            if not is_inside:
                continue
            name = re.match(r"  (/\S*):$", line)
            if name:
                path, method = name[1], None
            word = re.match(r"    (\w+):$", line)
            if word and word[1] in METHODS:
                method = word[1].upper()
                found[method, path] = None
            scopes = re.match(r"      x-scopes: \[(.*)\]$", line)
            if scopes:
                assert method, line
                found[method, path] = frozenset(filter(None, scopes[1].split(", ")))
    return found


def table():
    """What the program answers."""
    with open(os.path.join(support.SOURCE_DIR, "api", "routes.c"), encoding="utf-8") as file:
        text = file.read()
    rows = re.findall(r'^    \{"([A-Z]+)", +"([^"]+)", +([A-Z]+), +(\w+)\},$', text, re.MULTILINE)
    with open(os.path.join(support.SOURCE_DIR, "api", "routes.h"), encoding="utf-8") as file:
        handlers = set(re.findall(r"^void (\w+)\(struct call \*call\);$", file.read(),
                                  re.MULTILINE))
    assert handlers == {row[3] for row in rows}, handlers ^ {row[3] for row in rows}
    return {(method, path): frozenset(SCOPES[who]) for method, path, who, _ in rows}
