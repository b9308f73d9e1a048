//! Runs the model and prints what it found; fails if the protocol falls, or a mutant survives.
//!
//! ```text
//! larder-model                   a minute or two: what `tests/run` runs
//! larder-model deep              half an hour or more, and some 10 GB of memory
//! larder-model tell <mutant>     how the protocol falls without that rule, step by step
//! ```

use larder_model::explore::{Found, explore, walk};
use larder_model::mutant::Mutant;
use larder_model::play::Play;
use larder_model::scenario::{self, Scenario};
use larder_model::story;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// How far a run goes.
struct Depth {
    scenarios: Vec<&'static Scenario>,
    most_states: usize,
    /// Whether all states of every scenario must have been looked at.
    whole: bool,
    walks: usize,
    steps: usize,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => run(&Depth {
            scenarios: scenario::ALL.iter().collect(),
            most_states: 10_000_000,
            whole: true,
            walks: 10_000,
            steps: 200,
        }),
        ["deep"] => run(&Depth {
            scenarios: deeper(),
            most_states: 12_000_000,
            whole: false,
            walks: 500_000,
            steps: 400,
        }),
        ["tell", mutant] => tell(mutant),
        _ => {
            eprintln!("larder-model, larder-model deep, or larder-model tell <mutant>");
            ExitCode::FAILURE
        }
    }
}

/// Made once and kept for as long as the program runs.
fn deeper() -> Vec<&'static Scenario> {
    let leak = |scenario: &Scenario| &*Box::leak(Box::new(scenario.deeper()));
    scenario::ALL.iter().map(leak).collect()
}

/// Something to look at.
enum Job {
    Whole(Play),
    Without(Play, Mutant),
    Walk(Play, u64),
}

fn run(depth: &Depth) -> ExitCode {
    let began = Instant::now();
    let protocol = |scenario| Job::Whole(Play::new(scenario, None));
    let mut jobs: Vec<Job> = depth.scenarios.iter().copied().map(protocol).collect();
    jobs.extend(
        scenario::WALKED
            .iter()
            .zip(1..)
            .map(|(scenario, seed)| Job::Walk(Play::new(scenario, None), seed)),
    );
    jobs.extend(
        Mutant::ALL
            .iter()
            .map(|&mutant| Job::Without(Play::new(mutant.scenario(), Some(mutant)), mutant)),
    );
    let found = on_all_cores(&jobs, |job| {
        let began = Instant::now();
        let found = match job {
            Job::Whole(play) | Job::Without(play, _) => explore(play, depth.most_states),
            Job::Walk(play, seed) => walk(play, *seed, depth.walks, depth.steps),
        };
        let seconds = began.elapsed().as_secs_f32();
        if !depth.whole
            && let Job::Whole(play) | Job::Walk(play, _) = job
        {
            // It takes long: who waits sees that it goes on, and a fall at once.
            eprintln!("{}: {} in {seconds:.0} s", play.scenario.name, found.states);
            fallen(play, &found);
        }
        (found, seconds)
    });

    println!("The protocol, with every rule:\n");
    println!("{:<20} {:>12}  {:>7}", "scenario", "states", "seconds");
    let mut good = true;
    for (job, (found, seconds)) in jobs.iter().zip(&found) {
        let (play, kind) = match job {
            Job::Whole(play) if found.cut_short && depth.whole => (play, "NOT ALL OF THEM"),
            Job::Whole(play) if found.cut_short => (play, "cut short"),
            Job::Whole(play) => (play, "all"),
            Job::Walk(play, _) => (play, "steps of random walks"),
            Job::Without(..) => continue,
        };
        good &= found.fall.is_none() && kind != "NOT ALL OF THEM";
        let (name, states) = (play.scenario.name, found.states);
        println!("{name:<20} {states:>12}  {seconds:>7.1}  {kind}");
        fallen(play, found);
    }
    println!("\nThe protocol, with one rule removed:\n");
    println!(
        "{:<55} {:<6} {:<16} {:>9} {:>6}",
        "rule", "keeps", "caught by", "states", "trace"
    );
    for (job, (found, _)) in jobs.iter().zip(&found) {
        let Job::Without(play, mutant) = job else {
            continue;
        };
        let trace = match &found.fall {
            Some((trace, _)) => trace.len().to_string(),
            None => "SURVIVES".to_owned(),
        };
        good &= found.fall.is_some();
        let (rule, keeps, by) = (mutant.rule(), mutant.breaks().name(), play.scenario.name);
        println!(
            "{rule:<55} {keeps:<6} {by:<16} {:>9} {trace:>6}",
            found.states
        );
    }
    println!(
        "\n{} rules, {:.0} s",
        Mutant::ALL.len(),
        began.elapsed().as_secs_f32()
    );
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// How the protocol fell, where it did.
fn fallen(play: &Play, found: &Found) {
    let Some((trace, fall)) = &found.fall else {
        return;
    };
    println!("  IT FALLS: {}", fall.story());
    for line in story::tell(play, trace) {
        println!("    {line}");
    }
}

fn tell(name: &str) -> ExitCode {
    let named = |mutant: &&Mutant| format!("{mutant:?}") == name;
    let Some(&mutant) = Mutant::ALL.iter().find(named) else {
        eprintln!("no such mutant; there are {:?}", Mutant::ALL);
        return ExitCode::FAILURE;
    };
    println!("Without the rule \"{}\":\n", mutant.rule());
    let play = Play::new(mutant.scenario(), Some(mutant));
    let Some((trace, fall)) = explore(&play, usize::MAX).fall else {
        println!("nothing happens");
        return ExitCode::FAILURE;
    };
    for line in story::tell(&play, &trace) {
        println!("  {line}");
    }
    println!("\n  {}", fall.story());
    ExitCode::SUCCESS
}

/// One result for each job, in their order; whoever is free takes the next.
fn on_all_cores<R: Send>(jobs: &[Job], work: impl Fn(&Job) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<(usize, R)>> = Mutex::default();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while let Some((index, job)) = {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    jobs.get(index).map(|job| (index, job))
                } {
                    let result = work(job);
                    let mut results = results.lock().expect("nobody panics with it");
                    results.push((index, result));
                }
            });
        }
    });
    let mut results = results.into_inner().expect("nobody panics with it");
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}
