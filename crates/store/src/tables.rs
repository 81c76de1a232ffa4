//! The definitions as tables in one redb file, which goes through [`Disk`] like everything else.
//!
//! The tables trail the journal. `applied` in the table `store` says up to which LSN its changes
//! are in, and is written in the same transaction as they are.

mod backend;

use std::{
    collections::BTreeMap,
    io,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering::Relaxed},
};

use redb::{
    Database, ReadableDatabase, ReadableTable, TableDefinition, TableHandle, WriteTransaction,
};

use self::backend::{Backend, Notes, settle};
use crate::{
    Definition, Disk, DiskFile, OpenError, Table, definitions::DefinitionsIter, encoding::Reader,
    recovery::refused,
};

/// The full state of the definitions.
pub(crate) type State = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

/// A definition record waiting for its table: its LSN and payload.
pub(crate) type Change = (u64, Vec<u8>);

/// The tables' file; it is made when the first change is applied.
pub(crate) struct Tables {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    path: PathBuf,
    database: Option<Arc<Database>>,
    /// Of what is in the tables.
    digest: u64,
    /// The file is there, and could not be opened again after the disk was full.
    is_shut: bool,
    notes: Arc<Notes>,
}

/// Why changes did not reach their tables.
#[derive(Debug)]
pub(crate) enum ApplyError {
    /// The disk is full. The tables are as before; to be tried again.
    Full(redb::Error),
    /// The disk failed.
    Failed(redb::Error),
}

