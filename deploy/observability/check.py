#!/usr/bin/env python3
"""Checks what watches the suite, without it and without a network.

Rules are rules, and tests of them pass; each alert is shown to fire and to be silent, and has a page in
the runbook, as each page has its alert; what is scraped has the job that alerts ask for. Queries of
dashboards are queries. Both name only metrics of METRICS.md, and labels that those have. Needs PyYAML, and
promtool for half of it.
"""

import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import yaml

from panels import queries

HERE = pathlib.Path(__file__).parent
# What a page tells, in this order; most say as well when it is no problem.
PARTS = ["Meaning", "Look at", "Do"]


# Labels of every series, from whoever scrapes.
EVERYWHERE = {"instance", "job", "service"}
# What METRICS.md does not have: it is not the suite that says it.
ALERTS = EVERYWHERE | {"alertname", "alertstate", "severity"}
BESIDE = {"up": EVERYWHERE, "ALERTS": ALERTS, "keyspace:larder_hit_ratio:rate10m": {"keyspace"}}


def read(name):
    """A YAML file of this folder."""
    return yaml.safe_load((HERE / name).read_text())


def rules():
    """Every rule of alerts.yaml."""
    return [rule for group in read("alerts.yaml")["groups"] for rule in group["rules"]]


def untold(alerts):
    """Alerts without a page, pages without an alert, and pages that lack a part."""
    text = (HERE / "../RUNBOOK.md").read_text()
    pages = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", text, re.M | re.S))
    for name in pages.keys() ^ alerts.keys():
        yield f"{name} has only one of an alert and a page"
    for name, page in pages.items():
        parts = [part for part in re.findall(r"^\*\*(.+?):\*\*", page, re.M) if part in PARTS]
        if parts != PARTS:
            yield f"the page of {name} has {parts}"
        for other in re.findall(r"\bLarder[A-Z]\w+", page):
            if other not in pages:
                yield f"the page of {name} names {other}, which is no page"
    for name, alert in alerts.items():
        if alert["annotations"].get("runbook_url") != f"deploy/RUNBOOK.md#{name.lower()}":
            yield f"{name} does not lead to its page"
        if alert["labels"].get("severity") not in ("critical", "warning"):
            yield f"{name} has no severity"


def unshown(alerts, tests):
    """Alerts that no test shows firing, or none shows silent."""
    shown = set()
    for test in (test for file in tests for test in read(file.name)["tests"]):
        for case in test["alert_rule_test"]:
            shown.add((case["alertname"], bool(case["exp_alerts"])))
    for name in alerts:
        for fires, word in ((True, "firing"), (False, "silent")):
            if (name, fires) not in shown:
                yield f"no test shows {name} {word}"


def misplaced(alerts):
    """Alerts that ask for a job that nobody scrapes as."""
    jobs = {job["job_name"] for job in read("prometheus.yaml")["scrape_configs"]}
    for name, alert in alerts.items():
        for asked in re.findall(r"job[=!~]+\"([^\"]*)\"", alert["expr"]):
            if asked not in jobs:
                yield f"{name} asks for the job {asked}; there is {sorted(jobs)}"


def metrics():
    """The labels of every series of METRICS.md."""
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) \|", (HERE / "../../METRICS.md").read_text(), re.M)
    found = dict(BESIDE)
    for name, kind, labels in rows:
        labels = set(re.findall(r"`(\w+)`", labels)) | EVERYWHERE
        if kind == "histogram":
            found |= {f"{name}_{part}": labels for part in ("sum", "count")}
            found[f"{name}_bucket"] = labels | {"le"}
        else:
            found[name] = labels
    return found


