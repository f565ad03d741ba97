//! The one table of actions. Keys, hints, help, palette and documentation are made from it, and only from it.

use crate::keys::{Chord, NoKey};
use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
};

/// Where an action can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// On every screen.
    Everywhere,
    /// On the failure-mode board only.
    Board,
    /// Where something is listed.
    Lists,
    /// Where a failure mode can be selected: on the board and among the drills.
    Modes,
    /// While the past is shown.
    Replay,
}

impl Place {
    fn name(self) -> &'static str {
        match self {
            Self::Everywhere => "everywhere",
            Self::Board => "board",
            Self::Lists => "lists",
            Self::Modes => "board, drills",
            Self::Replay => "replay",
        }
    }

    /// Whether one key could be asked for in both.
    fn overlaps(self, other: Self) -> bool {
        // Replay takes its keys before the screen below does.
        self == other || (self != Self::Replay && other != Self::Replay)
    }
}

/// One line of the table.
#[derive(Debug)]
pub struct Entry {
    /// What is done.
    pub action: Action,
    /// Its name in the palette and in a file of keys.
    pub name: &'static str,
    /// Its keys unless bound otherwise; the first is shown in hints.
    pub keys: &'static [&'static str],
    /// Where it applies.
    pub place: Place,
    /// One or two words for the line of hints; empty: not there.
    pub hint: &'static str,
    /// What it does, in a sentence.
    pub help: &'static str,
}

macro_rules! actions {
    ($($action:ident $name:literal [$($key:literal)*] $place:ident $hint:literal $help:literal;)*) => {
        /// What an operator can ask for.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[allow(missing_docs, reason = "the table says what each does")]
        pub enum Action { $($action),* }

        /// All actions, in the order of help.
        pub const ACTIONS: &[Entry] = &[$(Entry {
            action: Action::$action, name: $name, keys: &[$($key),*], place: Place::$place, hint: $hint, help: $help,
        }),*];
    };
}

