//! Plays.
use larder_model::explore::explore;
use larder_model::mutant::Mutant;
use larder_model::scenario;
use larder_model::world::Play;
use std::time::Instant;

fn main() {
    let only: Vec<String> = std::env::args().skip(1).collect();
    for scenario in scenario::ALL {
        if !only.is_empty() && !only.iter().any(|o| o == scenario.name) {
            continue;
        }
        let began = Instant::now();
        let found = explore(
            &Play {
                scenario,
                mutant: None,
            },
            6_000_000,
        );
        println!(
            "{:14} {:9} {:5.1}s cut={} {:?}",
            scenario.name,
            found.states,
            began.elapsed().as_secs_f32(),
            found.cut_short,
            found.fall.as_ref().map(|(t, f)| (t, f.story()))
        );
        for &mutant in Mutant::ALL
            .iter()
            .filter(|m| m.scenario().name == scenario.name)
        {
            let began = Instant::now();
            let found = explore(
                &Play {
                    scenario,
                    mutant: Some(mutant),
                },
                6_000_000,
            );
            println!(
                "    {:?} {} {:.1}s cut={} {:?}",
                mutant,
                found.states,
                began.elapsed().as_secs_f32(),
                found.cut_short,
                found.fall.as_ref().map(|(t, f)| (t.len(), f.story()))
            );
        }
    }
}
