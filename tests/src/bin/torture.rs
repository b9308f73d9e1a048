//! Faults, on real processes, with everything that they answer judged.
//!
//! ```text
//! cargo run --release -p larder-tests --bin torture -- all
//! cargo run --release -p larder-tests --bin torture -- nemesis --minutes 10 --seed 7
//! cargo run --release -p larder-tests --bin torture -- redis-killed --fault-seconds 5
//! ```

use anyhow::{Context as _, Result, bail, ensure};
use larder_testkit::history::Tally;
use larder_tests::binary;
use larder_tests::torture::{
    Fault, Fleet, Load, Spell, World, finale, header, link_cuts, nemesis, print_violations, under,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// A system that always asks its database would pass all else.
const LEAST_SHARE: f64 = 0.5;

const HELP: &str =
    "torture [WHAT] [--seed N] [--minutes N] [--calm-seconds N] [--fault-seconds N] [--cuts N]
        [--processes N] [--readers N] [--writers N] [--binary PATH]

WHAT is `all` (each fault by itself), `nemesis` (all of them at random), `link-cuts` (what a
thousand of them leave behind), or faults by name, with commas between them:
";

struct Settings {
    what: String,
    seed: u64,
    minutes: f64,
    calm: f64,
    fault: f64,
    cuts: u32,
    load: Load,
    binary: Option<PathBuf>,
}

impl Settings {
    fn read() -> Result<Self> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        let mut settings = Self {
            what: "all".to_owned(),
            seed: now.as_secs(),
            minutes: 10.0,
            calm: 4.0,
            fault: 5.0,
            cuts: 1000,
            load: Load {
                processes: 3,
                readers: 4,
                rest: Duration::ZERO,
                writers: 6,
                write_rest: Duration::from_millis(60),
            },
            binary: None,
        };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            if !arg.starts_with("--") {
                settings.what = arg;
                continue;
            }
            if arg == "--help" {
                settings.what = "help".to_owned();
                return Ok(settings);
            }
            let value = args
                .next()
                .with_context(|| format!("{arg} needs a value"))?;
            match arg.as_str() {
                "--seed" => settings.seed = value.parse()?,
                "--minutes" => settings.minutes = value.parse()?,
                "--calm-seconds" => settings.calm = value.parse()?,
                "--fault-seconds" => settings.fault = value.parse()?,
                "--cuts" => settings.cuts = value.parse()?,
                "--processes" => settings.load.processes = value.parse()?,
                "--readers" => settings.load.readers = value.parse()?,
                "--writers" => settings.load.writers = value.parse()?,
                "--binary" => settings.binary = Some(std::path::absolute(value)?),
                _ => bail!("there is no {arg}; see --help"),
            }
        }
        Ok(settings)
    }
}

/// What is done to processes that share their servers.
enum What {
    LinkCuts,
    Nemesis,
    Faults(Vec<Fault>),
}

impl Settings {
    /// What is to be done, by the Redis servers that it is done to.
    fn parts(&self) -> Result<Vec<(Fleet, What)>> {
        let faults = match self.what.as_str() {
            "link-cuts" => return Ok(vec![(Fleet::Single, What::LinkCuts)]),
            "nemesis" => return Ok(vec![(Fleet::Single, What::Nemesis)]),
            "all" => Fault::ALL.to_vec(),
            names => names
                .split(',')
                .map(|name| Fault::named(name).with_context(|| format!("there is no {name}")))
                .collect::<Result<_>>()?,
        };
        let of = |fleet| {
            let its = faults
                .iter()
                .copied()
                .filter(|fault| fault.fleet() == fleet);
            (fleet, its.collect::<Vec<_>>())
        };
        let parts = Fleet::ALL.into_iter().map(of);
        let parts = parts.filter(|(_, faults)| !faults.is_empty());
        Ok(parts
            .map(|(fleet, faults)| (fleet, What::Faults(faults)))
            .collect())
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let settings = Settings::read()?;
    if settings.what == "help" {
        let names: Vec<String> = Fault::ALL.into_iter().map(Fault::name).collect();
        println!("{HELP}{}", names.join(" "));
        return Ok(());
    }
    let binary = settings.binary.clone().map_or_else(binary::beside, Ok)?;
    println!("seed {}", settings.seed);
    println!("{}", header());
    let (mut total, mut found) = (Tally::default(), 0);
    for (fleet, what) in settings.parts()? {
        let world = World::start(&binary, settings.load, fleet).await?;
        let outcome = drive(&world, &what, &settings, &binary).await;
        found += print_violations(&world);
        total.add(&outcome?);
    }
    println!(
        "\n{} reads, {} rows judged, {} writes, {} violations",
        total.reads, total.facts, total.writes, total.violations
    );
    ensure!(
        found == 0 && total.violations == 0,
        "promises were broken; seed {}",
        settings.seed
    );
    Ok(())
}

async fn drive(
    world: &Arc<World>,
    what: &What,
    settings: &Settings,
    binary: &Path,
) -> Result<Tally> {
    let spell = Spell {
        calm: Duration::from_secs_f64(settings.calm),
        fault: Duration::from_secs_f64(settings.fault),
    };
    let mut total = Tally::default();
    match what {
        What::LinkCuts => {
            let flat = link_cuts(world, settings.cuts).await?;
            println!("\n{flat}");
            flat.check()?;
            total.add(&world.history().take_tally());
        }
        What::Nemesis => {
            let span = Duration::from_secs_f64(settings.minutes * 60.0);
            let line = nemesis(world, settings.seed, span, |what| eprintln!("{what}")).await?;
            println!("{line}");
            eprintln!("errors: {:?}", line.errors());
            total.add(&line.total());
        }
        What::Faults(faults) => {
            for &fault in faults {
                let line = under(world, fault, spell, settings.seed).await?;
                println!("{line}");
                if !line.errors().is_empty() {
                    eprintln!("    errors: {:?}", line.errors());
                }
                line.notes().iter().for_each(|note| eprintln!("    {note}"));
                total.add(&line.total());
                if !world.history().violations().is_empty() {
                    return Ok(total);
                }
            }
        }
    }
    world.history().require_share(&total, LEAST_SHARE);
    let last = finale(world, binary).await?;
    println!(
        "\nhealed: {} reads at {} processes and a new one: every copy equals the database",
        last.reads, settings.load.processes
    );
    total.add(&last);
    Ok(total)
}
