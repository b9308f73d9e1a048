#!/usr/bin/env python3
"""Checks compose.yaml, and that the versions of versions.env are the same wherever they stand.

Variables are put in as Compose does; then the file must be one of Compose, and every container be
guarded; users of Redis are the same everywhere. Run in this folder. Needs compose-spec and PyYAML.
"""

import pathlib
import re
import sys

import compose_spec
import yaml


def variables(*files):
    """The variables of files of NAME=value lines."""
    lines = [line for file in files for line in pathlib.Path(file).read_text().splitlines()]
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def interpolate(text, known):
    """Puts variables in; one that is not known stops the check, as `:?` stops Compose."""

    def value(match):
        if match[1] not in known:
            raise SystemExit(f"compose.yaml: {match[1]} is in neither versions.env nor the example")
        return known[match[1]]

    return re.sub(r"\$\{(\w+)(?::\?[^}]*)?\}", value, text)


def unguarded(name, service):
    """What a container may do and should not."""
    if not service.get("read_only"):
        yield f"{name} writes to its root"
    if service.get("cap_drop") != ["ALL"]:
        yield f"{name} keeps capabilities"
    if "no-new-privileges:true" not in service.get("security_opt", []):
        yield f"{name} may gain privileges"
    for port in service.get("ports", []):
        host = port.get("host_ip") if isinstance(port, dict) else str(port).rpartition(":")[0]
        if not (host or "").startswith("127.0.0.1"):
            yield f"{name} is reached from other machines: {port}"
    image = service.get("image", "")
    if not re.search(r":[^:/]*(\d|dev)[^:/]*$", image):
        yield f"{name} has an image without a version: {image}"


def limited(name, service):
    """Limits of visitors where there are none: a service sees the gateway's address alone."""
    for variable in service.get("environment", {}):
        if name != "gateway" and re.match(r"LARDER_(RATE|TRUSTED)_", variable):
            yield f"{name} has {variable}, which is the gateway's alone"


def elsewhere(versions):
    """Versions that stand in other files as well."""
    stated = [
        ("Dockerfile", r"ARG RUST_VERSION=(\S+)", "RUST_VERSION"),
        ("../rust-toolchain.toml", r'channel = "(\S+)"', "RUST_VERSION"),
        ("kubernetes/overlays/dev/postgres.yaml", r"image: postgres:(\S+)", "POSTGRES_VERSION"),
        ("kubernetes/overlays/dev/redis.yaml", r"image: redis:(\S+)", "REDIS_VERSION"),
    ]
    for file, pattern, name in stated:
        found = re.findall(pattern, pathlib.Path(file).read_text())
        if found != [versions[name]]:
            yield f"{file} has {found}, and versions.env has {name}={versions[name]}"


def disunited():
    """Whether dev has other users of Redis than redis/users.acl, passwords aside."""
    files = ("redis/users.acl", "kubernetes/overlays/dev/users.acl")
    users, of_dev = (re.sub(r"#\S+", "#", pathlib.Path(file).read_text()) for file in files)
    if users != of_dev:
        yield f"{files[1]} is not {files[0]} with other passwords"


def main():
    versions = variables("versions.env")
    known = versions | variables("compose.env.example")
    text = interpolate(pathlib.Path("compose.yaml").read_text(), known)
    # What is merged is merged here: the parser takes no merge within a merge.
    document = yaml.safe_load(text)
    compose_spec.PyCompose.from_yaml(yaml.safe_dump(document)).validate()
    services = document["services"]
    wrong = [line for name, service in services.items() for line in unguarded(name, service)]
    wrong += [line for name, service in services.items() for line in limited(name, service)]
    wrong += [*elsewhere(versions), *disunited()]
    for line in wrong:
        print(f"containers: {line}", file=sys.stderr)
    if wrong:
        sys.exit(1)
    print(f"containers: {len(services)} services of Compose, all guarded")


main()
