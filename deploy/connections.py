#!/usr/bin/env python3
"""Whether PostgreSQL takes as many connections as the suite may open, where both are deployed here.

    kubectl kustomize kubernetes/overlays/dev >dev
    kubectl kustomize kubernetes/overlays/production >production
    ./connections.py dev=dev production=production compose=compose.yaml

How many a replica opens, the code says; all services share one server. Counted are all replicas that there may
be, with one more of each while they are rolled. Where the server is somebody else's, kubernetes/README.md says
the number. Needs PyYAML.
"""

import pathlib
import re
import sys

import yaml

HERE = pathlib.Path(__file__).parent
SERVICES = HERE / "../services"
DEFAULTS = HERE / "../shared/db/src/database.rs"
# Those that PostgreSQL keeps for its superuser, the migration's, and a person's or two.
BESIDE = 10


def pools():
    """What a replica of each service with tables opens at most."""
    default = dict(re.findall(r"^ +(read|write)_connections: (\d+),$", DEFAULTS.read_text(), re.M))
    found = {}
    for file in sorted(SERVICES.glob("*/src/lib.rs")):
        text = file.read_text()
        if "fn migrations(" not in text:
            continue
        reads, writes = int(default["read"]), int(default["write"])
        if "fn connections(" in text:
            # Whoever has its own number has it in this way, or nobody finds it here.
            name = re.search(r"read_connections: given\.read_connections\.min\((\w+)\),", text)[1]
            reads = min(reads, int(re.search(rf"const {name}: u32 = (\d+);", text)[1]))
        found[file.parts[-3]] = reads + writes
    return found


def of_compose(document):
    """How many replicas of each service there may be at once, and what PostgreSQL is started with."""
    services = document["services"]
    replicas = {name: s.get("deploy", {}).get("replicas", 1) for name, s in services.items()}
    return replicas, services["postgres"].get("command", [])


def of_manifests(objects):
    """The same of manifests; where PostgreSQL is somebody else's, nobody knows what it is started with."""
    of = lambda kind: [thing for thing in objects if thing["kind"] == kind]
    specs = {thing["metadata"]["name"]: thing["spec"] for thing in of("Deployment")}
    replicas = {}
    for scaling in of("HorizontalPodAutoscaler"):
        name = scaling["spec"]["scaleTargetRef"]["name"]
        surge = specs[name]["strategy"]["rollingUpdate"]["maxSurge"]
        replicas[name.removeprefix("larder-")] = scaling["spec"]["maxReplicas"] + surge
    server = specs.get("postgres")
    return replicas, server and server["template"]["spec"]["containers"][0].get("args", [])


def main():
    each = pools()
    wrong, told = [], []
    if f"{sum(each.values())} for one of each" not in (HERE / "README.md").read_text():
        wrong.append(f"README.md does not say that a replica opens {each}, {sum(each.values())} for one of each")
    for argument in sys.argv[1:]:
        name, path = argument.split("=", 1)
        objects = [thing for thing in yaml.safe_load_all(pathlib.Path(path).read_text()) if thing]
        replicas, command = of_compose(objects[0]) if name == "compose" else of_manifests(objects)
        needed = sum(replicas[service] * connections for service, connections in each.items())
        told.append(f"{needed} in {name}")
        if command is None:
            if f"{needed} connections" not in (HERE / "kubernetes/README.md").read_text():
                wrong.append(f"kubernetes/README.md does not say that {name} opens {needed} connections")
            continue
        said = re.search(r"\bmax_connections=(\d+)", " ".join(command))
        most = int(said[1]) if said else 100
        if needed + BESIDE > most:
            wrong.append(f"{name} may open {needed} connections, and PostgreSQL takes {most}")
    for line in wrong:
        print(f"connections: {line}", file=sys.stderr)
    if wrong:
        sys.exit(1)
    print(f"connections: at most {', '.join(told)}")


main()
