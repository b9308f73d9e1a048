#!/usr/bin/env python3
"""Writes the dashboards of Grafana: how the suite is, how the cache is, and the runbook beside them.

    ./dashboards.py          # writes dashboards/*.json, which must not be edited
    ./dashboards.py --check  # fails if they are not what is written here and in RUNBOOK.md

Change a panel in Grafana to try it, then here: a panel is a line or two. Words are panels.py's.
"""

import json
import pathlib
import re
import sys

from panels import CHOSEN, choice, dashboard, heat, lines, number, states, table, words

HERE = pathlib.Path(__file__).parent
RED, ORANGE, GREEN = "red", "orange", "green"
# Of queries by keyspace.
KEYED = f'{CHOSEN},keyspace=~"$keyspace"'
FAULTS = "UNKNOWN|DEADLINE_EXCEEDED|INTERNAL|UNAVAILABLE|DATA_LOSS"
CALLS, REQUESTS = "rpc_server_call_duration_seconds", "http_server_request_duration_seconds"


def rate(metric, by="", chosen=CHOSEN, only=""):
    """How fast a counter grows, summed by labels."""
    grouped = f" by ({by})" if by else ""
    return f"sum{grouped} (rate({metric}{{{chosen}{only}}}[$__rate_interval]))"


def share(metric, only, by="", chosen=CHOSEN):
    """Which share of a counter's growth has these labels too: 0 where none has, nothing where it does not grow."""
    part, whole = rate(metric, by, chosen, only), rate(metric, by, chosen)
    return f"({part} or 0 * {whole}) / ({whole} > 0)"


def quantile(share_below, metric, by="", chosen=CHOSEN, only=""):
    """What this share of a histogram lies below."""
    by = f"le, {by}" if by else "le"
    return f"histogram_quantile({share_below}, {rate(metric + '_bucket', by, chosen, only)})"


def quantiles(metric, chosen=CHOSEN, only=""):
    """The usual three."""
    return [(quantile(q, metric, "", chosen, only), f"p{100 * q:g}") for q in (0.5, 0.95, 0.99)]


