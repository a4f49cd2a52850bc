//! How many blocks one catch-up query spans.

/// Halves when an endpoint finds a query too large, and creeps up again while it does not: limits depend on the number
/// of results as much as on the number of blocks, so a size that failed once may work later.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    blocks: u64,
    blocks_max: u64,
}

impl Window {
    pub(super) fn new(blocks_max: u64) -> Self {
        let blocks_max = blocks_max.max(1);
        Self { blocks: blocks_max, blocks_max }
    }

    pub(super) fn blocks(self) -> u64 {
        self.blocks
    }

    pub(super) fn worked(&mut self) {
        self.blocks = (self.blocks + self.blocks / 4 + 1).min(self.blocks_max);
    }

    /// `false`: one block is too large already, so size was not the reason.
    pub(super) fn too_large(&mut self) -> bool {
        let shrinks = self.blocks > 1;
        self.blocks = (self.blocks / 2).max(1);
        shrinks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_to_one_and_grows_back() {
        let mut window = Window::new(2_000);
        while window.too_large() {}
        assert_eq!(window.blocks(), 1);
        for _ in 0..64 {
            window.worked();
        }
        assert_eq!(window.blocks(), 2_000);
    }
}
