//! Progress bars, on standard error and only where that is a terminal.

use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;

/// A bar of so many steps.
pub fn bar(steps: u64, what: &'static str) -> ProgressBar {
    let style = "{msg:<10} {wide_bar} {human_pos}/{human_len}  {per_sec}  {eta}";
    let bar = ProgressBar::new(steps).with_message(what);
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}