def suite():
    """Rate, errors and duration of what is asked; what is turned away; and the processes."""
    return {
        "": [
            number("Requests", "reqps", "Answers of the gateway per second.", rate(REQUESTS + "_count")),
            number("Requests that fail", "percentunit", "Answers of the gateway of the kind 5xx.",
                   share(REQUESTS + "_count", ',http_response_status_code=~"5.."'),
                   thresholds=[(None, GREEN), (0.001, ORANGE), (0.01, RED)], link=["LarderRequestsFail"]),
            number("Calls", "reqps", "Calls of gRPC per second, of all services.", rate(CALLS + "_count")),
            number("Calls that fail", "percentunit", "Calls that ended in an error which is not the caller's.",
                   share(CALLS + "_count", f',rpc_response_status_code=~"{FAULTS}"'),
                   thresholds=[(None, GREEN), (0.001, ORANGE), (0.01, RED)], link=["LarderCallsFail"]),
            number("Ready", "percentunit", "Of the replicas that answer, how many should get calls.",
                   f"avg(larder_ready{{{CHOSEN}}})", thresholds=[(None, RED), (0.5, ORANGE), (1, GREEN)],
                   link=["LarderNotReady", "LarderServiceAway"]),
            number("Away", "none", "Replicas whose admin port does not answer Prometheus.",
                   f"count(up{{{CHOSEN}}} == 0) or vector(0)", thresholds=[(None, GREEN), (1, RED)],
                   link=["LarderReplicaAway"]),
            table("Alerts", "Those of Larder that fire. The dashboard *runbook* has a page for each.",
                  'ALERTS{alertname=~"Larder.+",alertstate="firing"}',
                  ["alertname", "severity", "service", "instance", "source", "keyspace"], width=24, height=6),
        ],
        "Requests to the gateway": [
            lines("Rate by route", "reqps", "Answers per second. A route is a template, never a path.",
                  (rate(REQUESTS + "_count", "http_route"), "{{http_route}}")),
            lines("Rate by status", "reqps", "499: the client left before it was answered.",
                  (rate(REQUESTS + "_count", "http_response_status_code"), "{{http_response_status_code}}"),
                  link=["LarderRequestsFail"]),
            lines("Duration", "s", "Until the head of the answer.", *quantiles(REQUESTS)),
            lines("Duration by route, p99", "s", "What 99 of 100 requests are answered within.",
                  (quantile(0.99, REQUESTS, "http_route"), "{{http_route}}")),
            lines("Under way", "none", "Requests that are being answered.",
                  (f"sum by (instance) (http_server_active_requests{{{CHOSEN}}})", "{{instance}}")),
            lines("Sheets", "ops", "Pages and blocks of pages, by whether they were still kept.",
                  (rate("larder_sheets_total", "sheet, outcome"), "{{sheet}} {{outcome}}")),
        ],
        "Calls of gRPC": [
            lines("Rate by method", "reqps", "Calls per second.",
                  (rate(CALLS + "_count", "rpc_method"), "{{rpc_method}}")),
            lines("Failures by method", "percentunit", "Calls that ended in an error which is not the caller's.",
                  (share(CALLS + "_count", f',rpc_response_status_code=~"{FAULTS}"', "rpc_method"), "{{rpc_method}}"),
                  thresholds=[(None, GREEN), (0.01, RED)], link=["LarderCallsFail"]),
            lines("Rate by status", "reqps", "All but OK.",
                  (rate(CALLS + "_count", "rpc_response_status_code", only=',rpc_response_status_code!="OK"'),
                   "{{rpc_response_status_code}}")),
            lines("Duration", "s", "From a call's headers to the last byte of its answer.", *quantiles(CALLS)),
            lines("Duration by method, p99", "s", "What 99 of 100 calls are answered within.",
                  (quantile(0.99, CALLS, "rpc_method"), "{{rpc_method}}")),
            heat("Durations", "s", "Calls by how long they took.", CALLS),
            lines("Calls of others, p99", "s", "As the caller sees it: with the network, and however often it was tried.",
                  (quantile(0.99, "rpc_client_call_duration_seconds", "service, rpc_method"),
                   "{{service}} {{rpc_method}}")),
        ],
        "Turned away": [
            lines("Calls refused", "percentunit", "Calls that ended in RESOURCE_EXHAUSTED: shed, or over a rate limit.",
                  (share(CALLS + "_count", ',rpc_response_status_code="RESOURCE_EXHAUSTED"', "rpc_method"),
                   "{{rpc_method}}"),
                  thresholds=[(None, GREEN), (0.01, RED)], link=["LarderCallsRefused"]),
            lines("Reads refused", "ops", "Reads turned away because too many loads were under way.",
                  (rate("larder_reads_total", "keyspace", only=',outcome="refused"'), "{{keyspace}}"),
                  link=["LarderCallsRefused"]),
            lines("Rate limits", "ops", "Decisions. `alone`: without Redis, each process with the whole limit.",
                  (rate("larder_rate_limit_decisions_total", "scope, outcome"), "{{scope}} {{outcome}}"),
                  link=["LarderRateLimitAlone"]),
            lines("Rate limits without Redis", "none", "Processes whose limits have to do without the remote tier.",
                  (f"sum by (service, scope) (larder_rate_limit_away{{{CHOSEN}}})", "{{service}} {{scope}}"),
                  thresholds=[(None, GREEN), (1, RED)], link=["LarderRateLimitAlone"]),
            lines("Forwarding headers", "ops", "Requests whose header about their client could not be read.",
                  (rate("larder_rate_limit_malformed_total", "instance"), "{{instance}}")),
        ],
        "Connections and certificates": [
            lines("Connections", "none", "Open ones, by port.",
                  (f"sum by (service, port) (larder_connections{{{CHOSEN}}})", "{{service}} {{port}}")),
            lines("Connections refused", "ops", "By the limit that they met, or what they did not do in time.",
                  (rate("larder_connections_refused_total", "service, port, reason"),
                   "{{service}} {{port}} {{reason}}"),
                  link=["LarderConnectionsRefused"]),
            lines("Certificates", "s", "How long the first that expires still lasts.",
                  (f"min by (service, purpose) (larder_certificate_expiry_timestamp_seconds{{{CHOSEN}}} - time())",
                   "{{service}} {{purpose}}"), link=["LarderCertificateExpires"]),
            lines("Changed certificates that cannot be used", "none", "The one before is used on.",
                  (f"sum by (service, purpose) "
                   f"(increase(larder_certificate_reload_failures_total{{{CHOSEN}}}[$__rate_interval]))",
                   "{{service}} {{purpose}}"), link=["LarderCertificateUnusable"]),
            lines("Handshakes", "ops", "TLS, by outcome. `late`: not ended in time; `crowded`: too many at once.",
                  (rate("larder_tls_handshakes_total", "outcome"), "{{outcome}}")),
        ],
        "Readiness and drains": [
            states("Ready", "Green: should get calls. Red: starts, or drains. A gap: away.",
                   (f"larder_ready{{{CHOSEN}}}", "{{service}} {{instance}}"), width=16,
                   link=["LarderNotReady", "LarderServiceAway"]),
            lines("Time since the start", "s", "Drops to 0 at each start, which begins with an empty memory.",
                  (f"time() - process_start_time_seconds{{{CHOSEN}}}", "{{service}} {{instance}}"),
                  link=["LarderRestarts"]),
            lines("Later migrations", "none", "The newest migration that a replica does not know, or 0.",
                  (f"max by (service, source) (larder_schema_ahead{{{CHOSEN}}})", "{{source}}"),
                  link=["LarderSchemaAhead"]),
        ],
        "Processes": [
            lines("Processors", "none", "Processors in use.",
                  (rate("process_cpu_seconds_total", "service, instance"), "{{service}} {{instance}}")),
            lines("Memory", "bytes", "Held by the process, its caches among it.",
                  (f"process_resident_memory_bytes{{{CHOSEN}}}", "{{service}} {{instance}}"), link=["LarderRestarts"]),
            lines("Files and connections", "percentunit", "Open ones, of as many as may be.",
                  (f"process_open_fds{{{CHOSEN}}} / process_max_fds{{{CHOSEN}}}", "{{service}} {{instance}}"),
                  thresholds=[(None, GREEN), (0.8, RED)]),
            lines("Threads of tokio that work", "percentunit", "Near 1 tasks wait, and all answers are late.",
                  (f"{rate('tokio_worker_busy_seconds_total', 'service, instance')}"
                   f" / sum by (service, instance) (tokio_workers{{{CHOSEN}}})", "{{service}} {{instance}}"),
                  thresholds=[(None, GREEN), (0.9, RED)], most=1),
            lines("Tasks of tokio", "none", "That have not ended. Growing without an end: a leak.",
                  (f"tokio_alive_tasks{{{CHOSEN}}}", "{{service}} {{instance}}")),
            lines("Queue of tokio", "none", "Tasks that wait for a thread and are no thread's own.",
                  (f"tokio_global_queue_depth{{{CHOSEN}}}", "{{service}} {{instance}}")),
            lines("Naps of tokio's threads", "ops", "Times per second that a thread found nothing to do.",
                  (rate("tokio_worker_parks_total", "service, instance"), "{{service}} {{instance}}")),
        ],
    }


