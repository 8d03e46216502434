//! What a backup needs of an engine and no statement of a store can say: a copy of a SQLite file that others write to,
//! whether a file is sound, and how the tools of PostgreSQL reach its server.

use std::path::Path;
use std::str::FromStr as _;

use percent_encoding::percent_decode_str;
use sqlx::ConnectOptions as _;
use sqlx::postgres::PgConnectOptions;

use super::lease::Wire;
use super::open::create_private;
use super::{Db, Engine, Error, Scope};
use crate::base::Secret;

const SCOPE: Scope = Scope::System("backup");
/// How many faults of a file are told.
const FAULTS_MAX: usize = 20;

/// A PostgreSQL server, and the schema that the tables are in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// The major version.
    pub version: u32,
    /// The schema; none when the first of the search path does not exist.
    pub schema: Option<String>,
    /// How many tables, views and sequences stand in it.
    pub relations: i64,
}

impl Db {
    /// Writes a copy of a SQLite database, as it is at this moment, to a file that is not there yet. Others go on
    /// writing meanwhile; what they commit later is not in it. The copy is not forced to the disk.
    ///
    /// # Errors
    /// When there is no room, or the file cannot be made.
    pub async fn copy_into(&self, path: &Path) -> Result<(), Error> {
        create_private(path).map_err(sqlx::Error::Io)?;
        match self.conn(SCOPE).await?.lease.raw()? {
            Wire::Sqlite(lent) => {
                let copy = sqlx::query("VACUUM INTO $1").bind(path.to_string_lossy().into_owned());
                copy.execute(&mut lent.link().conn).await.map(drop).map_err(Error::from)
            }
            Wire::Postgres(_) => Err(Error::Failed),
        }
    }

    /// Reads a SQLite database from end to end. Tells what is wrong with it: nothing, when it is sound.
    ///
    /// # Errors
    /// When it is so broken that it cannot be read.
    pub async fn faults(&self) -> Result<Vec<String>, Error> {
        let mut conn = self.conn(SCOPE).await?;
        let Wire::Sqlite(lent) = conn.lease.raw()? else { return Ok(Vec::new()) };
        let checked: Vec<(String,)> = sqlx::query_as("PRAGMA integrity_check")
            .fetch_all(&mut lent.link().conn)
            .await
            .map_err(Error::from)?;
        let mut faults: Vec<String> =
            checked.into_iter().map(|(line,)| line).filter(|line| line != "ok").collect();
        let lost: Vec<(String, String)> =
            sqlx::query_as("SELECT \"table\", parent FROM pragma_foreign_key_check")
                .fetch_all(&mut lent.link().conn)
                .await
                .map_err(Error::from)?;
        faults.extend(
            lost.into_iter().map(|(table, parent)| format!("a row of {table} refers to no row of {parent}")),
        );
        faults.truncate(FAULTS_MAX);
        Ok(faults)
    }

    /// Looks at a PostgreSQL server. None on SQLite.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub async fn server(&self) -> Result<Option<Server>, Error> {
        if self.engine() == Engine::Sqlite {
            return Ok(None);
        }
        let mut conn = self.conn(SCOPE).await?;
        let Wire::Postgres(lent) = conn.lease.raw()? else { return Ok(None) };
        let text = "SELECT current_setting('server_version_num'), CAST(current_schema() AS text), \
                    (SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                     WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f'))";
        let (version, schema, relations): (String, Option<String>, i64) =
            sqlx::query_as(text).fetch_one(&mut lent.link().conn).await.map_err(Error::from)?;
        Ok(Some(Server { version: version.parse().unwrap_or(0) / 10_000, schema, relations }))
    }
}

/// The variables by which PostgreSQL's own tools reach the database of a URL: none of it stands on a command line,
/// where others on the machine could read it.
///
/// # Errors
/// When it is no URL of a PostgreSQL database.
pub fn environment(url: &str) -> Result<Vec<(&'static str, Secret<String>)>, Error> {
    let options = PgConnectOptions::from_str(url)?;
    let url = options.to_url_lossy();
    let host = match options.get_socket() {
        Some(folder) => folder.to_string_lossy().into_owned(),
        None => options.get_host().trim_start_matches('[').trim_end_matches(']').to_owned(),
    };
    let database = options.get_database().unwrap_or_else(|| options.get_username());
    let mut environment = vec![
        ("PGHOST", Secret::new(host)),
        ("PGPORT", Secret::new(options.get_port().to_string())),
        ("PGUSER", Secret::new(options.get_username().to_owned())),
        ("PGDATABASE", Secret::new(database.to_owned())),
        ("PGAPPNAME", Secret::new("capecontrol backup".to_owned())),
        // The tables' policies hold for the tools too: they work for the platform, or see no row.
        ("PGOPTIONS", Secret::new("-c capecontrol.purpose=backup".to_owned())),
    ];
    if let Some(password) = url.password() {
        let password = percent_decode_str(password).decode_utf8_lossy().into_owned();
        environment.push(("PGPASSWORD", Secret::new(password)));
    }
    for (name, value) in url.query_pairs() {
        let variable = match &*name {
            "sslmode" => "PGSSLMODE",
            "sslrootcert" => "PGSSLROOTCERT",
            "sslcert" => "PGSSLCERT",
            "sslkey" => "PGSSLKEY",
            _ => continue,
        };
        environment.push((variable, Secret::new(value.into_owned())));
    }
    Ok(environment)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variable(url: &str, name: &str) -> Option<String> {
        let environment = environment(url).unwrap();
        environment.into_iter().find(|(known, _)| *known == name).map(|(_, value)| value.expose().clone())
    }

    #[test]
    fn a_url_becomes_the_variables_of_the_tools() {
        let url = "postgres://ada:p%40ss%2Fw%20rd@db.example.com:6432/cape?sslmode=verify-full&options[search_path]=x";
        for (name, value) in [
            ("PGHOST", "db.example.com"),
            ("PGPORT", "6432"),
            ("PGUSER", "ada"),
            ("PGPASSWORD", "p@ss/w rd"),
            ("PGDATABASE", "cape"),
            ("PGSSLMODE", "verify-full"),
        ] {
            assert_eq!(variable(url, name).as_deref(), Some(value), "{name}");
        }
        assert_eq!(variable("postgres://ada@[::1]/cape", "PGHOST").as_deref(), Some("::1"));
        assert_eq!(
            variable("postgres:///cape?host=/run/postgresql&user=ada", "PGHOST").as_deref(),
            Some("/run/postgresql")
        );
        assert!(environment("nonsense").is_err());
    }
}