// Upper-case letters plan what changes something; the only other one is `G`, as vi has it.
actions! {
    Help "help" ["?" "F1"] Everywhere "help" "Shows every key, and why one is off where it is.";
    Palette "palette" [":"] Everywhere "cmd" "Runs an action by its name.";
    Filter "filter" ["/"] Lists "filter" "Keeps only what contains the words; on dead letters also stream:, reason:, account:.";
    Sort "sort" ["s"] Lists "sort" "Lists the rows in the next order that the screen has; its title says in which.";
    NextMatch "next-match" ["n"] Lists "" "Goes to the next row that is not as it should be.";
    PreviousMatch "previous-match" [","] Lists "" "Goes back to the row before that is not as it should be.";
    Down "down" ["j" "Down"] Everywhere "" "Moves down by one.";
    Up "up" ["k" "Up"] Everywhere "" "Moves up by one.";
    Top "top" ["g" "Home"] Everywhere "" "Moves to the first.";
    Bottom "bottom" ["G" "End"] Everywhere "" "Moves to the last.";
    HalfDown "half-down" ["Ctrl-d" "PageDown"] Everywhere "" "Moves down by ten.";
    HalfUp "half-up" ["Ctrl-u" "PageUp"] Everywhere "" "Moves up by ten.";
    BandAll "band-all" ["0"] Board "" "Shows all severities.";
    Band1 "band-1" ["1"] Board "band" "Shows P1 only: full outage.";
    Band2 "band-2" ["2"] Board "" "Shows P2 only: degraded serving.";
    Band3 "band-3" ["3"] Board "" "Shows P3 only: data pipeline blocked.";
    Band4 "band-4" ["4"] Board "" "Shows P4 only: offline pipeline.";
    Band5 "band-5" ["5"] Board "" "Shows P5 only: visibility.";
    NextPane "next-pane" ["l" "Tab" "Right"] Board "" "Goes to the next pane.";
    PreviousPane "previous-pane" ["h" "Shift-Tab" "Left"] Board "" "Goes to the pane before.";
    Open "open" ["Enter"] Everywhere "detail" "Opens what is selected.";
    Back "back" ["Esc"] Everywhere "" "Closes what is open; then clears filter and band.";
    Describe "describe" ["d"] Everywhere "" "Shows all that is known of what is selected.";
    Fold "fold" ["o"] Board "" "Unfolds the modes that are OK or planned, and folds them again.";
    Yank "yank" ["y"] Everywhere "yank" "Copies what is selected as JSON.";
    YankCommand "yank-command" ["c"] Everywhere "" "Copies the grpcurl command that asks for what is selected.";
    Freeze "freeze" ["z"] Everywhere "freeze" "Holds the picture still, and lets it go again; what comes meanwhile is kept.";
    Replay "replay" ["v"] Everywhere "replay" "Shows the recorded past on this screen, and the present again.";
    Earlier "earlier" ["h" "Left"] Replay "earlier" "A second back.";
    Later "later" ["l" "Right"] Replay "later" "A second on.";
    MuchEarlier "much-earlier" ["Ctrl-u" "PageUp"] Replay "" "Half a minute back.";
    MuchLater "much-later" ["Ctrl-d" "PageDown"] Replay "" "Half a minute on.";
    Play "play" ["Space"] Replay "play" "Plays on as fast as it happened, or stops.";
    Record "record" ["w"] Everywhere "" "Writes the recorded past to a file.";
    Board "board" ["b" "F2"] Everywhere "board" "The failure modes.";
    Operate "operate" ["Ctrl-o"] Everywhere "operate" "Goes from read-only to operate mode, and back; it ends by itself.";
    Actions "actions" ["x"] Board "actions" "Lists all that can be done about the selected row.";
    Acknowledge "acknowledge" ["a"] Board "ack" "Says with a note that you look after the selected mode.";
    Mute "mute" ["m"] Board "" "Keeps the selected mode from demanding attention, for a time that has to be given.";
    Undo "undo" ["u"] Board "" "Takes the last run of a remedy back, while its horizon is open; asks first.";
    Abort "abort" ["X"] Modes "" "Ends the run of a remedy or a drill between two of its steps.";
    Drill "drill" ["T"] Modes "drill" "Causes the selected mode on purpose, to prove that it is seen and repaired; asks first.";
    Control "control" ["Ctrl-t"] Modes "" "Runs the drill of the selected mode without its fault: nothing may open; asks first.";
    Reconnect "reconnect" ["C"] Board "" "Plans C: drops the connections to a dependency and makes them anew.";
    Widen "widen" ["W"] Board "" "Plans W: lets a stream's reader take more at a time, for a while.";
    Redrive "redrive" ["D"] Board "" "Plans D: judges dead letters again.";
    Resume "resume" ["K"] Board "" "Plans K: lets a stopped stream go on.";
    Rerun "rerun" ["R"] Board "" "Plans R: runs the failed job or stage again.";
    Purge "purge" ["P"] Board "" "Plans P: purges dedup partitions past their horizon.";
    Statistics "statistics" ["I"] Board "" "Plans I: refreshes the statistics of slow tables.";
    Verify "verify" ["V"] Board "" "Plans V: counts again from the log, and repairs what differs.";
    Extend "extend" ["E"] Board "" "Plans E: extends a stream's retention.";
    Probe "probe" ["Q"] Board "" "Plans Q: probes isolation again, and lifts the closure if it is clean.";
    Backfill "backfill" ["L"] Board "" "Plans L: fetches what was missed of a source.";
    Reparse "reparse" ["Y"] Board "" "Plans Y: parses kept pages again.";
    NextHub "next-hub" ["H"] Board "" "Plans H: switches to the next browser hub.";
    Rollback "rollback" ["B"] Board "" "Plans B: rolls the model back to the one before.";
    Flush "flush" ["F"] Board "" "Plans F: flushes the prediction cache of an artifact.";
    Restart "restart" ["S"] Board "" "Plans S: restarts a service, drained first.";
    Reload "reload" ["N"] Board "" "Plans N: reloads secrets and configuration.";
    Usage "usage" ["t" "F3"] Everywhere "usage" "Top accounts, delivery rates and throughput.";
    Jobs "jobs" ["p" "F4"] Everywhere "jobs" "Background jobs and their runs.";
    DeadLetters "dead-letters" ["e" "F5"] Everywhere "dead letters" "What could not be counted, and why.";
    Drills "drills" ["f" "F6"] Everywhere "drills" "What is proven: drills, their faults and their last verdicts.";
    Models "models" ["i" "F7"] Everywhere "models" "Models: versions, aliases, routes, what the gate said, and who changed what.";
    Refresh "refresh" ["r"] Everywhere "" "Asks again now what is asked from time to time, and connects without waiting.";
    Redraw "redraw" ["Ctrl-l"] Everywhere "" "Draws the whole screen anew.";
    Suspend "suspend" ["Ctrl-z"] Everywhere "" "Goes to the background of the shell.";
    Quit "quit" ["q" "Ctrl-c"] Everywhere "quit" "Ends the console; services of other processes run on.";
}

