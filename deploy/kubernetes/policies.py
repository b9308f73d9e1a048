#!/usr/bin/env python3
"""Judges rendered NetworkPolicies as Kubernetes does, and holds them against the call graph.

    kubectl kustomize overlays/dev | ./policies.py dev

Every pair of ends and every port is tried: an edge of the graph must be let through by both of its
ends, and whatever is no edge must be refused. Probes are not here, since a kubelet reaches the pods of
its own node whatever the policies say. Needs PyYAML.
"""

import ipaddress
import itertools
import sys

import yaml

NAMESPACE = "larder"
NAME = "app.kubernetes.io/name"
SERVICES = ["profiles", "products", "comments", "reports"]
SUITE = [*SERVICES, "gateway"]


def own(name):
    """A pod of the suite's own namespace."""
    return {"namespace": NAMESPACE, "labels": {NAME: name, "app.kubernetes.io/part-of": "larder"}}


def other(namespace, **labels):
    """A pod of another namespace, whose policies are not ours: they let everything through."""
    return {"namespace": namespace, "labels": labels}


def ends(overlay):
    """Who may try to reach whom. What is called stranger is nobody's friend."""
    found = {name: own(name) for name in [*SUITE, "migrate", "stranger"]}
    found |= {
        "ingress": other("ingress-nginx"),
        "dns": other("kube-system", **{"k8s-app": "kube-dns"}),
        "kube-system": other("kube-system"),
        "collector": other("monitoring", **{NAME: "opentelemetry-collector"}),
        "prometheus": other("monitoring", **{NAME: "prometheus"}),
        "monitoring": other("monitoring"),
        "outsider": other("default", **{NAME: "gateway"}),
        "internet": {"address": "203.0.113.7"},
    }
    if overlay == "dev":
        return found | {"postgres": own("postgres"), "redis": own("redis")}
    return found | {"postgres": {"address": "192.0.2.10"}, "redis": {"address": "192.0.2.20"}}


def call_graph(overlay):
    """Every edge that there is, as (from, to, protocol, port)."""
    edges = {("ingress", "gateway", "TCP", 8080)}
    edges |= {("gateway", s, "TCP", port) for s in SERVICES for port in (7000, 9000)}
    edges |= {("comments", "profiles", "TCP", 7000), ("reports", "products", "TCP", 7000)}
    edges |= {("prometheus", s, "TCP", 9000) for s in SUITE}
    edges |= {(s, "collector", "TCP", 4317) for s in SUITE}
    edges |= {(s, "redis", "TCP", 6379) for s in SUITE}
    edges |= {(s, "postgres", "TCP", 5432) for s in [*SERVICES, "migrate"]}
    inside = [name for name, end in ends(overlay).items() if end.get("namespace") == NAMESPACE]
    return edges | {(n, "dns", protocol, 53) for n in inside for protocol in ("UDP", "TCP")}


def selects(selector, labels):
    """Whether a label selector takes these labels; an empty one takes all."""
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    for rule in selector.get("matchExpressions") or []:
        value, listed = labels.get(rule["key"]), rule.get("values") or []
        holds = {
            "In": value in listed,
            "NotIn": value not in listed,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }[rule["operator"]]
        if not holds:
            return False
    return True


def is_peer(peer, end):
    """Whether an end is meant by one entry of `from` or `to` of a policy of our namespace."""
    if "ipBlock" in peer:
        if "address" not in end:
            return False
        address, block = ipaddress.ip_address(end["address"]), peer["ipBlock"]
        within = lambda cidr: address in ipaddress.ip_network(cidr)
        return within(block["cidr"]) and not any(map(within, block.get("except") or []))
    if "address" in end:
        return False
    if "namespaceSelector" in peer:
        namespace = {"kubernetes.io/metadata.name": end["namespace"]}
        if not selects(peer["namespaceSelector"], namespace):
            return False
    elif end["namespace"] != NAMESPACE:
        return False
    return selects(peer.get("podSelector") or {}, end["labels"])


