//! The process itself and its runtime, under the names that everybody's dashboards know.

use crate::exposition::{Metric, Page};
use tokio::runtime::{Handle, RuntimeMetrics};

#[cfg(target_os = "linux")]
const CPU: Metric = Metric::counter(
    "process_cpu_seconds_total",
    "Time that the process has spent on the processors.",
);
#[cfg(target_os = "linux")]
const MEMORY: Metric = Metric::gauge(
    "process_resident_memory_bytes",
    "Memory of the machine that the process holds.",
);
#[cfg(target_os = "linux")]
const VIRTUAL_MEMORY: Metric = Metric::gauge(
    "process_virtual_memory_bytes",
    "Address space that the process has reserved.",
);
#[cfg(target_os = "linux")]
const OPEN_FILES: Metric =
    Metric::gauge("process_open_fds", "Files and connections that are open.");
#[cfg(target_os = "linux")]
const MAX_FILES: Metric = Metric::gauge("process_max_fds", "How many may be.");
#[cfg(target_os = "linux")]
const START: Metric = Metric::gauge(
    "process_start_time_seconds",
    "When the process was started, in seconds since 1970.",
);
const WORKERS: Metric = Metric::gauge("tokio_workers", "Threads that run tasks.");
const ALIVE: Metric = Metric::gauge("tokio_alive_tasks", "Tasks that have not ended.");
const QUEUED: Metric = Metric::gauge(
    "tokio_global_queue_depth",
    "Tasks that wait for a thread and are no thread's own.",
);
const BUSY: Metric = Metric::counter(
    "tokio_worker_busy_seconds_total",
    "Time that a thread has spent on tasks.",
);
const PARKS: Metric = Metric::counter(
    "tokio_worker_parks_total",
    "Times that a thread found nothing to do.",
);

/// Adds what is known of the process and of the runtime that it is called on.
pub(crate) fn measure(page: &mut Page) {
    measure_process(page);
    if let Ok(runtime) = Handle::try_current() {
        measure_runtime(&runtime.metrics(), page);
    }
}

fn measure_runtime(runtime: &RuntimeMetrics, page: &mut Page) {
    page.count(WORKERS, &[], runtime.num_workers() as u64);
    page.count(ALIVE, &[], runtime.num_alive_tasks() as u64);
    page.count(QUEUED, &[], runtime.global_queue_depth() as u64);
    for worker in 0..runtime.num_workers() {
        let busy = runtime.worker_total_busy_duration(worker).as_secs_f64();
        let (parks, worker) = (runtime.worker_park_count(worker), worker.to_string());
        page.add(BUSY, &[("worker", &worker)], busy);
        page.count(PARKS, &[("worker", &worker)], parks);
    }
}

/// What `/proc` says; what it does not say is left out.
#[cfg(target_os = "linux")]
fn measure_process(page: &mut Page) {
    use procfs::process::{LimitValue, Process};

    let Ok(process) = Process::myself() else {
        return;
    };
    let ticks = procfs::ticks_per_second() as f64;
    if let Ok(stat) = process.stat() {
        page.add(CPU, &[], (stat.utime + stat.stime) as f64 / ticks);
        page.count(MEMORY, &[], stat.rss * procfs::page_size());
        page.count(VIRTUAL_MEMORY, &[], stat.vsize);
        if let Ok(booted) = procfs::boot_time_secs() {
            page.add(START, &[], booted as f64 + stat.starttime as f64 / ticks);
        }
    }
    if let Ok(open) = process.fd_count() {
        page.count(OPEN_FILES, &[], open as u64);
    }
    if let Ok(limits) = process.limits()
        && let LimitValue::Value(most) = limits.max_open_files.soft_limit
    {
        page.count(MAX_FILES, &[], most);
    }
}

#[cfg(not(target_os = "linux"))]
fn measure_process(_: &mut Page) {}
