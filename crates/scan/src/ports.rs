//! Which ports were tried: the first in order, and how many in all.

/// Ports that are kept in the order in which they were tried.
pub(crate) const IN_ORDER: usize = 256;
/// Words of a bitmap of all ports: 8 KiB.
const WORDS: usize = 65_536 / 64;

/// Bitmaps that may still be had: each is 8 KiB, so their number bounds memory.
#[derive(Debug)]
pub(crate) struct Bitmaps {
    left: usize,
}

impl Bitmaps {
    pub(crate) const fn new(left: usize) -> Self {
        Self { left }
    }

    fn take(&mut self) -> Option<Box<[u64]>> {
        self.left = self.left.checked_sub(1)?;
        Some(vec![0; WORDS].into_boxed_slice())
    }

    /// Takes back what a list of ports had.
    pub(crate) fn give_back(&mut self, ports: &mut Ports) {
        if ports.bitmap.take().is_some() {
            self.left = self.left.saturating_add(1);
        }
    }
}

/// Distinct ports.
#[derive(Debug, Default)]
pub(crate) struct Ports {
    order: Vec<u16>,
    bitmap: Option<Box<[u64]>>,
    count: u32,
    /// Whether there may be more than `count`.
    at_least: bool,
}

impl Ports {
    /// Adds a port; whether it is certainly new.
    pub(crate) fn insert(&mut self, port: u16, bitmaps: &mut Bitmaps) -> bool {
        if self.bitmap.is_none() {
            // Comparing all, without a way out, is what the compiler makes wide instructions of.
            if self.order.iter().fold(false, |found, known| found | (*known == port)) {
                return false;
            }
            if self.order.len() < IN_ORDER {
                self.order.push(port);
                self.count = self.count.saturating_add(1);
                return true;
            }
            let Some(bitmap) = bitmaps.take() else {
                self.at_least = true;
                return false;
            };
            let bitmap = self.bitmap.insert(bitmap);
            for known in &self.order {
                set(bitmap, *known);
            }
        }
        let is_new = self.bitmap.as_mut().is_some_and(|bitmap| set(bitmap, port));
        self.count = self.count.saturating_add(u32::from(is_new));
        is_new
    }

    /// Bytes beside those of the value itself.
    pub(crate) const fn memory(&self) -> usize {
        let bitmap = match &self.bitmap {
            Some(bitmap) => bitmap.len().saturating_mul(size_of::<u64>()),
            None => 0,
        };
        self.order.capacity().saturating_mul(size_of::<u16>()).saturating_add(bitmap)
    }

    /// The first ports, in the order in which they were tried.
    pub(crate) fn order(&self) -> &[u16] {
        &self.order
    }

    /// How many there are.
    pub(crate) const fn count(&self) -> u32 {
        self.count
    }

    /// Whether there may be more than [`Ports::count`] says.
    pub(crate) const fn is_at_least(&self) -> bool {
        self.at_least
    }
}

/// Sets a port's bit; whether it was not set.
fn set(bitmap: &mut [u64], port: u16) -> bool {
    let bit = 1_u64 << (port % 64);
    let Some(word) = bitmap.get_mut(usize::from(port / 64)) else { return false };
    let is_new = *word & bit == 0;
    *word |= bit;
    is_new
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_every_port_once() {
        let (mut ports, mut bitmaps) = (Ports::default(), Bitmaps::new(1));
        for _ in 0..3 {
            for port in (0..=u16::MAX).rev() {
                ports.insert(port, &mut bitmaps);
            }
        }
        assert_eq!((ports.count(), ports.is_at_least()), (65_536, false));
        assert_eq!(ports.order().len(), IN_ORDER);
        assert_eq!(ports.order()[..3], [65_535, 65_534, 65_533]);
    }

    #[test]
    fn without_a_bitmap_there_are_at_least_so_many() {
        let (mut ports, mut other, mut bitmaps) = (Ports::default(), Ports::default(), Bitmaps::new(1));
        for port in 0..=300 {
            other.insert(port, &mut bitmaps);
            ports.insert(port, &mut bitmaps);
        }
        assert_eq!((other.count(), other.is_at_least()), (301, false));
        assert_eq!((ports.count(), ports.is_at_least()), (256, true));
        bitmaps.give_back(&mut other);
        bitmaps.give_back(&mut other);
        ports.insert(7, &mut bitmaps);
        assert_eq!(ports.count(), 256, "known already");
        ports.insert(301, &mut bitmaps);
        assert_eq!((ports.count(), ports.is_at_least()), (257, true), "some were not counted before");
        assert_eq!(bitmaps.left, 0);
    }
}
