#!/usr/bin/env python3
"""Finds in rendered manifests what a schema cannot see and a cluster would refuse, or bear in silence.

    kubectl kustomize overlays/dev | ./wiring.py
    cat several | ./wiring.py larder-addresses      # objects that exist already

Every name leads to an object, every selector to the pods that it is for, every path to a mounted file and
every https address to a certificate for it; no secret is written where all may read; visitors are limited
where they come in; a pod has time to drain, and may do no more than pod security `restricted` allows. Needs
PyYAML.
"""

import pathlib
import re
import sys
from urllib.parse import urlsplit

import yaml

# What Prometheus is told for Compose.
SCRAPED = pathlib.Path(__file__).parent / "../observability/prometheus.yaml"

# What a process may take to end beside its drain: see terminationGracePeriodSeconds.
FAREWELL = 5

# How long nginx keeps an idle connection to what is behind it.
PROXY_KEEPALIVE_MS = 60_000


def is_taken(selector, labels):
    """Whether plain labels are selected, as by a Service."""
    return all(labels.get(key) == value for key, value in selector.items())


def restricted(name, pod):
    """What pod security `restricted` refuses, and the little more that this suite asks of a pod."""
    context = pod.get("securityContext", {})
    if not context.get("runAsNonRoot"):
        yield f"{name} may run as root"
    if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield f"{name} has no seccomp profile"
    if pod.get("automountServiceAccountToken") is not False:
        yield f"{name} is given a token of the API server"
    for container in pod["containers"]:
        own = container.get("securityContext", {})
        if own.get("allowPrivilegeEscalation") is not False or not own.get("readOnlyRootFilesystem"):
            yield f"{name} may gain privileges, or write to its root"
        if own.get("capabilities", {}).get("drop") != ["ALL"]:
            yield f"{name} keeps capabilities"
        resources = container.get("resources", {})
        if "memory" not in resources.get("limits", {}) or "cpu" in resources.get("limits", {}):
            yield f"{name} needs a limit of memory, and none of CPU"


def timely(name, pod, settings):
    """Whether the time to end is enough, and probes ask for three different things."""
    for container in pod["containers"]:
        pause = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        needed = pause + int(settings.get("LARDER_DRAIN_SECONDS", 25)) + FAREWELL
        if pod.get("terminationGracePeriodSeconds", 30) < needed:
            yield f"{name} needs {needed} seconds to end"
        kinds = [container.get(kind, {}) for kind in ("startupProbe", "readinessProbe", "livenessProbe")]
        asked = {probe["grpc"]["service"] for probe in kinds if "grpc" in probe}
        if any("grpc" in probe for probe in kinds) and asked != {"startup", "readiness", "liveness"}:
            yield f"{name} has probes for {sorted(asked)}"


def secret(variable):
    """Whether a variable's value is for few eyes. What names a file of it is not."""
    hush = re.search(r"SECRET|PASSWORD|TOKEN|KEY|DATABASE_URL|REDIS_URL|OTLP_\w*HEADERS", variable)
    return bool(hush) and not re.search(r"_FILE$|^(LARDER_TLS|REDIS)_KEY$", variable)


def told(name, container, settings):
    """What a process is told: no secret for all to read, nothing that is put in before it is known."""
    known = set()
    for variable in container.get("env", []):
        if "value" in variable and secret(variable["name"]):
            yield f"{name} has {variable['name']} for all to read"
        for wanted in re.findall(r"\$\((\w+)\)", variable.get("value", "")):
            if wanted not in known:
                yield f"{name} puts $({wanted}) into {variable['name']} before it is known"
        known.add(variable["name"])
    health = settings.get("LARDER_HEALTH_ADDR", "").rpartition(":")[2]
    for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
        if "grpc" in container.get(kind, {}) and str(container[kind]["grpc"]["port"]) != health:
            yield f"{name} is probed elsewhere than LARDER_HEALTH_ADDR"


