//! Progress bars, on standard error and only where that is a terminal.

use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;

/// A bar of so many steps.
pub fn bar(steps: u64, what: &'static str) -> ProgressBar {
    styled(
        steps,
        what,
        "{msg:<10} {wide_bar} {human_pos}/{human_len}  {per_sec}  {eta}",
    )
}

/// A bar of so many bytes; of as many as there will be, if none is said.
pub fn bytes(size: u64, what: &'static str) -> ProgressBar {
    let style = match size {
        0 => "{msg:<10} {spinner} {bytes}  {bytes_per_sec}",
        _ => "{msg:<10} {wide_bar} {bytes}/{total_bytes}  {bytes_per_sec}  {eta}",
    };
    styled(size, what, style)
}

fn styled(steps: u64, what: &'static str, style: &str) -> ProgressBar {
    let bar = ProgressBar::new(steps).with_message(what);
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}