def is_port(rule, protocol, port):
    """Whether a rule's ports have this one; none at all means every one."""
    if not rule.get("ports"):
        return True
    for entry in rule["ports"]:
        if not isinstance(entry.get("port", 0), int):
            raise SystemExit(f"a port by its name is not understood here: {entry['port']}")
        last = entry.get("endPort", entry.get("port"))
        number = "port" not in entry or entry["port"] <= port <= last
        if entry.get("protocol", "TCP") == protocol and number:
            return True
    return False


def passes(policies, end, direction, peer, protocol, port):
    """Whether the policies of one end let it through: all, where none of them selects it."""
    if end.get("namespace") != NAMESPACE:
        return True
    kind, peers = {"out": ("Egress", "to"), "in": ("Ingress", "from")}[direction]
    bound = [
        p["spec"]
        for p in policies
        if selects(p["spec"].get("podSelector") or {}, end["labels"])
        and kind in p["spec"].get("policyTypes", ["Ingress"])
    ]
    rules = [rule for spec in bound for rule in spec.get(kind.lower()) or []]
    return not bound or any(
        is_port(rule, protocol, port)
        and (not rule.get(peers) or any(is_peer(p, peer) for p in rule[peers]))
        for rule in rules
    )


def judge(policies, overlay):
    """What is refused and should not be, and what is let through and should not be."""
    all_ends, edges = ends(overlay), call_graph(overlay)
    ports = {(protocol, port) for _, _, protocol, port in edges}
    # 7001 answers probes, which come from the node: no pod may ask there.
    ports |= {("TCP", 22), ("TCP", 443), ("UDP", 7000), ("TCP", 7001), ("TCP", 65535)}
    wrong, tried = [], 0
    for source, target in itertools.product(all_ends, repeat=2):
        if NAMESPACE not in (all_ends[source].get("namespace"), all_ends[target].get("namespace")):
            continue
        for protocol, port in sorted(ports):
            a, b = all_ends[source], all_ends[target]
            through = passes(policies, a, "out", b, protocol, port)
            through = through and passes(policies, b, "in", a, protocol, port)
            tried += 1
            if through != ((source, target, protocol, port) in edges):
                verdict = "let through" if through else "refused"
                wrong.append(f"{source} -> {target} {protocol} {port} is {verdict}")
    return wrong, tried, len(edges)


def misnamed(objects, overlay):
    """Whether processes let in, by certificate, others than whom the policies let through."""
    for thing in objects:
        containers = thing["spec"]["template"]["spec"]["containers"] if thing["kind"] == "Deployment" else []
        for variable in (v for container in containers for v in container.get("env", [])):
            name = thing["metadata"]["name"].removeprefix("larder-")
            if variable["name"] == "LARDER_CALLERS":
                through = {a for a, b, _, port in call_graph(overlay) if b == name and port == 7000}
                if set(variable["value"].split(",")) != through:
                    yield f"{name} lets in {variable['value']}, policies {','.join(sorted(through))}"


def main():
    overlay = sys.argv[1]
    objects = [o for o in yaml.safe_load_all(sys.stdin) if o]
    policies = [o for o in objects if o["kind"] == "NetworkPolicy"]
    wrong, tried, edges = judge(policies, overlay)
    # That it can fail is part of each run: without any one policy, something must be wrong.
    for policy in policies:
        rest = [p for p in policies if p is not policy]
        if not judge(rest, overlay)[0]:
            wrong.append(f"{policy['metadata']['name']} makes no difference")
    wrong += misnamed(objects, overlay)
    for line in wrong:
        print(f"policies of {overlay}: {line}", file=sys.stderr)
    if wrong:
        sys.exit(1)
    print(f"policies of {overlay}: {edges} edges let through, {tried - edges} others refused")


main()
