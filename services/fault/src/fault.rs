//! What can go wrong with a call, and which calls it meets.

use std::{fmt, time::Duration};

/// A fault lasts no longer, whatever was asked.
pub const LONGEST: Duration = Duration::from_secs(15 * 60);

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It is not made, and fails in a way that a retry may mend.
    Error,
    /// It is not made, and fails in a way that no retry mends.
    Break,
    /// It is made so much later.
    Delay(Duration),
    /// It is made when the fault is over.
    Hang,
    /// It is made, and its answer is not what was answered. Only calls that have something to corrupt are met.
    Corrupt,
    /// It is made and happens, and its caller is told that nobody knows.
    DropReply,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error => f.write_str("error"),
            Self::Break => f.write_str("lasting error"),
            Self::Delay(by) => write!(f, "delay of {by:?}"),
            Self::Hang => f.write_str("hang"),
            Self::Corrupt => f.write_str("corrupt answer"),
            Self::DropReply => f.write_str("dropped reply"),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Names {
    Only(&'static [&'static str]),
    AllBut(&'static [&'static str]),
}

/// Calls, by the names of the port's methods and by what they are about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calls {
    names: Names,
    about: Option<String>,
}

impl Calls {
    /// These methods.
    pub fn only(names: &'static [&'static str]) -> Self {
        Self { names: Names::Only(names), about: None }
    }

    /// Every method but these.
    pub fn all_but(names: &'static [&'static str]) -> Self {
        Self { names: Names::AllBut(names), about: None }
    }

    /// Of them, those about one stream or account, or, where it ends in `*`, about those whose names begin so.
    #[must_use]
    pub fn about(self, about: impl Into<String>) -> Self {
        Self { about: Some(about.into()), ..self }
    }

    pub(crate) fn meet(&self, name: &str, about: &str) -> bool {
        let named = match self.names {
            Names::Only(names) => names.contains(&name),
            Names::AllBut(names) => !names.contains(&name),
        };
        let meant = |only: &str| only.strip_suffix('*').map_or(only == about, |begin| about.starts_with(begin));
        named && self.about.as_deref().is_none_or(meant)
    }
}

impl fmt::Display for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.names {
            Names::Only(names) => write!(f, "{}", names.join(", "))?,
            Names::AllBut([]) => f.write_str("every call")?,
            Names::AllBut(names) => write!(f, "every call but {}", names.join(", "))?,
        }
        self.about.as_ref().map_or(Ok(()), |about| write!(f, " about {about}"))
    }
}

/// Something that goes wrong on purpose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Who causes it, such as `drill AN-01`: shown, and part of the errors it makes.
    pub name: String,
    /// What becomes of a call.
    pub kind: Kind,
    /// Which calls.
    pub calls: Calls,
    /// How long it lasts at most; [`LONGEST`] where that is less.
    pub ttl: Duration,
    /// A call of this name takes it away and is made as ever: what mends it in the real world.
    pub cured_by: Option<&'static str>,
}

/// A fault that is active now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Active {
    /// As it was injected.
    pub fault: Fault,
    /// What is left of its time.
    pub left: Duration,
    /// Calls that it met.
    pub met: u64,
}

impl fmt::Display for Active {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fault { name, kind, calls, .. } = &self.fault;
        write!(f, "{name}: {kind} of {calls}, {} met, {:.0} s left", self.met, self.left.as_secs_f64())
    }
}
