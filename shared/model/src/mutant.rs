//! The protocol with one rule removed, for each of its rules. The model must notice every one of
//! them: a rule whose removal nobody notices is either superfluous, or not looked after.

use crate::check::Promise;
use crate::scenario::{self, Scenario};

/// One rule removed, by what happens instead.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(missing_docs, reason = "`rule` says it in words")]
pub enum Mutant {
    LabelAfterData,
    XmaxAsLabel,
    CellKeepsLast,
    PublishBeforeCells,
    LowXidIgnored,
    CaptureAfterRead,
    NoHorizon,
    NoGapRule,
    CursorFeed,
    PositionAfterLock,
    GapMovesNothing,
    HintedLineSkipped,
    StandbyLabelWhole,
    OwnersLoadAsOwn,
    CellsBeforeProof,
    StandbyFeed,
    ProofAtReceipt,
    ProofBeforeCells,
    EarlyUnlock,
    MarkPassesXmin,
    RemoteBelieved,
    PendingIgnored,
    OverflowIgnored,
    OverflowDrainsEarly,
    ForgottenAtOnce,
    TokenByAnyHint,
    HintKnownByXid,
    TokenAfterCells,
    TokenOfAnotherLife,
    HintOfAnotherLife,
    LabelOfAnotherLife,
    LoadOfAnotherLife,
    EpochKeepsHints,
    EpochKeepsXids,
    RescueWithoutXmin,
    RescueWithoutHorizon,
    ToldThoughMoved,
    ToldCoverageLate,
    LateKeyspaceUntouched,
    LateKeyspaceUnmoved,
    LateKeyspaceHitsOwnCell,
    WentBackFollowed,
    JoinerUnjudged,
}

impl Mutant {
    /// All of them.
    pub const ALL: &[Mutant] = {
        use Mutant::*;
        &[
            LabelAfterData,
            XmaxAsLabel,
            CellKeepsLast,
            PublishBeforeCells,
            LowXidIgnored,
            CaptureAfterRead,
            NoHorizon,
            NoGapRule,
            CursorFeed,
            PositionAfterLock,
            GapMovesNothing,
            HintedLineSkipped,
            StandbyLabelWhole,
            OwnersLoadAsOwn,
            CellsBeforeProof,
            StandbyFeed,
            ProofAtReceipt,
            ProofBeforeCells,
            EarlyUnlock,
            MarkPassesXmin,
            RemoteBelieved,
            PendingIgnored,
            OverflowIgnored,
            OverflowDrainsEarly,
            ForgottenAtOnce,
            TokenByAnyHint,
            HintKnownByXid,
            TokenAfterCells,
            TokenOfAnotherLife,
            HintOfAnotherLife,
            LabelOfAnotherLife,
            LoadOfAnotherLife,
            EpochKeepsHints,
            EpochKeepsXids,
            RescueWithoutXmin,
            RescueWithoutHorizon,
            ToldThoughMoved,
            ToldCoverageLate,
            LateKeyspaceUntouched,
            LateKeyspaceUnmoved,
            LateKeyspaceHitsOwnCell,
            WentBackFollowed,
            JoinerUnjudged,
        ]
    };

