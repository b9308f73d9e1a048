#!/usr/bin/env python3
"""Asks a Prometheus that scrapes the suite for each query of each dashboard, and says what it found.

    ./ask.py http://127.0.0.1:9090

A panel that finds nothing is named: either nothing of its kind has happened yet, or its query is wrong.
"""

import collections
import json
import pathlib
import sys
import urllib.parse
import urllib.request

from panels import queries

HERE = pathlib.Path(__file__).parent
# For one answer.
WAIT = 10


def found(prometheus, expression):
    """How many series a query finds now."""
    asked = urllib.parse.urlencode({"query": expression})
    with urllib.request.urlopen(f"{prometheus}/api/v1/query?{asked}", timeout=WAIT) as answer:
        return len(json.load(answer)["data"]["result"])


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    for file in sorted((HERE / "dashboards").glob("*.json")):
        series = collections.defaultdict(int)
        for panel, expression in queries(json.loads(file.read_text())):
            series[panel] += found(sys.argv[1].rstrip("/"), expression)
        empty = sorted(panel for panel, count in series.items() if not count)
        print(f"{file.stem}: {len(series) - len(empty)} of {len(series)} panels show something")
        for panel in empty:
            print(f"  nothing: {panel}")


main()