impl Action {
    /// Its line of the table.
    pub fn entry(self) -> &'static Entry {
        // The table is the enumeration, in its order.
        &ACTIONS[self as usize]
    }

    /// Key, in the failure modes' catalogue, of the remedy that it plans.
    pub fn remedy(self) -> Option<&'static str> {
        Some(match self {
            Self::Reconnect => "C",
            Self::Widen => "W",
            Self::Redrive => "D",
            Self::Resume => "K",
            Self::Rerun => "R",
            Self::Purge => "P",
            Self::Statistics => "I",
            Self::Verify => "V",
            Self::Extend => "E",
            Self::Probe => "Q",
            Self::Backfill => "L",
            Self::Reparse => "Y",
            Self::NextHub => "H",
            Self::Rollback => "B",
            Self::Flush => "F",
            Self::Restart => "S",
            Self::Reload => "N",
            _ => return None,
        })
    }

    /// The one that plans the remedy of this key.
    pub fn of_remedy(key: &str) -> Option<Self> {
        ACTIONS.iter().map(|entry| entry.action).find(|action| action.remedy() == Some(key))
    }

    /// By its name.
    pub fn named(name: &str) -> Option<Self> {
        ACTIONS.iter().find(|entry| entry.name == name).map(|entry| entry.action)
    }
}

/// Which keys ask for which actions.
#[derive(Debug, Clone)]
pub struct KeyMap {
    bound: HashMap<(Chord, bool), Action>,
    keys: BTreeMap<Action, Vec<Chord>>,
}