def unknown(where, expression, known):
    """Metrics and labels in an expression that nothing has."""
    bare = re.sub(r'"[^"]*"', '""', expression)
    plain = re.sub(r"\{[^}]*\}|\[[^]]*\]|\b(by|on) \([^)]*\)", "", bare)
    named = set(re.findall(r"[A-Za-z_][\w:]*\b(?!\s*\()", plain)) - {"and", "or", "unless"}
    for name in sorted(named - known.keys()):
        yield f"{where}: there is no metric {name}"
    for name, matchers in re.findall(r"([\w:]+)\{(.*?)\}", bare):
        for label in re.findall(r"(\w+)\s*[=!]", matchers):
            if label not in known.get(name, {label}):
                yield f"{where}: {name} has no label {label}"
    labels = set().union(*(known[name] for name in named & known.keys()))
    for group in re.findall(r"\b(?:by|on) \(([\w, ]*)\)", bare):
        for label in set(re.split(r",\s*", group)) - labels - EVERYWHERE:
            yield f"{where}: nothing that is asked for has a label {label}"


def boards():
    """Every query of every dashboard: where it stands, and what it is."""
    for file in sorted((HERE / "dashboards").glob("*.json")):
        for title, expression in queries(json.loads(file.read_text())):
            yield f"{file.name}, {title}", expression


def unseen(alerts):
    """Alerts that no panel leads to the page of."""
    boards = (json.loads(file.read_text()) for file in (HERE / "dashboards").glob("*.json"))
    titles = {link["title"] for board in boards for one in board["panels"] for link in one.get("links", [])}
    for name in alerts:
        if f"Runbook: {name}" not in titles:
            yield f"no panel leads to the page of {name}"


def refused(asked):
    """Queries that Prometheus would not understand: each is looked at as a rule would be."""
    recorded = [{"record": f"query:{n}", "expr": expression} for n, (_, expression) in enumerate(asked)]
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump({"groups": [{"name": "queries", "rules": recorded}]}, file)
        file.flush()
        for line in promtool("check", "rules", file.name):
            yield re.sub(r"query:(\d+)", lambda number: asked[int(number[1])][0], line)


def misled():
    """What is wrong in what the collector and Grafana are told, as far as their files show it."""
    collector = read("collector.yaml")
    kinds = ("receivers", "processors", "exporters")
    for name, pipeline in collector["service"]["pipelines"].items():
        if pipeline["processors"][0] != "memory_limiter":
            yield f"the collector's {name} have no limit of memory before all else"
        for part in ((kind, one) for kind in kinds for one in pipeline[kind]):
            if part[1] not in collector[part[0]]:
                yield f"the collector's {name} go through {part[1]}, which is not there"
    services = read("../compose.yaml")["services"]
    sources = read("grafana/datasources.yaml")["datasources"]
    addresses = [source["url"] for source in sources]
    addresses += [one["endpoint"] for one in collector["exporters"].values() if "endpoint" in one]
    for address in addresses:
        if re.sub(r"^\w+://", "", address).partition(":")[0] not in services:
            yield f"compose.yaml has nothing at {address}"
    wanted = {to["datasourceUid"] for s in sources for to in s["jsonData"].get("exemplarTraceIdDestinations", [])}
    for missing in wanted - {source["uid"] for source in sources}:
        yield f"Grafana knows no {missing}"


def promtool(*arguments):
    """Runs it; what it does not like is wrong."""
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, cwd=HERE)
    if done.returncode != 0:
        yield f"promtool {' '.join(map(str, arguments))}: {done.stdout}{done.stderr}"


def main():
    alerts = {rule["alert"]: rule for rule in rules() if "alert" in rule}
    tests = sorted(HERE.glob("*.test.yaml"))
    wrong = [*untold(alerts), *unshown(alerts, tests), *misplaced(alerts), *misled(), *unseen(alerts)]
    asked = [*boards()]
    known = metrics()
    for where, expression in asked + [(name, alert["expr"]) for name, alert in alerts.items()]:
        wrong += unknown(where, expression, known)
    if shutil.which("promtool"):
        wrong += refused(asked)
        wrong += promtool("check", "config", "--syntax-only", "prometheus.yaml")
        wrong += promtool("check", "rules", "alerts.yaml")
        wrong += promtool("test", "rules", *(test.name for test in tests))
    else:
        print("promtool is missing: skipped")
    for line in wrong:
        print(f"observability: {line}", file=sys.stderr)
    if wrong:
        sys.exit(1)
    print(f"observability: {len(alerts)} alerts, each with its page and tests; {len(asked)} queries")


main()
