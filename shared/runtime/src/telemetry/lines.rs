//! Log lines, with the trace that they belong to.

use crate::trace::{self, Place};
use std::fmt;
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

/// Lines as another format writes them, and behind them where in a recorded trace they were
/// written, if they were.
pub(super) struct Traced<F> {
    pub(super) lines: F,
    /// Whether a line is one JSON object.
    pub(super) json: bool,
}

impl<S, N, F> FormatEvent<S, N> for Traced<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Some(place) = trace::current() else {
            return self.lines.format_event(context, writer, event);
        };
        let mut line = String::with_capacity(256);
        let inner = Writer::new(&mut line);
        self.lines.format_event(context, inner, event)?;
        writer.write_str(&marked(&line, place, self.json))
    }
}

fn marked(line: &str, place: Place, json: bool) -> String {
    let line = line.trim_end_matches('\n');
    let (trace, span) = (place.trace_id(), place.span_id());
    match line.strip_suffix('}').filter(|_| json) {
        Some(open) => {
            format!("{open},\"trace_id\":\"{trace}\",\"span_id\":\"{span}\"}}\n")
        }
        None => format!("{line} trace_id={trace} span_id={span}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_trace_names_it_in_either_format() {
        let place = Place {
            trace: [1; 16],
            span: [2; 8],
        };
        let ids = ("01010101010101010101010101010101", "0202020202020202");
        let human = marked("INFO it is so\n", place, false);
        assert_eq!(
            human,
            format!("INFO it is so trace_id={} span_id={}\n", ids.0, ids.1)
        );
        let json = marked("{\"level\":\"INFO\"}\n", place, true);
        let expected = format!(
            "{{\"level\":\"INFO\",\"trace_id\":\"{}\",\"span_id\":\"{}\"}}\n",
            ids.0, ids.1
        );
        assert_eq!(json, expected);
    }
}
