"""What a dashboard of Grafana is made of, in words that fit on a line: see dashboards.py."""

import re

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
# Of every query: what the variables have chosen.
CHOSEN = 'job="larder",service=~"$service",instance=~"$instance"'
WIDTH = 24


def runbook(alert, pages):
    """The link from a panel to the page of an alert that looks at the same."""
    number = 1 + list(pages).index(alert)
    return {"title": f"Runbook: {alert}", "url": f"/d/larder-runbook?viewPanel={number}", "targetBlank": True}


def lines(title, unit, told, *queries, **more):
    """Lines over time. A query is an expression and what its lines are called."""
    return panel("timeseries", title, unit, told, queries, **more)


def number(title, unit, told, query, **more):
    """One number for now, coloured by thresholds."""
    return panel("stat", title, unit, told, [(query, "")], width=4, height=4, instant=True, **more)


def states(title, told, query, **more):
    """Bars over time: green where the value is 1, red where it is 0."""
    steps = [(None, "red"), (1, "green")]
    return panel("state-timeline", title, "none", told, [query], thresholds=steps, **more)


def heat(title, unit, told, metric, chosen=CHOSEN, **more):
    """A histogram over time."""
    query = f"sum by (le) (increase({metric}_bucket{{{chosen}}}[$__rate_interval]))"
    made = panel("heatmap", title, unit, told, [(query, "{{le}}")], **more)
    made["targets"][0]["format"] = "heatmap"
    made["options"] = {
        "calculate": False,
        "cellGap": 1,
        "color": {"mode": "scheme", "scheme": "Spectral", "steps": 64, "reverse": True},
        "filterValues": {"le": 1e-9},
        "legend": {"show": True},
        "tooltip": {"mode": "single", "yHistogram": True},
        "yAxis": {"axisPlacement": "left", "unit": unit},
    }
    return made


def table(title, told, query, columns, **more):
    """The labels of what a query finds now, in these columns."""
    made = panel("table", title, "none", told, [(query, "")], instant=True, **more)
    made["targets"][0]["format"] = "table"
    made["transformations"] = [
        {"id": "filterFieldsByName", "options": {"include": {"names": columns}}},
        {"id": "organize", "options": {"indexByName": {name: index for index, name in enumerate(columns)}}},
    ]
    return made


def words(title, text):
    """Markdown."""
    return {"type": "text", "title": title, "description": "", "width": 12, "height": 10,
            "options": {"mode": "markdown", "content": text}}


def panel(kind, title, unit, told, queries, width=8, height=8, instant=False, thresholds=(), link=None, most=None):
    """A panel. `thresholds` are pairs of a value and the colour from there on; `link` names alerts."""
    targets = []
    for index, (expression, legend) in enumerate(queries):
        target = {"refId": chr(ord("A") + index), "datasource": SOURCE, "expr": expression, "legendFormat": legend}
        target |= {"instant": True, "range": False} if instant else {"range": True, "exemplar": "_bucket" in expression}
        targets.append(target)
    steps = [{"value": value, "color": colour} for value, colour in thresholds or [(None, "green")]]
    defaults = {"unit": unit, "min": 0, "thresholds": {"mode": "absolute", "steps": steps}}
    if most is not None:
        defaults["max"] = most
    made = {"type": kind, "title": title, "description": told, "datasource": SOURCE, "targets": targets,
            "width": width, "height": height, "fieldConfig": {"defaults": defaults, "overrides": []},
            "links": [link] if isinstance(link, str) else list(link or [])}
    if kind == "timeseries":
        custom = {"lineWidth": 1, "fillOpacity": 8, "showPoints": "never"}
        if thresholds:
            custom["thresholdsStyle"] = {"mode": "dashed"}
        defaults["custom"] = custom
        legend = {"showLegend": True, "displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"]}
        made["options"] = {"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}}
    if kind == "stat":
        reduced = {"calcs": ["lastNotNull"], "fields": "", "values": False}
        made["options"] = {"colorMode": "value", "graphMode": "none", "textMode": "value", "reduceOptions": reduced}
    if kind == "state-timeline":
        defaults["color"] = {"mode": "thresholds"}
        made["options"] = {"mergeValues": True, "showValue": "never", "legend": {"showLegend": False}}
    return made


def choice(name, label, query):
    """A variable: some of the values that a label has, or all of them."""
    return {"type": "query", "name": name, "label": label, "datasource": SOURCE,
            "query": {"query": query, "refId": "StandardVariableQuery"}, "refresh": 2, "sort": 1,
            "multi": True, "includeAll": True, "allValue": ".*",
            "current": {"selected": True, "text": ["All"], "value": ["$__all"]}}


def placed(rows, pages):
    """Panels under the headings of their rows, from left to right, each with a number and a place."""
    number, top, made = 0, 0, []
    for heading, panels in rows.items():
        if heading:
            number += 1
            made.append({"id": number, "type": "row", "title": heading, "collapsed": False, "panels": [],
                         "gridPos": {"x": 0, "y": top, "w": WIDTH, "h": 1}})
            top += 1
        left, deep = 0, 0
        for one in panels:
            one = dict(one)
            wide, high = one.pop("width"), one.pop("height")
            if left + wide > WIDTH:
                left, top, deep = 0, top + deep, 0
            number += 1
            one |= {"id": number, "gridPos": {"x": left, "y": top, "w": wide, "h": high}}
            one["links"] = [runbook(alert, pages) for alert in one.get("links", [])]
            left, deep = left + wide, max(deep, high)
            made.append(one)
        top += deep
    return made


def dashboard(name, title, told, rows, pages, variables=()):
    """A dashboard, as Grafana keeps it."""
    source = {"type": "datasource", "name": "datasource", "label": "Prometheus", "query": "prometheus",
              "refresh": 1, "current": {}}
    return {
        "uid": f"larder-{name}",
        "title": title,
        "description": told,
        "tags": ["larder"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "timezone": "browser",
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "links": [{"type": "dashboards", "title": "Larder", "tags": ["larder"], "includeVars": True, "keepTime": True}],
        "templating": {"list": [source, *variables] if variables else []},
        "annotations": {"list": []},
        "panels": placed(rows, pages),
    }


def queries(board):
    """Every query of a dashboard, as (panel, expression), with all that variables can choose."""
    known = {"$__rate_interval": "1m", "$service": ".*", "$instance": ".*", "$keyspace": ".*"}
    for one in board["panels"]:
        for target in one.get("targets", []):
            yield one["title"], re.sub(r"\$\w+", lambda name: known[name[0]], target["expr"])
