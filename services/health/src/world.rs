//! What a plan saw: a few facts, comparable later.

use std::{collections::BTreeMap, fmt};

/// Facts by name, in words. Two looks at an unchanged world give equal ones: leave out what moves by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct World(BTreeMap<String, String>);

impl World {
    /// The same with one more fact, or another value of a known one.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl ToString) -> Self {
        self.0.insert(name.into(), value.to_string());
        self
    }

    /// The value of a fact.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// In hexadecimal, the same for equal facts only.
    pub fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for text in self.0.iter().flat_map(|(name, value)| [name, value]) {
            hasher.update(&(text.len() as u64).to_be_bytes()).update(text.as_bytes());
        }
        hasher.finalize().to_hex().to_string()
    }

    /// What is otherwise in `now`, in words; empty when nothing is.
    pub fn difference(&self, now: &Self) -> String {
        let changed = self.0.iter().filter_map(|(name, was)| match now.0.get(name) {
            Some(is) if is == was => None,
            Some(is) => Some(format!("{name} was {was}, is {is}")),
            None => Some(format!("{name} was {was}, is gone")),
        });
        let new =
            now.0.iter().filter(|(name, _)| !self.0.contains_key(*name)).map(|(name, is)| format!("{name} is {is}, is new"));
        changed.chain(new).collect::<Vec<_>>().join("; ")
    }
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let facts: Vec<String> = self.0.iter().map(|(name, value)| format!("{name} {value}")).collect();
        f.write_str(&facts.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_looking_does_not_matter_and_every_fact_does() {
        let one = World::default().with("open letters", 12).with("stream", "BILLING");
        let two = World::default().with("stream", "BILLING").with("open letters", 12);
        assert_eq!(one.digest(), two.digest());
        for other in
            [one.clone().with("open letters", 13), one.clone().with("new", ""), World::default().with("stream", "BILLING")]
        {
            assert_ne!(one.digest(), other.digest(), "{other}");
        }
        assert_ne!(World::default().with("ab", "c").digest(), World::default().with("a", "bc").digest());
    }

    #[test]
    fn a_difference_names_what_changed_went_and_came() {
        let was = World::default().with("a", 1).with("b", 2).with("c", 3);
        let is = World::default().with("a", 1).with("b", 5).with("d", 4);
        assert_eq!(was.difference(&is), "b was 2, is 5; c was 3, is gone; d is 4, is new");
        assert_eq!(was.difference(&was), "");
    }
}