    /// The rule that is removed, as it is kept.
    pub fn rule(self) -> &'static str {
        use Mutant::*;
        match self {
            LabelAfterData => "the label comes with the data, not after it",
            XmaxAsLabel => "a label clears by its xmin, not its xmax",
            CellKeepsLast => "a cell keeps the highest xid, not the last",
            PublishBeforeCells => "`applied` is published after the cells",
            LowXidIgnored => "a late low xid moves its cell",
            CaptureAfterRead => "`captured` is noted before the read",
            NoHorizon => "labels below the horizon prove nothing",
            NoGapRule => "dropped lines that were not seen are a gap",
            CursorFeed => "a round is a difference of snapshots, no cursor",
            PositionAfterLock => "a label is tested, and its position noted, under the lock",
            GapMovesNothing => "a gap moves every keyspace",
            HintedLineSkipped => "a line moves its cell though it was hinted",
            StandbyLabelWhole => "of a standby's label, what lies below xmin",
            OwnersLoadAsOwn => "an owner's answer is judged by its label",
            CellsBeforeProof => "`proven_at` is read before the cells",
            StandbyFeed => "rounds come from the primary",
            ProofAtReceipt => "a proof counts from when it was asked for",
            ProofBeforeCells => "`proven_at` is stored after the cells",
            EarlyUnlock => "the lock is held until the cells are raised",
            MarkPassesXmin => "the pruning mark stays below the current xmin",
            RemoteBelieved => "a value from elsewhere is judged at all",
            PendingIgnored => "pending hints must be visible in a label",
            OverflowIgnored => "a list of hints that overflowed vouches for nothing",
            OverflowDrainsEarly => "an overflow lasts until a round that was asked after it",
            ForgottenAtOnce => "a hint is kept for two rounds at least",
            TokenByAnyHint => "a token is honoured by its own write's hint only",
            HintKnownByXid => "a hint with other tags is another hint",
            TokenAfterCells => "a token is looked up before the cells",
            TokenOfAnotherLife => "a token of another epoch is not honoured",
            HintOfAnotherLife => "a hint of another epoch is not heeded",
            LabelOfAnotherLife => "a label of another epoch is refused",
            LoadOfAnotherLife => "a load of another epoch is not kept",
            EpochKeepsHints => "a new epoch ends the pending hints",
            EpochKeepsXids => "a new epoch clears the cells' xids",
            RescueWithoutXmin => "a rescue needs xmin above the cells' xids",
            RescueWithoutHorizon => "a rescue needs xmin at the horizon",
            ToldThoughMoved => "an entry that moved is told with its own label",
            ToldCoverageLate => "the coverage that is told is noted first",
            LateKeyspaceUntouched => "a late keyspace's cell starts at the highest xid",
            LateKeyspaceUnmoved => "a late keyspace's cell starts as moved",
            LateKeyspaceHitsOwnCell => "a keyspace's line hits its hashed cell too",
            WentBackFollowed => "a round that goes back is ignored",
            JoinerUnjudged => "a joiner judges what its flight brings",
        }
    }

    /// The promise that the rule keeps.
    pub fn breaks(self) -> Promise {
        use Mutant::*;
        match self {
            OverflowIgnored | OverflowDrainsEarly | ForgottenAtOnce => Promise::Hints,
            PublishBeforeCells => Promise::Order,
            HintKnownByXid | EpochKeepsXids => Promise::Speed,
            _ => Promise::Truth,
        }
    }

    /// Where its absence shows.
    pub fn scenario(self) -> &'static Scenario {
        use Mutant::*;
        match self {
            LabelAfterData | CaptureAfterRead | OwnersLoadAsOwn | StandbyLabelWhole
            | ProofAtReceipt | RemoteBelieved | PendingIgnored | ForgottenAtOnce
            | RescueWithoutXmin | JoinerUnjudged => &scenario::WRITES,
            XmaxAsLabel | CellKeepsLast | LowXidIgnored | CursorFeed | StandbyFeed => {
                &scenario::OVERLAPS
            }
            PositionAfterLock => &scenario::TURNS_ELSEWHERE,
            PublishBeforeCells | CellsBeforeProof | ProofBeforeCells | EarlyUnlock
            | TokenAfterCells => &scenario::TURNS,
            NoHorizon | NoGapRule | GapMovesNothing | MarkPassesXmin | RescueWithoutHorizon => {
                &scenario::PRUNING
            }
            TokenOfAnotherLife | HintOfAnotherLife | LabelOfAnotherLife | EpochKeepsHints
            | EpochKeepsXids => &scenario::LIVES,
            LoadOfAnotherLife => &scenario::OLD_PRIMARY,
            TokenByAnyHint | HintKnownByXid => &scenario::LIES,
            HintedLineSkipped => &scenario::EARLY,
            OverflowIgnored | OverflowDrainsEarly => &scenario::OVERFLOW,
            ToldThoughMoved | ToldCoverageLate => &scenario::TOLD,
            LateKeyspaceUntouched | LateKeyspaceUnmoved | LateKeyspaceHitsOwnCell => {
                &scenario::KEYSPACES
            }
            WentBackFollowed => &scenario::BACKWARDS,
        }
    }
}
