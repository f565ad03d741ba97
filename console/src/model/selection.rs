//! A cursor that holds on to what it is on, not to a place: rows may move under it.

/// By id, with the place it was last seen at for when that row is gone.
#[derive(Debug, Clone)]
pub struct Selection<K> {
    id: Option<K>,
    place: usize,
}

impl<K> Default for Selection<K> {
    fn default() -> Self {
        Self { id: None, place: 0 }
    }
}

impl<K: PartialEq + Clone> Selection<K> {
    /// Where it is in this list; `None` if that is empty.
    pub fn place<'a>(&self, mut ids: impl ExactSizeIterator<Item = &'a K>) -> Option<usize>
    where
        K: 'a,
    {
        let rows = ids.len();
        let found = self.id.as_ref().and_then(|id| ids.position(|known| known == id));
        self.within(found, rows)
    }

    /// The same for a list of so many, in which its row was looked up and found there.
    pub fn within(&self, found: Option<usize>, rows: usize) -> Option<usize> {
        let last = rows.checked_sub(1)?;
        Some(found.unwrap_or_else(|| self.place.min(last)))
    }

    /// What it holds on to.
    pub fn id(&self) -> Option<&K> {
        self.id.as_ref()
    }

    /// Moves by so many rows of this list, as far as it goes.
    pub fn step<'a>(&mut self, ids: impl ExactSizeIterator<Item = &'a K> + Clone, by: isize)
    where
        K: 'a,
    {
        if let Some(place) = self.place(ids.clone()) {
            self.hold(ids, place.saturating_add_signed(by));
        }
    }

    /// Holds on to the row at a place, or to the nearest there is.
    pub fn hold<'a>(&mut self, mut ids: impl ExactSizeIterator<Item = &'a K>, place: usize)
    where
        K: 'a,
    {
        let Some(last) = ids.len().checked_sub(1) else { return };
        self.place = place.min(last);
        self.id = ids.nth(self.place).cloned();
    }

    /// Remembers where its row is now, and takes hold of one if it has none.
    pub fn settle<'a>(&mut self, mut ids: impl ExactSizeIterator<Item = &'a K> + Clone)
    where
        K: 'a,
    {
        let Some(place) = self.place(ids.clone()) else { return };
        self.place = place;
        if self.id.is_none() {
            self.id = ids.nth(place).cloned();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_stays_at_its_place_when_its_row_is_gone() {
        let mut selection = Selection::default();
        selection.hold([1, 2, 3].iter(), 1);
        assert_eq!(selection.place([1, 3].iter()), Some(1));
        assert_eq!(selection.place([9].iter()), Some(0));
        assert_eq!(selection.place([].iter()), None);
        selection.settle([1, 3].iter());
        assert_eq!(selection.place([3, 2].iter()), Some(1), "and is found again when it comes back");
    }

    proptest! {
        #[test]
        fn it_survives_any_reordering(ids in prop::collection::hash_set(0_u8..50, 1..30), place in 0_usize..40, seed in any::<u64>()) {
            let mut ids: Vec<u8> = ids.into_iter().collect();
            let mut selection = Selection::default();
            selection.hold(ids.iter(), place);
            let held = *selection.id().unwrap();
            ids.sort_by_key(|id| (u64::from(*id) + 1).wrapping_mul(seed | 1));
            selection.settle(ids.iter());
            prop_assert_eq!(ids[selection.place(ids.iter()).unwrap()], held);
        }
    }
}
