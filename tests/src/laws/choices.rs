//! A case is a string of bytes that a law draws its choices from. Drawn out, it gives zeros, so that shorter strings and smaller
//! bytes are simpler cases: what shrinks a counterexample needs to know nothing of the law.

/// The choices of one case.
pub struct Choices<'a> {
    bytes: std::slice::Iter<'a, u8>,
}

impl<'a> Choices<'a> {
    /// The case that these bytes stand for.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes: bytes.iter() }
    }

    fn byte(&mut self) -> u8 {
        self.bytes.next().copied().unwrap_or_default()
    }

    /// A number below `bound`, which is at most 256.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) * bound / 256
    }

    /// A number of this many at most.
    pub fn up_to(&mut self, most: usize) -> usize {
        self.below(most + 1)
    }

    /// True in so many of a hundred cases.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) >= 100 - percent
    }

    /// One of these.
    pub fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }

    /// Eight bytes as a number.
    pub fn word(&mut self) -> u64 {
        (0..8).fold(0, |word, _| word << 8 | u64::from(self.byte()))
    }

    /// A number that is mostly small, and sometimes as large as can be.
    pub fn number(&mut self) -> u64 {
        match self.below(8) {
            0..=4 => self.below(120) as u64,
            5 => u64::from(self.byte()) << 8 | u64::from(self.byte()),
            6 => self.word(),
            _ => u64::MAX,
        }
    }

    /// Sixteen bytes, often the same as before.
    pub fn sixteen(&mut self) -> [u8; 16] {
        if self.chance(75) { [self.below(4) as u8; 16] } else { std::array::from_fn(|_| self.byte()) }
    }

    /// So many at most, each made by `one`.
    pub fn several<T>(&mut self, most: usize, mut one: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.up_to(most)).map(|_| one(self)).collect()
    }

    /// One or none.
    pub fn maybe<T>(&mut self, one: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.chance(50).then(|| one(self))
    }
}