def visited(name, container, settings):
    """Limits of visitors where none come, since a service sees the gateway's address alone; and whether where
    they come, connections are kept for longer than proxies keep them."""
    if "http" in [port.get("name") for port in container.get("ports", [])]:
        if int(settings.get("LARDER_HEAD_TIMEOUT_MS", 0)) <= PROXY_KEEPALIVE_MS:
            yield f"{name} closes idle connections before a proxy does: see LARDER_HEAD_TIMEOUT_MS"
        return
    told = {*settings, *(variable["name"] for variable in container.get("env", []))}
    for variable in sorted(told):
        if re.match(r"LARDER_(RATE|TRUSTED)_", variable):
            yield f"{name} has {variable}, which is the gateway's alone"


def mounted(name, pod, settings, owned):
    """Whether what is mounted exists, and files that settings name are among it."""
    for volume in pod.get("volumes", []):
        for source in volume.get("projected", {}).get("sources", [volume]):
            for kind, field in (("Secret", "secret"), ("ConfigMap", "configMap")):
                source_of = source.get(field, {"optional": True})
                wanted = source_of.get("secretName") or source_of.get("name")
                if not source_of.get("optional") and not owned(kind, wanted):
                    yield f"{name} mounts {kind} {wanted}, which is not there"
    for container in pod["containers"]:
        for variable in container.get("env", []):
            wanted = variable.get("valueFrom", {}).get("secretKeyRef", {}).get("name")
            if wanted and not owned("Secret", wanted):
                yield f"{name} reads Secret {wanted}, which is not there"
        if not any("configMapRef" in source for source in container.get("envFrom", [])):
            continue
        paths = [mount["mountPath"] for mount in container.get("volumeMounts", [])]
        for setting, value in settings.items():
            if value.startswith("/") and not any(value.startswith(path + "/") for path in paths):
                yield f"{name} has no {value}, which {setting} names"


def reachable(name, objects, settings):
    """Whether addresses lead to Services and their ports, and over https to a certificate of their name."""
    ports = {
        (thing["metadata"]["name"], port["port"])
        for thing in objects
        if thing["kind"] == "Service"
        for port in thing["spec"]["ports"]
    }
    certificates = [thing["spec"] for thing in objects if thing["kind"] == "Certificate"]
    names = {dns for spec in certificates for dns in spec.get("dnsNames", [])}
    for setting, value in settings.items():
        url = urlsplit(value)
        # Whoever has a dot is somebody else's.
        if setting.endswith("_ADDR") and url.hostname and "." not in url.hostname:
            if (url.hostname, url.port) not in ports:
                yield f"{name} has {setting}={value}, and no Service is there"
            if url.scheme == "https" and certificates and url.hostname not in names:
                yield f"{name} has {setting}={value}, and there is no certificate for it"


def mislabelled(monitor, services):
    """Whether a ServiceMonitor gives other labels than Prometheus does for Compose: rules ask for those."""
    scraped = yaml.safe_load(SCRAPED.read_text())["scrape_configs"]
    prefix = "__meta_kubernetes_service_label_"
    meta = {r["targetLabel"]: r["sourceLabels"] for r in monitor["endpoints"][0].get("relabelings", [])}
    source = meta.get("service", [""])[0].removeprefix(prefix)
    found = set()
    for service in services:
        labels = service["metadata"]["labels"]
        named = {re.sub(r"\W", "_", key): value for key, value in labels.items()}
        found.add((labels.get(monitor.get("jobLabel")), named.get(source)))
    wanted = {(job["job_name"], n) for job in scraped for sd in job["dns_sd_configs"] for n in sd["names"]}
    if found != wanted:
        yield f"the ServiceMonitor scrapes as {sorted(found, key=str)}, Compose as {sorted(wanted)}"


