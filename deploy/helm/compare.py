#!/usr/bin/env python3
"""Holds the Helm chart against what kustomize renders for production.

    (kubectl kustomize kubernetes/overlays/production
     for component in monitoring cert-manager; do
         echo ---; kubectl kustomize kubernetes/components/$component; done) | helm/compare.py helm/larder

The chart must lint, refuse values that it does not know, and give the same objects: those of
components only where they are asked for. What may differ is named in `essence`. Needs helm-python-sdk and
PyYAML.
"""

import sys

import helm_python
import yaml
from helm_python import chart as helm

NAMESPACE = "larder"


def essence(thing):
    """An object without what the two may say differently."""
    # Helm makes no namespace, and puts objects into that of the release.
    thing["metadata"].pop("namespace", None)
    # That of a Job is how Helm has it made anew.
    thing["metadata"].pop("annotations", None)
    # In which order these stand means nothing.
    pod = thing["spec"].get("template", {}).get("spec", {}) if "spec" in thing else {}
    for owner in [pod, *pod.get("containers", [])]:
        for field in {"env", "volumeMounts", "volumes"} & owner.keys():
            owner[field].sort(key=lambda entry: entry["name"])
    text = yaml.safe_dump(thing, sort_keys=True)
    if thing["kind"] == "Job":
        # A hook runs before the account is made.
        text = text.replace("      serviceAccountName: larder-migrate\n", "")
    return text


def objects(text):
    """The objects of a rendering, by kind and name; hashes are taken out of the names of settings."""
    for thing in (thing for thing in yaml.safe_load_all(text) if thing and thing["kind"] == "ConfigMap"):
        name = thing["metadata"]["name"]
        if "-settings-" in name:
            text = text.replace(name, name.rpartition("-")[0])
    found = {}
    for thing in yaml.safe_load_all(text):
        if not thing or thing["kind"] == "Namespace":
            continue
        if thing["metadata"]["name"] == "larder-migrate" and thing["kind"] == "ServiceAccount":
            continue
        found[thing["kind"], thing["metadata"]["name"]] = essence(thing)
    return found


def refused(chart):
    """Values that must not be taken, and were."""
    for values in (
        {"imagge": {}},
        {"image": {"repository": "larder", "pullPolicy": "Always"}},
        {"replicas": {"least": 1}},
        {"settings": {"LARDER_DRAIN_SECONDS": 25}},
        {"settings": {"LARDER_RATE_LIMIT_IP": "50/s"}},
        {"postgres": "postgres"},
        {"certManager": "yes"},
    ):
        try:
            chart.validate_schema(values)
        except helm_python.HelmError:
            continue
        yield f"the chart takes {values}"


def render(chart, **values):
    """All that the chart makes of values."""
    return "\n---\n".join(chart.render(values, name="larder", namespace=NAMESPACE).values())


def main():
    path, kustomized = sys.argv[1], sys.stdin.read()
    report = helm.lint(path, strict=True, namespace=NAMESPACE)
    wrong = [message["error"] for message in report["messages"] if message["severity"] >= 2]
    wrong += report["errors"]
    chart = helm.Chart.load(path)
    wrong += refused(chart)
    rendered, plain = render(chart, monitoring=True, certManager=True), render(chart)
    for group in ("monitoring.coreos.com", "cert-manager.io"):
        if group in plain:
            wrong.append(f"objects of {group} are there without being asked for")
    limited = objects(render(chart, gatewaySettings={"LARDER_RATE_LIMIT_IP": "50/s"}))
    told = [name for (_, name), thing in limited.items() if "LARDER_RATE_LIMIT_IP" in thing]
    if told != ["larder-gateway-settings"]:
        wrong.append(f"what the gateway alone is to be told stands in {told}")
    ours, theirs = objects(rendered), objects(kustomized)
    for name in sorted(ours.keys() | theirs.keys()):
        if ours.get(name) != theirs.get(name):
            wrong.append(f"{' '.join(name)} is not what kustomize makes of it")
    for line in wrong:
        print(f"helm: {line}", file=sys.stderr)
    if wrong:
        sys.exit(1)
    print(f"helm: {len(ours)} objects, all as kustomize renders them")


main()
