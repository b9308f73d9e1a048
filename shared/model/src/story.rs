//! A trace in words.

use crate::check::names;
use crate::play::Play;
use crate::scenario::Scenario;
use crate::world::{Action, World};

/// What happened, a line for each action.
pub fn tell(play: &Play, trace: &[Action]) -> Vec<String> {
    let mut world = Some(World::new(play));
    let mut lines = Vec::new();
    for &action in trace {
        if let Some(before) = &world {
            lines.push(before.say(action, play));
        }
        world = world.and_then(|before| before.after(action, play).ok());
    }
    lines
}

impl World {
    fn say(&self, action: Action, play: &Play) -> String {
        let database = &self.database;
        let xid = |index: u8| database.begun[usize::from(index)].xid;
        let tags = |index: usize| {
            let tags = play.scenario.script[index].iter();
            tags.map(|tag| Scenario::tag_name(*tag))
                .collect::<Vec<_>>()
                .join(" and ")
        };
        let shown = |key, at| names(self.shown(key, at, play));
        let token = |token: Option<u8>| match token {
            Some(index) => format!(", for a caller with the token of T{index}"),
            None => String::new(),
        };
        match action {
            Action::Begin => {
                let index = database.begun.len();
                format!(
                    "T{index} begins as xid {}, and writes {}",
                    database.next(),
                    tags(index)
                )
            }
            Action::Commit(index) => format!("T{index} commits (moment {})", database.now() + 1),
            Action::Abort(index) => format!("T{index} aborts (moment {})", database.now() + 1),
            Action::Mark => "old lines are marked".to_owned(),
            Action::Drop => "the marked lines are dropped".to_owned(),
            Action::Restore { cut } => format!(
                "a new life begins (moment {}), in which nothing from xid {cut} on has happened",
                database.now() + 1
            ),
            Action::Hint(index) => format!("the hint of T{index} (xid {}) arrives", xid(index)),
            Action::Lie(which) => {
                let (xid, tags) = play.scenario.lies[usize::from(which)];
                let tags: Vec<_> = tags.iter().map(|tag| Scenario::tag_name(*tag)).collect();
                format!(
                    "a forged hint says that xid {xid} wrote {}",
                    tags.join(" and ")
                )
            }
            Action::OpenKeyspace => "the late keyspace is opened".to_owned(),
            Action::Ask => format!("the process asks for a round (moment {})", database.now()),
            Action::Answer { at } => format!("the feed answers with what shows at moment {at}"),
            Action::Apply => "the round arrives, and is applied".to_owned(),
            Action::LoseRound => "the round is lost".to_owned(),
            Action::Work => "  the one who applies takes a step".to_owned(),
            Action::BeginLoad { key } => {
                format!("a load of key {key} begins (moment {})", database.now())
            }
            Action::Load { at } => {
                let key = self.process.load.as_ref().map_or(0, |load| load.key);
                format!("  it reads what shows at moment {at}: {}", shown(key, at))
            }
            Action::Label => format!("  it takes its label at moment {}", database.now()),
            Action::Keep { joiner } => format!("  its value is kept{}", token(joiner)),
            Action::Read { key, token: who } => format!("key {key} is read{}", token(who)),
            Action::Take {
                key,
                read_at,
                labelled_at,
                weak,
                token: who,
            } => format!(
                "a copy of key {key} comes from {}, read at moment {read_at}: {}; labelled at moment {labelled_at}{}",
                if weak { "a standby" } else { "the remote tier" },
                shown(key, read_at),
                token(who)
            ),
            Action::Tell { key } => format!("key {key} is to be told to another service"),
            Action::Reader => "  the reader takes a step".to_owned(),
            Action::Restart => "the process restarts".to_owned(),
        }
    }
}
