//! How much lies above a key in a stack of keys, the one read last on top: a Fenwick tree (1994)
//! over the order of reads, in which each key's weight stands where the key was read last.

/// A stack of bounded height. Who puts more than that many keys on it at a time loses the count.
pub(crate) struct Stack {
    /// The key at each place, from the bottom, or none; and as many sums as the tree needs.
    keys: Vec<Option<u64>>,
    sums: Vec<u64>,
    next: usize,
    total: u64,
}

impl Stack {
    /// A stack with room for this many places; it is closed up when they are used.
    pub(crate) fn new(places: usize) -> Self {
        Self {
            keys: vec![None; places],
            sums: vec![0; places + 1],
            next: 0,
            total: 0,
        }
    }

    /// Whether the next push needs [`Stack::close_up`] first.
    pub(crate) fn is_used_up(&self) -> bool {
        self.next == self.keys.len()
    }

    /// Puts a key on top; says its place.
    pub(crate) fn push(&mut self, key: u64, weight: u64) -> usize {
        let place = self.next;
        self.next += 1;
        self.keys[place] = Some(key);
        self.add(place, weight);
        self.total += weight;
        place
    }

    pub(crate) fn remove(&mut self, place: usize, weight: u64) {
        self.keys[place] = None;
        self.add(place, weight.wrapping_neg());
        self.total -= weight;
    }

    /// The key at this place weighs something else.
    pub(crate) fn reweigh(&mut self, place: usize, old: u64, new: u64) {
        self.add(place, new.wrapping_sub(old));
        self.total = self.total - old + new;
    }

    /// The weight of all keys above this place.
    pub(crate) fn above(&self, place: usize) -> u64 {
        let (mut node, mut below) = (place + 1, 0u64);
        while node > 0 {
            below = below.wrapping_add(self.sums[node]);
            node &= node - 1;
        }
        self.total.wrapping_sub(below)
    }

    /// The weight of all keys.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// Closes the gaps; `moved` says for each key where it is now, and answers its weight.
    pub(crate) fn close_up(&mut self, mut moved: impl FnMut(u64, usize) -> u64) {
        let keys: Vec<u64> = self.keys.iter().flatten().copied().collect();
        self.keys.fill(None);
        self.sums.fill(0);
        (self.next, self.total) = (0, 0);
        for key in keys {
            let weight = moved(key, self.next);
            self.push(key, weight);
        }
    }

    fn add(&mut self, place: usize, weight: u64) {
        let mut node = place + 1;
        while node < self.sums.len() {
            self.sums[node] = self.sums[node].wrapping_add(weight);
            node += node & node.wrapping_neg();
        }
    }
}
