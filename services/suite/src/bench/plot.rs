//! Plots as inline SVG. Colours come from the page's style sheet, so that one file is right in
//! light and in dark; numbers stand as text beside everything that is drawn.

use super::report::{Measured, Mode, Outcome, Report};
use super::table::{millis, times};
use super::tally::Slot;
use maud::{Markup, PreEscaped, html};

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 72.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 42.0;

/// The colours, in light and in dark; `--none`, `--l2`, `--both` and `--target` are the modes',
/// and the tiers of a mode have those of the mode that they came with.
pub const COLOURS: &str = "
:root{--ink:#1c2024;--soft:#5b626b;--line:#d9dde2;--page:#fff;--card:#f6f7f9;
--none:#7c8591;--l2:#c26a12;--both:#2368c4;--target:#2368c4}
@media (prefers-color-scheme:dark){:root{--ink:#e8eaed;--soft:#a2aab4;--line:#363c44;
--page:#15181c;--card:#1e2227;--none:#98a1ad;--l2:#e69a4a;--both:#6aa5f2;--target:#6aa5f2}}";

/// What drawn things look like.
pub const SHAPES: &str = "
svg{font:12px system-ui,-apple-system,'Segoe UI',sans-serif}
svg text{fill:var(--soft)}svg text.strong{fill:var(--ink);font-weight:600}
.grid{stroke:var(--line);stroke-width:1}.curve{fill:none;stroke-width:2.25;stroke-linejoin:round}
.s-none{stroke:var(--none)}.s-l2{stroke:var(--l2)}.s-both{stroke:var(--both)}.s-target{stroke:var(--target)}
.f-none{fill:var(--none)}.f-l2{fill:var(--l2)}.f-both{fill:var(--both)}.f-target{fill:var(--target)}
.mark{stroke:var(--soft);stroke-dasharray:3 3}";

/// A point's place on a plot.
struct Frame {
    across: (f64, f64),
    up: (f64, f64),
}

impl Frame {
    fn x(&self, value: f64) -> f64 {
        let (from, to) = self.across;
        LEFT + (value - from) / (to - from).max(f64::EPSILON) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        let (from, to) = self.up;
        HEIGHT - BOTTOM - (value - from) / (to - from).max(f64::EPSILON) * (HEIGHT - TOP - BOTTOM)
    }

    fn rows(&self, marks: &[(f64, String)]) -> Markup {
        html! {
            @for (value, text) in marks {
                line class="grid" x1=(LEFT) x2=(WIDTH - RIGHT) y1=(at(self.y(*value))) y2=(at(self.y(*value))) {}
                text x=(LEFT - 8.0) y=(at(self.y(*value) + 4.0)) text-anchor="end" { (text) }
            }
        }
    }

    fn columns(&self, marks: &[(f64, String)]) -> Markup {
        html! {
            @for (value, text) in marks {
                line class="grid" x1=(at(self.x(*value))) x2=(at(self.x(*value))) y1=(TOP) y2=(HEIGHT - BOTTOM) {}
                text x=(at(self.x(*value))) y=(HEIGHT - BOTTOM + 18.0) text-anchor="middle" { (text) }
            }
        }
    }
}

fn at(place: f64) -> String {
    format!("{place:.1}")
}

fn drawing(title: &str, inside: Markup) -> Markup {
    html! {
        svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(title) { (inside) }
    }
}

/// Reads by percentile: each step of the axis across is a nine more, and up is logarithmic.
pub fn latency(measured: &Measured) -> Markup {
    let nines = |percent: f64| -(1.0 - percent / 100.0).max(1e-9).log10();
    let log = |micros: u64| (micros.max(1) as f64).log10();
    let points = || {
        measured
            .modes
            .iter()
            .flat_map(|mode| &mode.read_latency.curve)
    };
    let least = points().map(|point| log(point.1)).fold(f64::MAX, f64::min);
    let most = points().map(|point| log(point.1)).fold(0.0, f64::max);
    let last = points().map(|point| nines(point.0)).fold(1.0, f64::max);
    let frame = Frame {
        across: (0.0, last),
        up: (
            least.min(most).floor(),
            most.ceil().max(least.floor() + 1.0),
        ),
    };
    let decades = (frame.up.0 as i32..=frame.up.1 as i32).map(|power| {
        let millis = 10_f64.powi(power - 3);
        let text = match power {
            6.. => format!("{} s", millis / 1e3),
            _ => format!("{millis} ms"),
        };
        (f64::from(power), text)
    });
    let percents = ["0", "90", "99", "99.9", "99.99", "99.999"]
        .iter()
        .enumerate();
    let percents = percents
        .filter(|(nth, _)| *nth as f64 <= last)
        .map(|(nth, text)| (nth as f64, format!("{text} %")));
    let path = |mode: &Outcome| {
        let curve = mode.read_latency.curve.iter();
        let points = curve.map(|(percent, micros)| {
            format!(
                "{},{}",
                at(frame.x(nines(*percent))),
                at(frame.y(log(*micros)))
            )
        });
        points.collect::<Vec<_>>().join(" ")
    };
    let inside = html! {
        (frame.rows(&decades.collect::<Vec<_>>()))
        (frame.columns(&percents.collect::<Vec<_>>()))
        @for mode in &measured.modes {
            polyline class=(format!("curve s-{}", mode.mode.name())) points=(path(mode)) {
                title { (mode.mode.title()) ": p50 " (millis(mode.read_latency.p50_us)) ", p99 " (millis(mode.read_latency.p99_us)) }
            }
        }
        text x=((LEFT + WIDTH - RIGHT) / 2.0) y=(HEIGHT - 4.0) text-anchor="middle" { "percentile of the reads" }
    };
    drawing("Latency of reads by percentile", inside)
}

/// One bar for each mode, from nothing, with its number.
pub fn bars(measured: &Measured, title: &str, value: impl Fn(&Outcome) -> Option<f64>) -> Markup {
    let most = measured.modes.iter().filter_map(&value).fold(0.0, f64::max);
    let height = 34.0;
    let all = 12.0 + measured.modes.len() as f64 * (height + 14.0);
    let (from, to) = (96.0, WIDTH - 84.0);
    html! {
        svg viewBox=(format!("0 0 {WIDTH} {all}")) role="img" aria-label=(title) {
            @for (nth, mode) in measured.modes.iter().enumerate() {
                @let y = 8.0 + nth as f64 * (height + 14.0);
                @let long = value(mode).unwrap_or_default() / most.max(f64::EPSILON) * (to - from);
                text x=(from - 10.0) y=(at(y + 21.0)) text-anchor="end" { (mode.mode.title()) }
                rect class=(format!("f-{}", mode.mode.name())) x=(from) y=(at(y)) width=(at(long.max(1.0))) height=(height) rx="3" {}
                text class="strong" x=(at(from + long.max(1.0) + 8.0)) y=(at(y + 21.0)) {
                    @match value(mode) { Some(value) => (grouped(value)), None => "unknown" }
                }
            }
        }
    }
}

/// Which part of the reads each tier answered, from the beginning of the warm-up on.
pub fn hits(mode: &Outcome) -> Markup {
    let (slots, slot) = (&mode.timeline.slots, mode.timeline.slot_ms as f64 / 1e3);
    let seconds = (slots.len() as f64 * slot).max(slot);
    let frame = Frame {
        across: (0.0, seconds),
        up: (0.0, 100.0),
    };
    let share = |count: u64, slot: &Slot| 100.0 * count as f64 / slot.reads().max(1) as f64;
    let area = |below: &dyn Fn(&Slot) -> f64, above: &dyn Fn(&Slot) -> f64| {
        let x = |nth: usize| at(frame.x((nth as f64 + 0.5) * slot));
        let there = |value: &dyn Fn(&Slot) -> f64| {
            let points = slots
                .iter()
                .enumerate()
                .filter(|(_, slot)| slot.reads() > 0);
            let points =
                points.map(|(nth, slot)| format!("{},{}", x(nth), at(frame.y(value(slot)))));
            points.collect::<Vec<_>>()
        };
        let mut points = there(above);
        points.extend(there(below).into_iter().rev());
        points.join(" ")
    };
    let (l1, both) = (
        |slot: &Slot| share(slot.l1, slot),
        |slot: &Slot| share(slot.l1 + slot.l2, slot),
    );
    let percents = [0, 25, 50, 75, 100].map(|part| (f64::from(part), format!("{part} %")));
    let step = [0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0];
    let step = step
        .into_iter()
        .find(|step| seconds / step <= 8.0)
        .unwrap_or(1_800.0);
    let ticks: Vec<_> = (0..=(seconds / step) as usize)
        .map(|nth| (nth as f64 * step, format!("{} s", nth as f64 * step)))
        .collect();
    let warm = frame.x(mode.timeline.warm_up as f64 * slot);
    let inside = html! {
        (frame.columns(&ticks))
        polygon class="f-both" points=(area(&|_| 0.0, &l1)) { title { "memory (L1)" } }
        polygon class="f-l2" points=(area(&l1, &both)) { title { "shared tier (L2)" } }
        (frame.rows(&percents))
        line class="mark" x1=(at(warm)) x2=(at(warm)) y1=(TOP) y2=(HEIGHT - BOTTOM) {}
        text x=((LEFT + WIDTH - RIGHT) / 2.0) y=(HEIGHT - 4.0) text-anchor="middle" { "since the start; measured from the dashed line on" }
    };
    drawing(
        &format!("Hit ratio over time, {}", mode.mode.title()),
        inside,
    )
}

/// A number that a person reads at a glance.
pub fn grouped(value: f64) -> String {
    let whole = format!("{value:.0}");
    let digits = whole.len();
    let grouped = whole.chars().enumerate().flat_map(|(nth, digit)| {
        let gap = nth > 0 && (digits - nth).is_multiple_of(3);
        gap.then_some(',').into_iter().chain([digit])
    });
    grouped.collect()
}

/// A small picture of the first scenario, to stand by itself.
pub fn picture(report: &Report) -> String {
    let Some(measured) = report.scenarios.first() else {
        return String::new();
    };
    let reads = 100.0 * (1.0 - measured.write_share);
    let pace = if report.settings.contains_key("rate") {
        "open loop"
    } else {
        "closed loop"
    };
    let said = measured.headline().map(|ratio| {
        format!(
            "L1 + L2 over no cache: {} the throughput",
            times(ratio.throughput[0])
        )
    });
    let panels = [
        (
            "requests in a second",
            bars(measured, "Throughput", |mode| {
                Some(mode.requests_per_second)
            }),
        ),
        (
            "database queries in a second",
            bars(measured, "Database queries", |mode| mode.queries_per_second),
        ),
    ];
    let bars_height = 12.0 + measured.modes.len() as f64 * 48.0;
    let height = 64.0 + 2.0 * (bars_height + 34.0);
    let style = format!("{COLOURS}{SHAPES}").replace("svg{", "svg{background:var(--page);");
    let picture = html! {
        svg xmlns="http://www.w3.org/2000/svg" viewBox=(format!("0 0 600 {height}")) width="600" height=(height) role="img" aria-label="With and without the cache" {
            style { (PreEscaped(style)) }
            text class="strong" x="20" y="28" font-size="16" { (format!("{reads:.0} % reads, {pace}")) }
            text x="20" y="48" { (said.unwrap_or_default()) }
            @for (nth, (title, plot)) in panels.into_iter().enumerate() {
                @let y = 64.0 + nth as f64 * (bars_height + 34.0);
                text x="20" y=(at(y + 16.0)) { (title) }
                svg x="20" y=(at(y + 22.0)) width=(WIDTH) height=(bars_height) { (plot) }
            }
        }
    };
    picture.into_string()
}

/// The names of modes and their colours.
pub fn legend(modes: &[Outcome]) -> Markup {
    swatches(modes.iter().map(|mode| (mode.mode, mode.mode.title())))
}

/// What is in a plot of hits.
pub fn tiers() -> Markup {
    swatches([(Mode::Both, "memory (L1)"), (Mode::L2, "shared tier (L2)")])
}

fn swatches(named: impl IntoIterator<Item = (Mode, &'static str)>) -> Markup {
    html! {
        p.legend {
            @for (mode, name) in named {
                span { svg.swatch viewBox="0 0 10 10" aria-hidden="true" { rect class=(format!("f-{}", mode.name())) width="10" height="10" rx="2" {} } (name) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        let said = [0.0, 999.4, 1_000.0, 1_234_567.0].map(grouped);
        assert_eq!(said, ["0", "999", "1,000", "1,234,567"]);
    }
}
