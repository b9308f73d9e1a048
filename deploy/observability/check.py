#!/usr/bin/env python3
"""Checks what watches the suite, without it and without a network.

Rules are rules, and tests of them pass; each alert is shown to fire and to be silent, and has a page in
the runbook, as each page has its alert; what is scraped has the job that alerts ask for. Needs PyYAML, and
promtool for half of it.
"""

import pathlib
import re
import shutil
import subprocess
import sys

import yaml

HERE = pathlib.Path(__file__).parent
# What a page tells, in this order; most say as well when it is no problem.
PARTS = ["Meaning", "Look at", "Do"]


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


def promtool(*arguments):
    """Runs it; what it does not like is wrong."""
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, cwd=HERE)
    if done.returncode != 0:
        yield f"promtool {' '.join(map(str, arguments))}: {done.stdout}{done.stderr}"


def main():
    alerts = {rule["alert"]: rule for rule in rules() if "alert" in rule}
    tests = sorted(HERE.glob("*.test.yaml"))
    wrong = [*untold(alerts), *unshown(alerts, tests), *misplaced(alerts)]
    if shutil.which("promtool"):
        wrong += promtool("check", "config", "--syntax-only", "prometheus.yaml")
        wrong += promtool("check", "rules", "alerts.yaml")
        wrong += promtool("test", "rules", *(test.name for test in tests))
    else:
        print("promtool is missing: skipped")
    for line in wrong:
        print(f"observability: {line}", file=sys.stderr)
    if wrong:
        sys.exit(1)
    print(f"observability: {len(alerts)} alerts, each with its page and its tests")


main()