impl Tables {
    /// Opens the tables in `dir` and reads them. Also returns the LSN up to which they are.
    pub(crate) fn open(disk: Arc<dyn Disk>, dir: &Path) -> Result<(Self, State, u64), OpenError> {
        let path = dir.join(FILE);
        let mut tables = Self {
            disk,
            dir: dir.to_owned(),
            path,
            database: None,
            digest: 0,
            is_shut: false,
            notes: Arc::default(),
        };
        let file = match tables.disk.open(&tables.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok((tables, State::new(), 0));
            }
            Err(source) => {
                return Err(OpenError::Io { operation: "open", path: tables.path.clone(), source });
            }
        };
        let settled = settle(&*file).map_err(refused("write again", &tables.path));
        settled.and_then(|()| tables.disk.sync_dir(dir).map_err(refused("sync", dir)))?;
        let read = guarded(|| {
            let database = tables.open_database(file)?;
            let found = read_all(&database)?;
            tables.database = Some(Arc::new(database));
            Ok(found)
        });
        match read {
            Ok(Contents { format, .. }) if format > u64::from(FORMAT) => {
                Err(OpenError::NewerFormat {
                    path: tables.path.clone(),
                    found: u32::try_from(format).unwrap_or(u32::MAX),
                    supported: FORMAT,
                })
            }
            Ok(Contents { has_others: true, .. }) => {
                Err(OpenError::NewerContent { path: tables.path.clone(), what: "a table" })
            }
            Ok(Contents { state, applied, .. }) => {
                tables.digest = digest_of(&state);
                Ok((tables, state, applied))
            }
            Err(source) => {
                Err(OpenError::Definitions { path: tables.path.clone(), source: Box::new(source) })
            }
        }
    }

    /// Whether there is a file of them.
    pub(crate) const fn are_there(&self) -> bool {
        self.database.is_some()
    }

    /// Whether nobody can tell what is in the tables, because the disk is full.
    pub(crate) const fn is_shut(&self) -> bool {
        self.is_shut
    }

    /// The database, unless nothing has been applied yet.
    pub(crate) fn database(&self) -> Option<Arc<Database>> {
        self.database.clone()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Applies `changes`, ascending by LSN, in one durable transaction.
    pub(crate) fn apply(&mut self, changes: &[Change]) -> Result<(), ApplyError> {
        self.notes.is_full.store(false, Relaxed);
        let failed = match self.commit(changes) {
            Ok(()) if self.notes.has_failed.load(Relaxed) => redb::Error::PreviousIo,
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if self.notes.has_failed.load(Relaxed) || !self.notes.is_full.load(Relaxed) {
            return Err(ApplyError::Failed(failed));
        }
        // After any error the database does nothing more. Opened again it is as before.
        self.is_shut |= self.database.take().is_some();
        if self.is_shut {
            match self.reopen() {
                Err(error) if !self.notes.is_full.load(Relaxed) => {
                    return Err(ApplyError::Failed(error));
                }
                _ => {}
            }
        }
        Err(ApplyError::Full(failed))
    }

    /// Closes the tables, if nobody else has them.
    ///
    /// # Errors
    /// When the disk failed on the way, or what was read made no sense.
    pub(crate) fn close(&mut self) -> io::Result<()> {
        let database = self.database.take();
        // It writes what it goes on from.
        guarded(|| {
            drop(database);
            Ok(())
        })
        .map_err(io::Error::other)?;
        if self.notes.has_failed.load(Relaxed) {
            return Err(io::Error::other("the disk refused"));
        }
        Ok(())
    }

    fn reopen(&mut self) -> Result<(), redb::Error> {
        let database = self.open_database(self.disk.open(&self.path)?)?;
        self.database = Some(Arc::new(database));
        self.is_shut = false;
        Ok(())
    }

    fn open_database(&self, file: Arc<dyn DiskFile>) -> Result<Database, redb::DatabaseError> {
        open_database(Backend { file, notes: Arc::clone(&self.notes) })
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), redb::Error> {
        let Some(&(applied, _)) = changes.last() else { return Ok(()) };
        if self.is_shut {
            self.reopen()?;
        }
        let database = match &mut self.database {
            Some(database) => database,
            none => {
                let state = State::new();
                let database = create(&*self.disk, &self.dir, &state, 0, &self.notes)?;
                none.insert(Arc::new(database))
            }
        };
        let mut digest = self.digest;
        let transaction = database.begin_write()?;
        for (_, payload) in changes {
            for change in DefinitionsIter::new(Reader(payload)).into_iter().flatten() {
                match change {
                    Definition::Put { table, key, value } => {
                        let number = table;
                        let mut table = transaction.open_table(definition_of(table))?;
                        let before = table.insert(key.as_slice(), value.as_slice())?;
                        digest = digest.wrapping_add(row_digest(number, &key, &value));
                        if let Some(before) = before {
                            digest = digest.wrapping_sub(row_digest(number, &key, before.value()));
                        }
                    }
                    Definition::Delete { table, key } => {
                        let number = table;
                        let mut table = transaction.open_table(definition_of(table))?;
                        if let Some(before) = table.remove(key.as_slice())? {
                            digest = digest.wrapping_sub(row_digest(number, &key, before.value()));
                        };
                    }
                }
            }
        }
        put_state_of(&transaction, applied, digest)?;
        transaction.commit()?;
        self.digest = digest;
        Ok(())
    }
}

impl Drop for Tables {
    fn drop(&mut self) {
        // Who gives them up without closing them has another error to tell.
        let _ = self.close();
    }
}

/// Makes tables in `dir` without a row.
pub(crate) fn create_empty(disk: &dyn Disk, dir: &Path) -> Result<(), redb::Error> {
    create(disk, dir, &State::new(), 0, &Arc::default()).map(drop)
}

/// Changes `state` as the payload of a definition record says.
pub(crate) fn fold(state: &mut State, payload: &[u8]) {
    for change in DefinitionsIter::new(Reader(payload)).into_iter().flatten() {
        match change {
            Definition::Put { table, key, value } => drop(state.insert((table, key), value)),
            Definition::Delete { table, key } => drop(state.remove(&(table, key))),
        }
    }
}

/// Writes what `database` holds now to tables in `dir`.
pub(crate) fn copy(database: &Database, disk: &dyn Disk, dir: &Path) -> Result<(), redb::Error> {
    let Contents { state, applied, .. } = read_all(database)?;
    create(disk, dir, &state, applied, &Arc::default()).map(drop)
}

/// Verifies every checksum of the tables at `path` on `disk`. May change the file as a start would.
pub(crate) fn verify(disk: &Arc<dyn Disk>, path: &Path) -> Result<(), String> {
    let file = disk.open(path).map_err(|error| error.to_string())?;
    let backend = Backend { file, notes: Arc::default() };
    let verify = || Ok(open_database(backend)?.check_integrity()?);
    match guarded(verify) {
        Ok(true) => Ok(()),
        Ok(false) => Err("a checksum in it is wrong".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Runs what the database does with a file: it trusts what it reads, and panics where that makes no sense. Where it
/// must not write then, it is dropped in there.
fn guarded<T>(run: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, redb::Error> {
    panic::catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|_| Err(redb::Error::Corrupted("it makes no sense".to_owned())))
}

fn open_database(backend: Backend) -> Result<Database, redb::DatabaseError> {
    Database::builder().set_cache_size(CACHE).create_with_backend(backend)
}

/// Makes tables in `dir` that hold `state`, up to LSN `applied`. The file gets its name when it is whole.
fn create(
    disk: &dyn Disk,
    dir: &Path,
    state: &State,
    applied: u64,
    notes: &Arc<Notes>,
) -> Result<Database, redb::Error> {
    let unfinished = dir.join(UNFINISHED);
    let file = notes.note(disk.create(&unfinished))?;
    let database = open_database(Backend { file, notes: Arc::clone(notes) })?;
    let transaction = database.begin_write()?;
    for ((table, key), value) in state {
        transaction.open_table(definition_of(*table))?.insert(key.as_slice(), value.as_slice())?;
    }
    transaction.open_table(STORE)?.insert("format", u64::from(FORMAT))?;
    put_state_of(&transaction, applied, digest_of(state))?;
    transaction.commit()?;
    notes.note(disk.rename(&unfinished, &dir.join(FILE)))?;
    disk.sync_dir(dir)?;
    Ok(database)
}

/// States up to which LSN the tables are, and what their rows add up to then.
fn put_state_of(
    transaction: &WriteTransaction,
    applied: u64,
    digest: u64,
) -> Result<(), redb::Error> {
    let mut store = transaction.open_table(STORE)?;
    store.insert("applied", applied)?;
    store.insert("digest", digest)?;
    store.insert("digested", applied)?;
    Ok(())
}

/// The sum of the checksums of all rows: it can follow each change, and does not depend on their order.
fn digest_of(state: &State) -> u64 {
    let rows = state.iter().map(|((table, key), value)| row_digest(*table, key, value));
    rows.fold(0, u64::wrapping_add)
}

fn row_digest(table: Table, key: &[u8], value: &[u8]) -> u64 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[table as u8]);
    hasher.update(&(key.len() as u64).to_le_bytes());
    hasher.update(key);
    hasher.update(value);
    hasher.finalize().into()
}

/// What a database holds.
struct Contents {
    state: State,
    /// The LSN up to which changes are in it.
    applied: u64,
    format: u64,
    /// It has tables that this release does not know.
    has_others: bool,
}

fn read_all(database: &Database) -> Result<Contents, redb::Error> {
    let transaction = database.begin_read()?;
    let is_known = |name: &str| {
        name == STORE.name() || Table::ALL.into_iter().any(|table| table.name() == name)
    };
    let has_others = transaction.list_tables()?.any(|table| !is_known(table.name()));
    let number = |key| -> Result<u64, redb::Error> {
        match transaction.open_table(STORE) {
            Ok(table) => Ok(table.get(key)?.map_or(0, |value| value.value())),
            Err(redb::TableError::TableDoesNotExist(_)) => Ok(0),
            Err(error) => Err(error.into()),
        }
    };
    let (applied, format) = (number("applied")?, number("format")?);
    let (digest, digested) = (number("digest")?, number("digested")?);
    let mut state = State::new();
    for table in Table::ALL {
        let rows = match transaction.open_table(definition_of(table)) {
            Ok(rows) => rows,
            Err(redb::TableError::TableDoesNotExist(_)) => continue,
            Err(error) => return Err(error.into()),
        };
        for row in rows.iter()? {
            let (key, value) = row?;
            state.insert((table, key.value().to_vec()), value.value().to_vec());
        }
    }
    // An older release left it as it was. A newer one may mean something else by it.
    let is_older = format <= u64::from(FORMAT) && !has_others;
    if digested == applied && is_older && digest != digest_of(&state) {
        return Err(redb::Error::Corrupted("its rows do not add up to its digest".to_owned()));
    }
    Ok(Contents { state, applied, format, has_others })
}

const fn definition_of(table: Table) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
    TableDefinition::new(table.name())
}

const STORE: TableDefinition<'static, &'static str, u64> = TableDefinition::new("store");
pub(crate) const FILE: &str = "definitions.redb";
pub(crate) const UNFINISHED: &str = "definitions.new";
/// The format of keys, values and the table `store`.
const FORMAT: u32 = 1;
/// Bytes of pages redb keeps: definitions are read once and then live in the broker.
const CACHE: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng, rngs::SmallRng};

    use super::*;
    use crate::{MemDisk, definitions::put_definitions, simulation::SimDisk};

    fn change(lsn: u64, changes: &[Definition]) -> Change {
        let mut payload = Vec::new();
        put_definitions(&mut payload, changes);
        (lsn, payload)
    }

    #[test]
    fn applied_changes_are_read_back_with_their_lsn() {
        let disk: Arc<dyn Disk> = Arc::new(MemDisk::new());
        let dir = Path::new("/data");
        let (mut tables, state, applied) = Tables::open(Arc::clone(&disk), dir).unwrap();
        assert!(state.is_empty() && applied == 0 && disk.list(dir).unwrap().is_empty());

        let put = |key: &str, value: &str| Definition::Put {
            table: Table::Queues,
            key: key.into(),
            value: value.into(),
        };
        let delete = Definition::Delete { table: Table::Queues, key: b"a".to_vec() };
        let changes =
            [change(5, &[put("a", "1"), put("b", "2")]), change(9, &[delete, put("c", "3")])];
        tables.apply(&changes).unwrap();
        drop(tables);

        let (_, state, applied) = Tables::open(disk, dir).unwrap();
        assert_eq!(applied, 9);
        let expected: State = [("b", "2"), ("c", "3")]
            .map(|(key, value)| ((Table::Queues, key.into()), value.into()))
            .into();
        assert_eq!(state, expected);
    }

    #[test]
    fn a_table_that_only_newer_releases_know_is_refused() {
        let disk: Arc<dyn Disk> = Arc::new(MemDisk::new());
        let dir = Path::new("/data");
        let (mut tables, ..) = Tables::open(Arc::clone(&disk), dir).unwrap();
        let delete = Definition::Delete { table: Table::Queues, key: b"a".to_vec() };
        tables.apply(&[change(1, &[delete])]).unwrap();
        let transaction = tables.database().unwrap().begin_write().unwrap();
        let name: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("futures");
        transaction.open_table(name).unwrap().insert(&b"k"[..], &b"v"[..]).unwrap();
        transaction.commit().unwrap();
        drop(tables);
        let refused = Tables::open(disk, dir).err().unwrap();
        let text = refused.to_string();
        assert!(text.contains("holds a table that only newer releases know"), "{text}");
    }

    #[test]
    fn losses_of_power_leave_the_tables_as_before_or_after_a_change() {
        let dir = Path::new("/data");
        for seed in 0..80_u64 {
            let mut disk = SimDisk::new(seed);
            let mut promised = 0;
            let mut tried = 0;
            for life in 0..4 {
                disk.crash_after((seed * 7 + life * 13) % 40);
                let Ok((mut tables, state, applied)) = Tables::open(Arc::new(disk.clone()), dir)
                else {
                    assert!(disk.is_down(), "seed {seed}");
                    disk = disk.reboot();
                    continue;
                };
                assert!((promised..=tried).contains(&applied), "seed {seed}");
                assert_eq!(state.len() as u64, applied, "seed {seed}");
                promised = applied;
                for lsn in applied + 1..applied + 4 {
                    tried = tried.max(lsn);
                    let key = lsn.to_le_bytes().to_vec();
                    let put = Definition::Put { table: Table::Users, key, value: vec![1; 3000] };
                    if tables.apply(&[change(lsn, &[put])]).is_err() {
                        break;
                    }
                    promised = lsn;
                }
                drop(tables);
                disk = disk.reboot();
            }
            let opened = Tables::open(Arc::new(disk), dir);
            let (_, state, applied) = opened.map_err(|error| format!("{seed}: {error}")).unwrap();
            assert!((promised..=tried).contains(&applied) && state.len() as u64 == applied);
        }
    }

    /// Nor from being opened, however the process before ended.
    #[test]
    fn a_full_disk_keeps_tables_from_nothing_but_growing() {
        let dir = Path::new("/data");
        for seed in 0..60 {
            let mut random = SmallRng::seed_from_u64(seed);
            let mut disk = SimDisk::new(seed);
            let mut applied = 0;
            for life in 0..6 {
                disk.set_capacity(Some(disk.used() + random.random_range(0..3) * 2000));
                if life == 0 {
                    disk.set_capacity(None);
                }
                let opened = Tables::open(Arc::new(disk.clone()), dir);
                let (mut tables, state, found) =
                    opened.map_err(|error| format!("{seed}, {life}: {error}")).unwrap();
                assert_eq!((found, state.len() as u64), (applied, applied), "{seed}, {life}");
                for _ in 0..random.random_range(0..12) {
                    let lsn = applied + 1;
                    let value = vec![1; random.random_range(0..9000)];
                    let key = lsn.to_le_bytes().to_vec();
                    let put = Definition::Put { table: Table::Users, key, value };
                    match tables.apply(&[change(lsn, &[put])]) {
                        Ok(()) => applied = lsn,
                        Err(ApplyError::Full(_)) => {
                            if random.random_bool(0.5) {
                                disk.set_capacity(None);
                            }
                        }
                        Err(ApplyError::Failed(error)) => panic!("{seed}, {life}: {error}"),
                    }
                    if random.random_bool(0.1) {
                        disk.set_capacity(Some(disk.used() + random.random_range(0..20_000)));
                    }
                }
                if random.random_bool(0.5) {
                    tables.close().unwrap();
                    disk = disk.restart();
                } else {
                    disk = disk.restart();
                    drop(tables);
                }
            }
        }
    }
}
