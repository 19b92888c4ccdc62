//! A pool of fixed blocks for stream bytes: all memory taken at start, no byte more later.

use crate::limits::BLOCK_BYTES;

/// No block.
pub const NONE: u32 = u32::MAX;

#[derive(Debug, Clone, Copy, Default)]
struct Link {
    next: u32,
    length: usize,
    sequence: u32,
}

/// The pool. A block knows its bytes, the block after it, and a sequence number.
#[derive(Debug)]
pub struct Blocks {
    bytes: Vec<u8>,
    links: Vec<Link>,
    free: u32,
    /// Blocks from here on were never used: their memory is not touched yet.
    fresh: u32,
    used: u32,
}

impl Blocks {
    /// A pool of `count` blocks.
    pub fn new(count: u32) -> Self {
        let blocks = usize::try_from(count).unwrap_or(usize::MAX);
        Self {
            bytes: vec![0; blocks.saturating_mul(BLOCK_BYTES)],
            links: vec![Link::default(); blocks],
            free: NONE,
            fresh: 0,
            used: 0,
        }
    }

    /// Blocks in use.
    pub const fn used(&self) -> u32 {
        self.used
    }

    /// An empty block with no successor; `None` when all are in use.
    pub fn take(&mut self, sequence: u32) -> Option<u32> {
        let block = match self.links.get(place(self.free)) {
            Some(link) => std::mem::replace(&mut self.free, link.next),
            None => self.fresh,
        };
        // Taken in order at first, so that memory is touched only as it is needed.
        let link = self.links.get_mut(place(block))?;
        *link = Link {
            next: NONE,
            length: 0,
            sequence,
        };
        self.fresh = self.fresh.max(block + 1);
        self.used += 1;
        Some(block)
    }

    /// Give a block back; returns the one after it.
    pub fn put(&mut self, block: u32) -> u32 {
        let Some(link) = self.links.get_mut(place(block)) else {
            return NONE;
        };
        self.used -= 1;
        let first = std::mem::replace(&mut self.free, block);
        std::mem::replace(&mut link.next, first)
    }

    /// Its bytes.
    pub fn bytes(&self, block: u32) -> &[u8] {
        let start = place(block).saturating_mul(BLOCK_BYTES);
        let length = self.links.get(place(block)).map_or(0, |link| link.length);
        self.bytes
            .get(start..start.saturating_add(length))
            .unwrap_or(&[])
    }

    /// Sequence number of its first byte.
    pub fn sequence(&self, block: u32) -> u32 {
        self.links.get(place(block)).map_or(0, |link| link.sequence)
    }

    /// The block after it.
    pub fn next(&self, block: u32) -> u32 {
        self.links.get(place(block)).map_or(NONE, |link| link.next)
    }

    /// Let `next` come after it.
    pub fn set_next(&mut self, block: u32, next: u32) {
        if let Some(link) = self.links.get_mut(place(block)) {
            link.next = next;
        }
    }

    /// Add what has room; returns how many bytes that was.
    pub fn append(&mut self, block: u32, bytes: &[u8]) -> usize {
        let Some(link) = self.links.get_mut(place(block)) else {
            return 0;
        };
        let count = bytes.len().min(BLOCK_BYTES.saturating_sub(link.length));
        let start = place(block).saturating_mul(BLOCK_BYTES) + link.length;
        let target = self.bytes.get_mut(start..start.saturating_add(count));
        let (Some(target), Some(bytes)) = (target, bytes.get(..count)) else {
            return 0;
        };
        target.copy_from_slice(bytes);
        link.length += count;
        count
    }
}

fn place(block: u32) -> usize {
    usize::try_from(block).unwrap_or(usize::MAX)
}

/// Bytes kept over several blocks, in order.
#[derive(Debug, Clone, Copy)]
pub struct Chain {
    head: u32,
    tail: u32,
    length: usize,
}

impl Chain {
    /// Nothing kept.
    pub const EMPTY: Self = Self {
        head: NONE,
        tail: NONE,
        length: 0,
    };

    /// Bytes kept.
    pub const fn len(&self) -> usize {
        self.length
    }

    /// Is nothing kept?
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Keep `bytes` too; false when the pool has no block left, with what found room kept.
    #[must_use]
    pub fn append(&mut self, blocks: &mut Blocks, bytes: &[u8]) -> bool {
        let mut rest = bytes;
        while !rest.is_empty() {
            let count = blocks.append(self.tail, rest);
            if count == 0 {
                let Some(block) = blocks.take(0) else {
                    return false;
                };
                blocks.set_next(self.tail, block);
                self.tail = block;
                if self.head == NONE {
                    self.head = block;
                }
            }
            self.length += count;
            rest = rest.get(count..).unwrap_or(&[]);
        }
        true
    }

    /// Everything kept, in one piece, in `target` (which is emptied first).
    pub fn copy_to(&self, blocks: &Blocks, target: &mut Vec<u8>) {
        target.clear();
        let mut block = self.head;
        while block != NONE {
            let bytes = blocks.bytes(block);
            if target.len() + bytes.len() > target.capacity() {
                break;
            }
            target.extend_from_slice(bytes);
            block = blocks.next(block);
        }
    }

    /// Keep nothing.
    pub fn clear(&mut self, blocks: &mut Blocks) {
        let mut block = self.head;
        while block != NONE {
            block = blocks.put(block);
        }
        *self = Self::EMPTY;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_keeps_what_finds_room() {
        let mut blocks = Blocks::new(2);
        let mut chain = Chain::EMPTY;
        assert!(chain.append(&mut blocks, &[1; BLOCK_BYTES]));
        assert!(chain.append(&mut blocks, &[2; 10]));
        assert!(!chain.append(&mut blocks, &[3; BLOCK_BYTES]));
        assert_eq!((chain.len(), blocks.used()), (2 * BLOCK_BYTES, 2));
        let mut all = Vec::with_capacity(2 * BLOCK_BYTES);
        chain.copy_to(&blocks, &mut all);
        assert_eq!((all.len(), all[BLOCK_BYTES + 9]), (2 * BLOCK_BYTES, 2));
        assert_eq!(all[BLOCK_BYTES + 10], 3);
        chain.clear(&mut blocks);
        assert_eq!(blocks.used(), 0);
        assert!(blocks.take(0).is_some() && blocks.take(0).is_some());
        assert_eq!(blocks.take(0), None);
    }
}