def faults(objects, existing):
    """Everything that is wrong, a sentence each."""
    by_kind = {}
    for thing in objects:
        by_kind.setdefault(thing["kind"], []).append(thing)
    names = {(thing["kind"], thing["metadata"]["name"]) for thing in objects}
    of = lambda kind: by_kind.get(kind, [])
    pods = {}
    for thing in of("Deployment") + of("Job"):
        pods[thing["metadata"]["name"]] = thing["spec"]["template"]
    maps = {thing["metadata"]["name"]: thing.get("data", {}) for thing in of("ConfigMap")}
    for config, variable in ((config, variable) for config, data in maps.items() for variable in data):
        if secret(variable):
            yield f"the ConfigMap {config} has {variable} for all to read"

    def settings_of(container):
        sources = [source.get("configMapRef", {}).get("name") for source in container.get("envFrom", [])]
        return {name: value for source in sources for name, value in maps.get(source, {}).items()}

    owned = lambda kind, name: (kind, name) in names or name in existing
    for name, template in pods.items():
        pod = template["spec"]
        yield from restricted(name, pod)
        settings = settings_of(pod["containers"][0])
        yield from mounted(name, pod, settings, owned)
        yield from reachable(name, objects, settings)
        for container in pod["containers"]:
            yield from told(name, container, settings_of(container))
            yield from visited(name, container, settings_of(container))
        account = pod.get("serviceAccountName")
        if account and ("ServiceAccount", account) not in names:
            yield f"{name} runs as {account}, which is not there"
        for container in pod["containers"]:
            for source in container.get("envFrom", []):
                kind = "ConfigMap" if "configMapRef" in source else "Secret"
                wanted = next(iter(source.values()))["name"]
                if not owned(kind, wanted):
                    yield f"{name} reads {kind} {wanted}, which is not there"

    scaled = {thing["spec"]["scaleTargetRef"]["name"] for thing in of("HorizontalPodAutoscaler")}
    for missing in scaled - pods.keys():
        yield f"an autoscaler is for {missing}, which is not there"
    for thing in of("Deployment"):
        name, spec = thing["metadata"]["name"], thing["spec"]
        pod = spec["template"]["spec"]
        yield from timely(name, pod, settings_of(pod["containers"][0])) if name in scaled else ()
        rolling = spec.get("strategy", {}).get("rollingUpdate", {})
        if rolling.get("maxSurge", 1) == 0 and rolling.get("maxUnavailable", 1) == 0:
            yield f"{name} can never be rolled"
        if (name in scaled) == ("replicas" in spec):
            yield f"{name} needs either replicas or an autoscaler"
        if name in scaled and not any(
            is_taken(budget["spec"]["selector"]["matchLabels"], spec["template"]["metadata"]["labels"])
            for budget in of("PodDisruptionBudget")
        ):
            yield f"{name} has no disruption budget"

    for kind in ("Service", "PodDisruptionBudget"):
        for thing in of(kind):
            name, selector = thing["metadata"]["name"], thing["spec"]["selector"]
            selector = selector.get("matchLabels", selector)
            taken = [n for n, t in pods.items() if is_taken(selector, t["metadata"]["labels"])]
            if taken != [name]:
                yield f"{kind} {name} is for the pods of {taken}"
            ports = {
                port.get("name")
                for taken_name in taken
                for container in pods[taken_name]["spec"]["containers"]
                for port in container.get("ports", [])
            }
            for port in thing["spec"].get("ports", []):
                wanted = port.get("targetPort", port["name"])
                if isinstance(wanted, str) and wanted not in ports:
                    yield f"Service {name} leads to port {wanted}, which its pods do not have"

    for thing in of("ServiceMonitor"):
        selector = thing["spec"]["selector"]["matchLabels"]
        found = {
            s["metadata"]["name"]
            for s in of("Service")
            if is_taken(selector, s["metadata"].get("labels", {}))
            and thing["spec"]["endpoints"][0]["port"] in [p["name"] for p in s["spec"]["ports"]]
        }
        if found != scaled:
            yield f"the ServiceMonitor finds {sorted(found)}"
        yield from mislabelled(thing["spec"], [s for s in of("Service") if s["metadata"]["name"] in found])


def main():
    objects = [thing for thing in yaml.safe_load_all(sys.stdin) if thing]
    wrong = list(faults(objects, set(sys.argv[1:])))
    for line in wrong:
        print(f"wiring: {line}", file=sys.stderr)
    if wrong:
        sys.exit(1)
    print(f"wiring: {len(objects)} objects fit together")


main()