def cache():
    """What is answered from where, how fresh it is, and what that costs."""
    reads = "larder_reads_total"
    hits = ',outcome=~"l1|l2"'
    by_source = "{{source}} {{instance}}"
    return {
        "": [
            number("Hit ratio", "percentunit", "Reads answered from memory or Redis.", share(reads, hits, "", KEYED),
                   link=["LarderHitRatioDrop"]),
            number("From memory", "percentunit", "Reads answered from the process's own memory.",
                   share(reads, ',outcome="l1"', "", KEYED)),
            number("Proven age", "s", "The oldest proof of any replica: how far behind an answer can be.",
                   f"max(larder_proven_age_seconds{{{CHOSEN}}})",
                   thresholds=[(None, GREEN), (0.5, ORANGE), (1, RED)], link=["LarderProofStandsStill"]),
            number("Wrong copies", "none", "Found in the last day by comparing with the source. Must be 0.",
                   f"sum(increase(larder_inconsistencies_total{{{KEYED}}}[1d]))",
                   thresholds=[(None, GREEN), (0.5, RED)], link=["LarderInconsistency"]),
            number("Triggers", "none", "Triggers that are missing, off or different. Must be 0.",
                   f"max(larder_trigger_flaws{{{CHOSEN}}})", thresholds=[(None, GREEN), (1, RED)],
                   link=["LarderTriggersDisabled"]),
            number("Gaps", "none", "Gaps in feeds within the last day; each empties the caches of a source.",
                   f"sum(increase(larder_feed_gaps_total{{{CHOSEN}}}[1d]))",
                   thresholds=[(None, GREEN), (0.5, ORANGE)], link=["LarderFeedGap"]),
        ],
        "Hits and misses": [
            lines("Hit ratio by keyspace", "percentunit", "Reads answered from memory or Redis.",
                  (share(reads, hits, "keyspace", KEYED), "{{keyspace}}"), most=1, link=["LarderHitRatioDrop"]),
            lines("Hit ratio by tier", "percentunit", "l1: the process's own memory. l2: Redis.",
                  *[(share(reads, f',outcome="{tier}"', "", KEYED), tier) for tier in ("l1", "l2")], most=1),
            lines("Hit ratio in the week", "percentunit",
                  "As the alert sees it: now, and the median of a week. Keyspaces with traffic alone.",
                  ('keyspace:larder_hit_ratio:rate10m{keyspace=~"$keyspace"}', "{{keyspace}}"),
                  ('quantile_over_time(0.5, keyspace:larder_hit_ratio:rate10m{keyspace=~"$keyspace"}[1w])',
                   "{{keyspace}}, median"), most=1, link=["LarderHitRatioDrop"]),
            lines("Reads by outcome", "ops",
                  "joined: answered by somebody else's load. stale: marked as such. refused: too many loads.",
                  (rate(reads, "outcome", KEYED), "{{outcome}}")),
            lines("Misses by cause", "ops",
                  "Why memory did not answer; remote_…: why a value in Redis was not taken.",
                  (rate("larder_misses_total", "cause", KEYED), "{{cause}}"),
                  link=["LarderHitRatioDrop", "LarderRemoteFailing", "LarderRemoteCorrupt"]),
            lines("Rescues", "ops", "Entries that had moved, and whose label showed that they are current.",
                  (rate("larder_rescues_total", "keyspace", KEYED), "{{keyspace}}")),
        ],
        "Freshness": [
            lines("Proven age", "s", "Time since the last proof. Beyond the bound nothing is answered as fresh.",
                  (f"larder_proven_age_seconds{{{CHOSEN}}}", by_source),
                  thresholds=[(None, GREEN), (1, RED)], link=["LarderProofStandsStill"]),
            heat("Propagation", "s", "How long hints took from their sender, by the wall clocks of both.",
                 "larder_propagation_seconds"),
            lines("Propagation in quantiles", "s", "The same.", *quantiles("larder_propagation_seconds")),
            lines("Changes by how they were heard of", "ops", "As first heard of: own write, hint, or round.",
                  (rate("larder_invalidations_total", "source, origin"), "{{source}} {{origin}}")),
            lines("Stale answers", "ops", "Answers that are older than they may be, and say so.",
                  (rate(reads, "keyspace", KEYED, ',outcome="stale"'), "{{keyspace}}"), link=["LarderAnswersStale"]),
            lines("Oldest writer", "s", "How long the oldest transaction that has written is open. It costs hits.",
                  (f"max by (source) (larder_oldest_writer_seconds{{{CHOSEN}}})", "{{source}}"),
                  thresholds=[(None, GREEN), (60, RED)], link=["LarderWriterOpen"]),
        ],
        "Loads": [
            lines("Loads", "ops", "From the source, which a batch asks once.",
                  (rate("larder_load_seconds_count", "keyspace", KEYED), "{{keyspace}}")),
            lines("Duration of loads", "s", "What the source takes.", *quantiles("larder_load_seconds", KEYED)),
            lines("Duration by keyspace, p99", "s", "What 99 of 100 loads take.",
                  (quantile(0.99, "larder_load_seconds", "keyspace", KEYED), "{{keyspace}}")),
            lines("Joined reads", "percentunit", "Of the reads that needed a load, those that took another's.",
                  (share(reads, ',outcome="joined"', "keyspace", f'{KEYED},outcome=~"joined|load"'), "{{keyspace}}"),
                  most=1),
            lines("Loads that failed", "ops", "And reads that ended in an error for it.",
                  (rate("larder_load_errors_total", "keyspace", KEYED), "{{keyspace}}"),
                  (rate(reads, "keyspace", KEYED, ',outcome="error"'), "{{keyspace}}, reads"),
                  link=["LarderCallsFail"]),
            heat("Durations of loads", "s", "Loads by how long they took.", "larder_load_seconds", KEYED),
        ],
        "Rounds and hints": [
            lines("Rounds", "ops", "Taken from a source's feed, by each replica.",
                  (rate("larder_rounds_total", "source, instance"), by_source), link=["LarderProofStandsStill"]),
            lines("Rounds that failed", "ops", "Could not be had, or not be used.",
                  (rate("larder_round_errors_total", "source, instance"), by_source), link=["LarderProofStandsStill"]),
            lines("Changes in a round, p99", "none", "Many: much is written, or a writer stays open.",
                  (quantile(0.99, "larder_round_lines", "source"), "{{source}}"), link=["LarderWriterOpen"]),
            lines("Hints", "ops", "By what came of them. foreign: of another life of the database.",
                  (rate("larder_hints_total", "outcome"), "{{outcome}}"), link=["LarderHintsMalformed"]),
            lines("Gaps in feeds", "none", "Times that lines may have been dropped unseen; the journal was read anew.",
                  (f"sum by (source, instance) (increase(larder_feed_gaps_total{{{CHOSEN}}}[$__rate_interval]))",
                   by_source), link=["LarderFeedGap"]),
        ],
        "Memory": [
            lines("Entries", "none", "In memory, roughly, over the chosen replicas.",
                  (f"sum by (keyspace) (larder_entries{{{KEYED}}})", "{{keyspace}}")),
            lines("Bytes", "bytes", "What they weigh, as roughly.",
                  (f"sum by (keyspace) (larder_bytes{{{KEYED}}})", "{{keyspace}}")),
            lines("Evictions", "ops", "size: for room; larder cache advise says what more memory would bring.",
                  (rate("larder_evictions_total", "keyspace, cause", KEYED), "{{keyspace}} {{cause}}"),
                  link=["LarderHitRatioDrop"]),
        ],
        "Redis": [
            lines("Calls", "ops", "Of the remote tier, by what for.",
                  (rate("larder_remote_calls_total", "call"), "{{call}}")),
            lines("Calls that failed", "ops", "refused: not made, since others had failed.",
                  (rate("larder_remote_errors_total", "call, cause"), "{{call}} {{cause}}"),
                  link=["LarderRemoteFailing"]),
            lines("Seals refused", "ops", "Entries and messages that were not sealed with the suite's key.",
                  (rate("larder_seal_refusals_total", "service, kind"), "{{service}} {{kind}}"),
                  link=["LarderSealRefused"]),
        ],
        "Truth": [
            lines("Wrong copies", "none", "Found by comparing with the source. Must be 0.",
                  (f"sum by (keyspace, tier) (increase(larder_inconsistencies_total{{{KEYED}}}[$__rate_interval]))",
                   "{{keyspace}} {{tier}}"), thresholds=[(None, GREEN), (0.5, RED)], link=["LarderInconsistency"]),
            lines("Comparisons", "ops", "explained: behind by no more than it may be.",
                  (rate("larder_checks_total", "outcome", KEYED), "{{outcome}}")),
            lines("Triggers", "none", "Missing, off or different, as each replica sees it. Must be 0.",
                  (f"larder_trigger_flaws{{{CHOSEN}}}", by_source), thresholds=[(None, GREEN), (1, RED)],
                  link=["LarderTriggersDisabled"]),
        ],
    }


