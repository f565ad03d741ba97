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
        let last = ids.len().checked_sub(1)?;
        let found = self.id.as_ref().and_then(|id| ids.position(|known| known == id));
        Some(found.unwrap_or_else(|| self.place.min(last)))
    }

    /// What it holds on to.
    pub fn id(&self) -> Option<&K> {
        self.id.as_ref()
    }

    /// Moves by so many rows of this list, as far as it goes.
    pub fn step(&mut self, ids: &[K], by: isize) {
        let Some(place) = self.place(ids.iter()) else { return };
        self.hold(ids, place.saturating_add_signed(by).min(ids.len() - 1));
    }

    /// Holds on to the row at a place, or to the nearest there is.
    pub fn hold(&mut self, ids: &[K], place: usize) {
        let Some(last) = ids.len().checked_sub(1) else { return };
        self.place = place.min(last);
        self.id = Some(ids[self.place].clone());
    }

    /// Remembers where its row is now, and takes hold of one if it has none.
    pub fn settle(&mut self, ids: &[K]) {
        if let Some(place) = self.place(ids.iter()) {
            self.place = place;
            self.id.get_or_insert_with(|| ids[place].clone());
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
        selection.hold(&[1, 2, 3], 1);
        assert_eq!(selection.place([1, 3].iter()), Some(1));
        assert_eq!(selection.place([9].iter()), Some(0));
        assert_eq!(selection.place([].iter()), None);
        selection.settle(&[1, 3]);
        assert_eq!(selection.place([3, 2].iter()), Some(1), "and is found again when it comes back");
    }

    proptest! {
        #[test]
        fn it_survives_any_reordering(ids in prop::collection::hash_set(0_u8..50, 1..30), place in 0_usize..40, seed in any::<u64>()) {
            let mut ids: Vec<u8> = ids.into_iter().collect();
            let mut selection = Selection::default();
            selection.hold(&ids, place);
            let held = *selection.id().unwrap();
            ids.sort_by_key(|id| (u64::from(*id) + 1).wrapping_mul(seed | 1));
            selection.settle(&ids);
            prop_assert_eq!(ids[selection.place(ids.iter()).unwrap()], held);
        }
    }
}