/// Why keys cannot be bound so.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Not a file of keys.
    #[error("not a list of `action = [\"key\", …]` lines: {0}")]
    Format(#[from] toml::de::Error),
    /// No such action.
    #[error("there is no action `{0}`; `loadline-console keys` lists them")]
    Action(String),
    /// No such key.
    #[error("keys of {action}: {why}")]
    Key {
        /// Whose key.
        action: String,
        /// What is wrong with it.
        why: NoKey,
    },
    /// One key, two actions.
    #[error("key {key} would both {first} and {second}")]
    Duplicate {
        /// The key.
        key: Chord,
        /// Bound first.
        first: &'static str,
        /// Bound again.
        second: &'static str,
    },
    /// Nothing would end the console or close an overlay.
    #[error("{0} must keep a key")]
    Unbound(&'static str),
}

impl KeyMap {
    /// The keys of the table, with those of a TOML file (`action = ["key", …]`) in place of theirs.
    ///
    /// # Errors
    /// When the file is not understood, or one key would do two things in one place.
    pub fn with(file: &str) -> Result<Self, KeyError> {
        let changes: BTreeMap<String, Vec<String>> = toml::from_str(file)?;
        if let Some(stranger) = changes.keys().find(|name| Action::named(name).is_none()) {
            return Err(KeyError::Action(stranger.clone()));
        }
        let mut map = Self { bound: HashMap::new(), keys: BTreeMap::new() };
        for entry in ACTIONS {
            let texts: Vec<&str> = match changes.get(entry.name) {
                Some(keys) => keys.iter().map(String::as_str).collect(),
                None => entry.keys.to_vec(),
            };
            for text in texts {
                let key = text.parse().map_err(|why| KeyError::Key { action: entry.name.to_owned(), why })?;
                map.bind(key, entry)?;
            }
        }
        let needed = [Action::Quit, Action::Back, Action::Help];
        match needed.into_iter().find(|action| map.keys(*action).is_empty()) {
            Some(action) => Err(KeyError::Unbound(action.entry().name)),
            None => Ok(map),
        }
    }

    fn bind(&mut self, key: Chord, entry: &'static Entry) -> Result<(), KeyError> {
        for taken in self.bound.iter().filter(|((bound, _), _)| *bound == key).map(|(_, action)| action.entry()) {
            if taken.place.overlaps(entry.place) {
                return Err(KeyError::Duplicate { key, first: taken.name, second: entry.name });
            }
        }
        self.bound.insert((key, entry.place == Place::Replay), entry.action);
        self.keys.entry(entry.action).or_default().push(key);
        Ok(())
    }

    /// What a key asks for; while the past is shown its own keys come first.
    pub fn action(&self, key: Chord, replaying: bool) -> Option<Action> {
        let own = if replaying { self.bound.get(&(key, true)) } else { None };
        own.or_else(|| self.bound.get(&(key, false))).copied()
    }

    /// Keys of an action, the first for hints.
    pub fn keys(&self, action: Action) -> &[Chord] {
        self.keys.get(&action).map_or(&[], Vec::as_slice)
    }

    /// All keys of an action as written, separated by blanks.
    pub fn written(&self, action: Action) -> String {
        self.keys(action).iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }
}

impl Default for KeyMap {
    fn default() -> Self {
        Self::with("").expect("the table has no duplicates: a test binds it")
    }
}

/// The table as Markdown, for the documentation.
pub fn markdown(map: &KeyMap) -> String {
    let mut table = "| keys | action | where | what |\n|---|---|---|---|\n".to_owned();
    for entry in ACTIONS {
        let keys: Vec<String> = map.keys(entry.action).iter().map(|key| format!("`{key}`")).collect();
        let _ = writeln!(table, "| {} | `{}` | {} | {} |", keys.join(" "), entry.name, entry.place.name(), entry.help);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_binds_without_duplicates_and_names_each_action_once() {
        let map = KeyMap::with("").unwrap();
        for (index, entry) in ACTIONS.iter().enumerate() {
            assert_eq!(entry.action as usize, index);
            assert_eq!(Action::named(entry.name), Some(entry.action));
            assert!(!map.keys(entry.action).is_empty() && entry.help.ends_with('.'), "{}", entry.name);
        }
    }

    #[test]
    fn upper_case_letters_are_of_what_changes_something() {
        for entry in ACTIONS {
            let letters = entry.keys.iter().filter(|key| key.len() == 1 && key.chars().all(|char| char.is_ascii_uppercase()));
            let changes = matches!(entry.action, Action::Abort | Action::Drill | Action::Bottom);
            for letter in letters {
                assert!(entry.action.remedy() == Some(letter) || changes, "{letter} plans a remedy");
            }
        }
    }

    #[test]
    fn each_remedy_of_the_catalogue_has_the_key_of_its_name() {
        for key in "CWDKRPIVEQLYHBFSN".chars().map(String::from) {
            let action = Action::of_remedy(&key).unwrap();
            assert_eq!(KeyMap::default().written(action), key);
        }
    }

    #[test]
    fn a_key_is_bound_anew_and_its_old_one_does_nothing() {
        let map = KeyMap::with("freeze = [\"J\", \"F9\"]").unwrap();
        assert_eq!(map.action("F9".parse().unwrap(), false), Some(Action::Freeze));
        assert_eq!(map.action(Chord::char('z'), false), None);
        assert_eq!(map.written(Action::Freeze), "J F9");
    }

    #[test]
    fn one_key_for_two_actions_is_refused_by_both_names() {
        let error = KeyMap::with("freeze = [\"q\"]").unwrap_err().to_string();
        assert_eq!(error, "key q would both freeze and quit");
    }

    #[test]
    fn replay_has_keys_of_its_own() {
        let map = KeyMap::default();
        let left = Chord::char('h');
        assert_eq!((map.action(left, true), map.action(left, false)), (Some(Action::Earlier), Some(Action::PreviousPane)));
        assert_eq!(map.action(Chord::char('q'), true), Some(Action::Quit));
    }

    #[test]
    fn strangers_and_a_console_without_an_exit_are_refused() {
        for (file, word) in
            [("fly = [\"f\"]", "fly"), ("quit = []", "quit"), ("help = [\"F99\"]", "F99"), ("help = 3", "action = [")]
        {
            let error = KeyMap::with(file).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
