#!/usr/bin/env python3
"""Writes down what each deployed process is told, for tests/deployed.rs, which starts it as told.

    kubectl kustomize overlays/dev >dev
    ./processes.py dev=dev compose=../compose.yaml

Settings that all services have, Secrets that stand in the manifests, and the processes by name: arguments,
further settings, those that are secret and where they come from, which folder of ../secrets is mounted where,
and what probes ask for. Needs PyYAML.
"""

import base64
import json
import pathlib
import re
import sys

import yaml

# Secrets as ../README.md has them made, by the folders of ../secrets.
HASH = r"-[a-z0-9]{10}$"


def folder(secret):
    """The folder of ../secrets that a Secret is made of; a generated one has a hash behind its name."""
    return re.sub(r"^larder-|-tls$", "", re.sub(HASH, "", secret))


def image():
    """What the image itself says."""
    text = (pathlib.Path(__file__).parent / "../Dockerfile").read_text()
    lines = re.findall(r"^ENV (.*=:.*)$", text, re.MULTILINE)
    return dict(pair.split("=", 1) for line in lines for pair in line.split())


def of_manifests(objects):
    """Every container of the suite's own image."""
    settings = {}
    for thing in objects:
        if thing["kind"] == "ConfigMap" and thing["metadata"]["name"].startswith("larder-"):
            settings[thing["metadata"]["name"]] = thing["data"]
    for thing in objects:
        if thing["kind"] not in ("Deployment", "Job") or not thing["metadata"]["name"].startswith("larder-"):
            continue
        pod = thing["spec"]["template"]["spec"]
        container = pod["containers"][0]
        told, hidden = image(), {}
        for source in container.get("envFrom", []):
            told |= settings.get(source.get("configMapRef", {}).get("name"), {})
            if "secretRef" in source:
                addresses = folder(source["secretRef"]["name"])
                hidden |= {name: f"{addresses}/{name}" for name in ("DATABASE_URL", "REDIS_URL")}
        for variable in container.get("env", []):
            come = variable.get("valueFrom", {})
            if "secretKeyRef" in come:
                hidden[variable["name"]] = folder(come["secretKeyRef"]["name"]) + "/" + come["secretKeyRef"]["key"]
            elif "value" in variable:
                told[variable["name"]] = variable["value"]
        volumes = {volume["name"]: volume.get("secret") for volume in pod.get("volumes", [])}
        mounts = {
            mount["mountPath"]: folder(volumes[mount["name"]]["secretName"])
            for mount in container.get("volumeMounts", [])
            if volumes[mount["name"]] and not volumes[mount["name"]].get("optional")
        }
        probes = {
            kind: container[kind]["grpc"]["service"]
            for kind in ("startupProbe", "readinessProbe", "livenessProbe")
            if kind in container
        }
        name = thing["metadata"]["name"].removeprefix("larder-")
        yield name, {"args": container["args"], "settings": told, "secrets": hidden, "files": mounts, "probes": probes}


def given(objects):
    """What is no secret, as it stands in the manifests."""
    return {
        folder(thing["metadata"]["name"]): {
            key: base64.b64decode(value).decode() for key, value in thing["data"].items()
        }
        for thing in objects
        if thing["kind"] == "Secret"
    }


def of_compose(document):
    """Every service of the suite's own image. What Compose puts in is secret."""
    for name, service in document["services"].items():
        if "build" not in service:
            continue
        told = image() | service["environment"]
        hidden = {key: told.pop(key) for key, value in service["environment"].items() if "${" in value}
        mounts = {}
        for volume in service.get("volumes", []):
            source, target, _ = volume.split(":")
            mounts[target] = source.removeprefix("./.secrets/")
        yield name, {"args": service["command"], "settings": told, "secrets": hidden, "files": mounts, "probes": {}}


def hoisted(found):
    """The processes, and once what all services are told."""
    serving = [process["settings"] for process in found.values() if process["args"][0] == "serve"]
    common = dict(set.intersection(*(set(settings.items()) for settings in serving)))
    for process in found.values():
        if process["args"][0] == "serve":
            own = process["settings"].items()
            process["settings"] = {name: value for name, value in own if name not in common}
    return {"settings": common, "processes": found}


def main():
    written = {}
    for argument in sys.argv[1:]:
        name, path = argument.split("=", 1)
        documents = [thing for thing in yaml.safe_load_all(pathlib.Path(path).read_text()) if thing]
        if name == "compose":
            written[name] = hoisted(dict(of_compose(documents[0])))
        else:
            written[name] = hoisted(dict(of_manifests(documents))) | {"given": given(documents)}
    json.dump(written, sys.stdout, indent=2, sort_keys=True)
    print()


main()
