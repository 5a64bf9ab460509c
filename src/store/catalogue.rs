//! What does the page of HTTP show? All that the folder holds, with lengths and dates.

use super::{Error, Store};
use std::fs::{self, DirEntry, Metadata};
use std::io;

/// What the folder holds, for a page that shows it.
pub struct Catalogue {
    /// Files that can be asked for, sorted by the bytes of their names.
    pub files: Vec<(String, Metadata)>,
    /// How many folders there are that are not hidden. They cannot be asked for.
    pub folders: usize,
}

impl Store {
    /// Files that vanish meanwhile are left out.
    pub fn catalogue(&self) -> Result<Catalogue, Error> {
        let known = |(name, entry): (String, DirEntry)| Some((name, entry.metadata().ok()?));
        Ok(Catalogue {
            files: self.files()?.into_iter().filter_map(known).collect(),
            folders: fs::read_dir(self.path_of(""))?.filter(is_plain_folder).count(),
        })
    }
}

fn is_plain_folder(entry: &io::Result<DirEntry>) -> bool {
    entry.as_ref().is_ok_and(|entry| {
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        !hidden && entry.file_type().is_ok_and(|kind| kind.is_dir())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Folder;
    use crate::store::tests::{open, put};

    #[test]
    fn a_page_shows_files_and_counts_folders_that_are_not_hidden() {
        let folder = Folder::new();
        let store = open(&folder);
        put(&store, "a", b"").unwrap();
        folder.write(".hidden", b"");
        folder.write("bad\\name", b"");
        fs::create_dir(folder.path().join("dir")).unwrap();
        fs::create_dir(folder.path().join(".git")).unwrap();
        let catalogue = store.catalogue().unwrap();
        assert_eq!((catalogue.files.len(), catalogue.folders), (1, 1));
    }
}
