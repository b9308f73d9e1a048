//! The page of a run: one file that loads nothing and runs nothing.

use super::plot;
use super::report::{Measured, Mode, Outcome, Ratio, Report};
use super::table::{millis, times};
use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = "
*{box-sizing:border-box}
:root{color-scheme:light dark}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,-apple-system,'Segoe UI',sans-serif}
main{max-width:1180px;margin:0 auto;padding:2rem 1.25rem 4rem}
h1{font-size:1.75rem;line-height:1.2;margin:0 0 .35rem}h2{font-size:1.3rem;margin:2.75rem 0 .25rem}
h3{font-size:.95rem;margin:0 0 .5rem}
p{margin:.25rem 0 .75rem}.soft{color:var(--soft)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(11rem,100%),1fr));gap:.75rem;margin:1rem 0}
.tile,.card{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:.9rem 1rem;min-width:0}
.tile b{display:block;font-size:1.7rem;line-height:1.2}.tile span{color:var(--soft);font-size:.85rem}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(27rem,100%),1fr));gap:.75rem;margin:.75rem 0}
.card svg{display:block;width:100%;height:auto}
.legend{display:flex;flex-wrap:wrap;gap:.25rem 1rem;margin:0 0 .4rem;font-size:.85rem;color:var(--soft)}
.legend .swatch{display:inline-block;width:.75em;height:.75em;margin-right:.4em}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.88rem;font-variant-numeric:tabular-nums}
th,td{padding:.4rem .6rem;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th:first-child,td:first-child{text-align:left}th{color:var(--soft);font-weight:600}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1rem;margin:0;font-size:.88rem}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
pre{white-space:pre-wrap;overflow-wrap:anywhere;background:var(--card);border:1px solid var(--line);border-radius:10px;padding:.8rem 1rem;font-size:.85rem}
li{margin:.35rem 0}
@media (max-width:640px){.card svg{font-size:17px}}";

/// The page.
pub fn render(report: &Report) -> String {
    let style = format!("{}{STYLE}{}", plot::COLOURS, plot::SHAPES);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Larder with and without its cache" }
                style { (PreEscaped(style)) }
            }
            body {
                main {
                    h1 { "With and without the cache" }
                    p.soft { "The same requests, of the same seed, to the same database: what changes is what stands in front of it." }
                    @if report.stopped_early { p { strong { "The run was stopped before its end." } } }
                    @for measured in &report.scenarios { (scenario(measured)) }
                    (about(report))
                }
            }
        }
    };
    page.into_string()
}

fn scenario(measured: &Measured) -> Markup {
    let writes = 100.0 * measured.write_share;
    let cached = measured
        .modes
        .iter()
        .filter(|mode| mode.served.l1 + mode.served.l2 > 0);
    html! {
        section {
            h2 { (measured.scenario.name()) }
            p.soft { (format!("{:.0} % reads, {writes:.0} % writes", 100.0 - writes)) }
            @if let Some(ratio) = measured.headline() { (tiles(ratio)) }
            div.plots {
                div.card { h3 { "Latency of reads" } (plot::legend(&measured.modes)) (plot::latency(measured)) }
                div.card {
                    h3 { "Requests in a second" }
                    (plot::bars(measured, "Throughput", |mode| Some(mode.requests_per_second)))
                    h3 { "Database queries in a second" }
                    (plot::bars(measured, "Database queries", |mode| mode.queries_per_second))
                }
                @for mode in cached {
                    div.card { h3 { "Hit ratio over time, " (mode.mode.title()) } (plot::tiers()) (plot::hits(mode)) }
                }
            }
            div.wide { (table(&measured.modes)) }
        }
    }
}

fn tiles(ratio: &Ratio) -> Markup {
    let tile = |[middle, least, most]: [f64; 3], what: &str| {
        html! {
            div.tile { b { (times(middle)) } span { (what) } br; span { (format!("rounds: {} to {}", times(least), times(most))) } }
        }
    };
    html! {
        p { "L1 + L2 over no cache, the middle of the rounds' ratios:" }
        div.tiles {
            (tile(ratio.throughput, "throughput"))
            (tile(ratio.read_p50, "median latency of reads"))
            (tile(ratio.read_p99, "99th percentile of reads"))
            @if let Some(queries) = ratio.queries { (tile(queries, "database queries for each request")) }
        }
    }
}

fn table(modes: &[Outcome]) -> Markup {
    let heads = [
        "",
        "requests/s",
        "read p50",
        "p90",
        "p99",
        "p99.9",
        "max",
        "write p50",
        "write p99",
        "L1",
        "L2",
        "database",
        "queries/s",
        "transactions/s",
        "failed",
        "too old",
        "unsent",
    ];
    let counted = |value: Option<f64>| value.map_or("–".to_owned(), plot::grouped);
    let part = |count: u64, mode: &Outcome| {
        format!(
            "{:.1} %",
            100.0 * count as f64 / mode.served.reads().max(1) as f64
        )
    };
    html! {
        table {
            thead { tr { @for head in heads { th scope="col" { (head) } } } }
            tbody {
                @for mode in modes {
                    tr {
                        td { (mode.mode.title()) }
                        td { (plot::grouped(mode.requests_per_second)) }
                        @let reads = &mode.read_latency;
                        @for micros in [reads.p50_us, reads.p90_us, reads.p99_us, reads.p999_us, reads.max_us] { td { (millis(micros)) } }
                        @for micros in [mode.write_latency.p50_us, mode.write_latency.p99_us] { td { (millis(micros)) } }
                        @for count in [mode.served.l1, mode.served.l2, mode.served.db] { td { (part(count, mode)) } }
                        td { (counted(mode.queries_per_second)) }
                        td { (counted(mode.transactions_per_second)) }
                        @for count in [mode.served.failed, mode.reads_too_old, mode.unsent] { td { (count) } }
                    }
                }
            }
        }
    }
}

fn about(report: &Report) -> Markup {
    let list = |pairs: Vec<(&&str, &String)>| {
        html! { dl { @for (name, value) in pairs { dt { (name) } dd { (value) } } } }
    };
    let bare = report
        .scenarios
        .iter()
        .flat_map(|scenario| &scenario.modes)
        .any(|mode| mode.mode == Mode::None);
    html! {
        section {
            h2 { "What this is and is not" }
            ul {
                @for note in &report.notes { li { (note) } }
                @if bare { li { "A read counts as too old when it is unmarked and something newer had been known for more than a second. It is looked for in every mode." } }
            }
            h2 { "Where and how" }
            div.plots {
                div.card { h3 { "Environment" } (list(report.environment.iter().collect())) }
                div.card { h3 { "Settings" } (list(report.settings.iter().collect())) }
            }
            p { "To repeat it:" }
            pre { (report.command) }
        }
    }
}
