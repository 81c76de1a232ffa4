//! The definitions as tables in one redb file, which goes through [`Disk`] like everything else.
//!
//! The tables trail the journal. `applied` in the table `store` says up to which LSN its changes
//! are in, and is written in the same transaction as they are.

use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use redb::{Database, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition};

use crate::{
    Definition, Disk, DiskFile, OpenError, Table, definitions::DefinitionsIter, encoding::Reader,
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
}

impl Tables {
    /// Opens the tables in `dir` and reads them. Also returns the LSN up to which they are.
    pub(crate) fn open(disk: Arc<dyn Disk>, dir: &Path) -> Result<(Self, State, u64), OpenError> {
        let path = dir.join(FILE);
        let mut tables = Self { disk, dir: dir.to_owned(), path, database: None };
        let file = match tables.disk.open(&tables.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok((tables, State::new(), 0));
            }
            Err(source) => {
                return Err(OpenError::Io { operation: "open", path: tables.path, source });
            }
        };
        let read = |tables: &mut Self| -> Result<(State, u64, u64), redb::Error> {
            let database = open_database(file)?;
            let found = read_all(&database)?;
            tables.database = Some(Arc::new(database));
            Ok(found)
        };
        match read(&mut tables) {
            Ok((state, applied, format)) if format <= u64::from(FORMAT) => {
                Ok((tables, state, applied))
            }
            Ok((_, _, format)) => Err(OpenError::NewerFormat {
                path: tables.path,
                found: u32::try_from(format).unwrap_or(u32::MAX),
                supported: FORMAT,
            }),
            Err(source) => {
                Err(OpenError::Definitions { path: tables.path, source: Box::new(source) })
            }
        }
    }

    /// The database, unless nothing has been applied yet.
    pub(crate) fn database(&self) -> Option<Arc<Database>> {
        self.database.clone()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Applies `changes`, ascending by LSN, in one durable transaction.
    pub(crate) fn apply(&mut self, changes: &[Change]) -> Result<(), redb::Error> {
        let Some(&(applied, _)) = changes.last() else { return Ok(()) };
        let database = match &mut self.database {
            Some(database) => database,
            none => {
                let database = create_database(&*self.disk, &self.dir, &self.path)?;
                none.insert(Arc::new(database))
            }
        };
        let transaction = database.begin_write()?;
        for (_, payload) in changes {
            for change in DefinitionsIter::new(Reader(payload)).into_iter().flatten() {
                match change {
                    Definition::Put { table, key, value } => {
                        let mut table = transaction.open_table(definition_of(table))?;
                        table.insert(key.as_slice(), value.as_slice())?;
                    }
                    Definition::Delete { table, key } => {
                        transaction.open_table(definition_of(table))?.remove(key.as_slice())?;
                    }
                }
            }
        }
        transaction.open_table(STORE)?.insert("applied", applied)?;
        transaction.commit()?;
        Ok(())
    }
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
    let (state, applied, _) = read_all(database)?;
    let copy = create_database(disk, dir, &dir.join(FILE))?;
    let transaction = copy.begin_write()?;
    for ((table, key), value) in &state {
        transaction.open_table(definition_of(*table))?.insert(key.as_slice(), value.as_slice())?;
    }
    transaction.open_table(STORE)?.insert("applied", applied)?;
    transaction.commit()?;
    Ok(())
}

/// Verifies every checksum of the tables at `path` on `disk`. May change the file as a start would.
pub(crate) fn verify(disk: &Arc<dyn Disk>, path: &Path) -> Result<(), String> {
    let file = disk.open(path).map_err(|error| error.to_string())?;
    let mut database = open_database(file).map_err(|error| error.to_string())?;
    match database.check_integrity() {
        Ok(true) => Ok(()),
        Ok(false) => Err("a checksum in it is wrong".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn open_database(file: Arc<dyn DiskFile>) -> Result<Database, redb::DatabaseError> {
    Database::builder().set_cache_size(CACHE).create_with_backend(Backend(file))
}

/// Makes the file under another name first: an interrupted creation is not mistaken for a database.
fn create_database(disk: &dyn Disk, dir: &Path, path: &Path) -> Result<Database, redb::Error> {
    let unfinished = dir.join(UNFINISHED);
    let database = open_database(disk.create(&unfinished)?)?;
    let transaction = database.begin_write()?;
    transaction.open_table(STORE)?.insert("format", u64::from(FORMAT))?;
    transaction.commit()?;
    disk.rename(&unfinished, path)?;
    disk.sync_dir(dir)?;
    Ok(database)
}

fn read_all(database: &Database) -> Result<(State, u64, u64), redb::Error> {
    let transaction = database.begin_read()?;
    let number = |key| -> Result<u64, redb::Error> {
        match transaction.open_table(STORE) {
            Ok(table) => Ok(table.get(key)?.map_or(0, |value| value.value())),
            Err(redb::TableError::TableDoesNotExist(_)) => Ok(0),
            Err(error) => Err(error.into()),
        }
    };
    let (applied, format) = (number("applied")?, number("format")?);
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
    Ok((state, applied, format))
}

const fn definition_of(table: Table) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
    TableDefinition::new(table.name())
}

/// Shows redb a [`DiskFile`].
struct Backend(Arc<dyn DiskFile>);

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Backend")
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_all_at(&[data], offset)
    }
}

const STORE: TableDefinition<'static, &'static str, u64> = TableDefinition::new("store");
pub(crate) const FILE: &str = "definitions.redb";
const UNFINISHED: &str = "definitions.new";
/// The format of keys, values and the table `store`.
const FORMAT: u32 = 1;
/// Bytes of pages redb keeps: definitions are read once and then live in the broker.
const CACHE: usize = 1 << 20;

#[cfg(test)]
mod tests {
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
}
