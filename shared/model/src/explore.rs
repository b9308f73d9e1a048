//! Looking at every state that can be reached, nearest first, so that what is found is told by a
//! shortest trace; and walking at random where there are too many.

use crate::check::Fall;
use crate::play::Play;
use crate::world::{Action, World};
use foldhash::fast::FixedState;
use std::collections::HashMap;

/// What a look at all states has found.
#[derive(Debug)]
pub struct Found {
    /// States seen, those that cannot be told apart counted once.
    pub states: usize,
    /// How it falls, if it does.
    pub fall: Option<(Vec<Action>, Fall)>,
    /// Whether the states were too many to look at all of them.
    pub cut_short: bool,
}

/// Every state's number, with its predecessor's and what happened in between.
type Seen = HashMap<u64, (u64, Action), FixedState>;

/// Looks at every state, and stops at the first fall or after `most` states.
pub fn explore(play: &Play, most: usize) -> Found {
    let start = World::new(play);
    let mut seen = Seen::default();
    let root = start.fingerprint();
    seen.insert(root, (root, Action::Restart));
    let (mut nearest, mut next) = (vec![(root, start)], Vec::new());
    let mut actions = Vec::new();
    while !nearest.is_empty() {
        for (from, world) in nearest.drain(..) {
            world.actions(play, &mut actions);
            for &action in &actions {
                let after = match world.after(action, play) {
                    Ok(after) => after,
                    Err(fall) => {
                        let mut trace = trace(&seen, root, from);
                        trace.push(action);
                        return Found {
                            states: seen.len(),
                            fall: Some((trace, fall)),
                            cut_short: false,
                        };
                    }
                };
                let number = after.fingerprint();
                if let std::collections::hash_map::Entry::Vacant(new) = seen.entry(number) {
                    new.insert((from, action));
                    next.push((number, after));
                }
            }
            if seen.len() > most {
                return Found {
                    states: seen.len(),
                    fall: None,
                    cut_short: true,
                };
            }
        }
        std::mem::swap(&mut nearest, &mut next);
    }
    Found {
        states: seen.len(),
        fall: None,
        cut_short: false,
    }
}

fn trace(seen: &Seen, root: u64, mut at: u64) -> Vec<Action> {
    let mut trace = Vec::new();
    while at != root {
        let (from, action) = seen[&at];
        trace.push(action);
        at = from;
    }
    trace.reverse();
    trace
}

/// Walks at random: `steps` at a time from the start, `walks` times.
pub fn walk(play: &Play, seed: u64, walks: usize, steps: usize) -> Found {
    let mut dice = Dice(seed);
    let mut taken = 0;
    let mut actions = Vec::new();
    for _ in 0..walks {
        let mut world = World::new(play);
        let mut trace = Vec::new();
        for _ in 0..steps {
            world.actions(play, &mut actions);
            let Some(action) = dice.pick(&actions) else {
                break;
            };
            trace.push(action);
            taken += 1;
            world = match world.after(action, play) {
                Ok(after) => after,
                Err(fall) => {
                    return Found {
                        states: taken,
                        fall: Some(shorter(play, trace, fall)),
                        cut_short: true,
                    };
                }
            };
        }
    }
    Found {
        states: taken,
        fall: None,
        cut_short: true,
    }
}

/// The trace without all that the fall can do without.
fn shorter(play: &Play, mut trace: Vec<Action>, mut fall: Fall) -> (Vec<Action>, Fall) {
    let mut at = trace.len();
    while at > 0 {
        at -= 1;
        let mut without = trace.clone();
        without.remove(at);
        if let Some((length, still)) = falls(play, &without) {
            without.truncate(length);
            (trace, fall) = (without, still);
            at = trace.len();
        }
    }
    (trace, fall)
}

/// Where a trace falls, if it can be gone and does.
fn falls(play: &Play, trace: &[Action]) -> Option<(usize, Fall)> {
    let mut world = World::new(play);
    let mut actions = Vec::new();
    for (index, action) in trace.iter().enumerate() {
        world.actions(play, &mut actions);
        if !actions.contains(action) {
            return None;
        }
        world = match world.after(*action, play) {
            Ok(after) => after,
            Err(fall) => return Some((index + 1, fall)),
        };
    }
    None
}

/// SplitMix64: the same walk for the same seed, everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// First what kind of thing happens, then which: else a walk would do little but take one of
    /// the many values that lie around. What has an end comes seldom, or it would come early.
    fn pick(&mut self, actions: &[Action]) -> Option<Action> {
        let kind = std::mem::discriminant::<Action>;
        let mut kinds = Vec::new();
        for action in actions {
            if !kinds.contains(&kind(action)) {
                kinds.push(kind(action));
            }
        }
        loop {
            let which = *kinds.get(self.below(kinds.len()))?;
            let of_kind = || actions.iter().filter(|action| kind(action) == which);
            let action = *of_kind().nth(self.below(of_kind().count()))?;
            let seldom = matches!(
                action,
                Action::Begin
                    | Action::Abort(_)
                    | Action::Mark
                    | Action::Drop
                    | Action::Restore { .. }
                    | Action::Restart
                    | Action::LoseRound
            );
            if !seldom || kinds.len() == 1 || self.below(8) == 0 {
                return Some(action);
            }
        }
    }

    fn below(&mut self, end: usize) -> usize {
        (self.roll() % end.max(1) as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutant::Mutant;
    use crate::scenario;

    #[test]
    fn a_missing_rule_is_told_by_a_trace_that_falls() {
        let mutant = Mutant::LabelAfterData;
        let play = Play::new(mutant.scenario(), Some(mutant));
        let (trace, fall) = explore(&play, usize::MAX).fall.expect("it falls");
        assert_eq!(falls(&play, &trace), Some((trace.len(), fall)));
        assert_eq!(
            explore(&Play::new(mutant.scenario(), None), 1000).fall,
            None
        );
    }

    #[test]
    fn a_walk_finds_what_is_missing_and_nothing_else() {
        let mutant = Some(Mutant::RemoteBelieved);
        let found = walk(&Play::new(&scenario::WILD, mutant), 1, 1000, 200);
        assert!(found.fall.is_some());
        let found = walk(&Play::new(&scenario::WILD, None), 1, 1000, 200);
        assert_eq!(found.fall, None);
    }
}