def runbook():
    """The pages of the runbook by alert."""
    text = (HERE / "../RUNBOOK.md").read_text()
    return dict(re.findall(r"^## (\w+)\n\n(.*?)(?=\n## |\Z)", text, re.M | re.S))


def made():
    """Every dashboard by the name of its file."""
    pages = runbook()
    service = choice("service", "Service", 'label_values(larder_ready{job="larder"}, service)')
    instance = choice("instance", "Replica", 'label_values(larder_ready{job="larder",service=~"$service"}, instance)')
    keyspace = choice("keyspace", "Keyspace", f"label_values(larder_reads_total{{{CHOSEN}}}, keyspace)")
    # A page in Grafana is read where its lines end as they may.
    texts = [words(name, re.sub(r"\n(?!\*\*|\n)", " ", page).replace("\n", "\n\n")) for name, page in pages.items()]
    return {
        "suite": dashboard("suite", "Larder: the suite", "What is asked, how it is answered, and the processes.",
                           suite(), pages, [service, instance]),
        "cache": dashboard("cache", "Larder: the cache", "What is answered from where, how fresh, and at what cost.",
                           cache(), pages, [service, instance, keyspace]),
        "runbook": dashboard("runbook", "Larder: the runbook", "What each alert means, and what to do.",
                             {"": texts}, pages),
    }


def main():
    stale = []
    for name, one in made().items():
        file = HERE / f"dashboards/{name}.json"
        text = json.dumps(one, indent=2, ensure_ascii=False) + "\n"
        if sys.argv[1:] != ["--check"]:
            file.write_text(text)
        elif not file.exists() or file.read_text() != text:
            stale.append(file.name)
    if stale:
        sys.exit(f"observability: {' and '.join(stale)} not as dashboards.py makes them: run it")


if __name__ == "__main__":
    main()
