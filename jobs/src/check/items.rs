//! Items that a peer sent.

use thiserror::Error;

use crate::limits::{ITEM_BYTES_MAX, ITEMS_BYTES_MAX, ITEMS_MAX};
use crate::numbers::NumbersError;
use crate::spec::{ItemList, Items};

/// What is wrong with a stage's items.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum ItemsError {
    /// The numbers break a rule of their own.
    #[error(transparent)]
    Numbers(#[from] NumbersError),
    /// More than [`ITEMS_MAX`].
    #[error("{items} items, at most {ITEMS_MAX} are allowed")]
    TooMany {
        /// How many there are.
        items: usize,
    },
    /// More than [`ITEMS_BYTES_MAX`] together.
    #[error("{bytes} bytes of items, at most {ITEMS_BYTES_MAX} are allowed")]
    TooManyBytes {
        /// How many there are.
        bytes: usize,
    },
    /// One with more than [`ITEM_BYTES_MAX`].
    #[error("item {index} has {bytes} bytes, at most {ITEM_BYTES_MAX} are allowed")]
    ItemTooLong {
        /// Which one, from 0.
        index: usize,
        /// How long it is.
        bytes: usize,
    },
    /// One with a NUL character, which no argument, variable or path can hold.
    #[error("item {index} holds a NUL character")]
    Nul {
        /// Which one, from 0.
        index: usize,
    },
    /// The packed list contradicts itself.
    #[error("the list of items is broken at item {index}")]
    Broken {
        /// Which one, from 0.
        index: usize,
    },
    /// The directory of files is not absolute.
    #[error("the directory of the files is not an absolute path")]
    BaseNotAbsolute,
}

impl Items {
    /// Checks what a peer sent as items; takes time by their bytes.
    ///
    /// # Errors
    /// Says which limit or invariant does not hold.
    pub fn check(&self) -> Result<(), ItemsError> {
        match self {
            Self::Single => Ok(()),
            Self::Numbers(numbers) => Ok(numbers.check()?),
            Self::Texts(list) => list.check(),
            Self::Files { base, paths } if base.starts_with('/') => paths.check(),
            Self::Files { .. } => Err(ItemsError::BaseNotAbsolute),
        }
    }
}

impl ItemList {
    /// Checks a list that a peer sent; takes time by its bytes.
    ///
    /// # Errors
    /// Says which limit or invariant does not hold.
    pub fn check(&self) -> Result<(), ItemsError> {
        if self.len() > ITEMS_MAX {
            return Err(ItemsError::TooMany { items: self.len() });
        }
        if self.bytes() > ITEMS_BYTES_MAX {
            return Err(ItemsError::TooManyBytes { bytes: self.bytes() });
        }
        let mut bytes = 0;
        for index in 0..self.len() {
            let item = self.item(index).ok_or(ItemsError::Broken { index })?;
            check_item(index, item)?;
            bytes += item.len();
        }
        if bytes == self.bytes() { Ok(()) } else { Err(ItemsError::Broken { index: self.len() }) }
    }
}

/// Checks one item on its own.
pub(crate) fn check_item(index: usize, item: &str) -> Result<(), ItemsError> {
    if item.len() > ITEM_BYTES_MAX {
        return Err(ItemsError::ItemTooLong { index, bytes: item.len() });
    }
    if item.contains('\0') { Err(ItemsError::Nul { index }) } else { Ok(()) }
}
