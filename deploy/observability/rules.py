#!/usr/bin/env python3
"""Writes alerts.yaml as the PrometheusRule of kubernetes/components/monitoring, which must not be edited.

    ./rules.py          # writes it
    ./rules.py --check  # fails if it is not what alerts.yaml says

kustomize cannot put one file into another; the Helm chart can, and reads alerts.yaml itself. Needs PyYAML.
"""

import pathlib
import sys

import yaml

HERE = pathlib.Path(__file__).parent
RULE = HERE / "../kubernetes/components/monitoring/rules.yaml"
HEAD = """\
# Written by deploy/observability/rules.py from alerts.yaml beside it: change that.
# yamllint disable rule:line-length
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: larder
  labels:
    app.kubernetes.io/part-of: larder
spec:
"""


def rendered():
    """The text of alerts.yaml below `spec`, with its comments."""
    text = (HERE / "alerts.yaml").read_text()
    groups = text[text.index("groups:\n") :]
    return HEAD + "".join(f"  {line}" if line.strip() else line for line in groups.splitlines(True))


def main():
    text = rendered()
    same = yaml.safe_load(text)["spec"] == yaml.safe_load((HERE / "alerts.yaml").read_text())
    assert same, "to indent it changed it"
    if sys.argv[1:] != ["--check"]:
        RULE.write_text(text)
    elif not RULE.exists() or RULE.read_text() != text:
        sys.exit("observability: rules.yaml of the component is not alerts.yaml: run rules.py")


main()
