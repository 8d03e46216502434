//! The two roles of PostgreSQL: one owns the tables and migrates them, the other serves and can only read and write
//! rows, past no policy.

use sqlx::{AssertSqlSafe, PgConnection};

use super::lease::Wire;
use super::{Db, Error, Scope};

const SCOPE: Scope = Scope::System("roles");

/// What keeps a role from serving, and what is wrong with the wall that it would serve behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach(String);

impl std::fmt::Display for Breach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(sqlx::FromRow)]
struct Standing {
    role: String,
    superuser: Option<String>,
    bypasses: Option<String>,
    owned: Option<String>,
    open: Option<String>,
    preset: bool,
}

/// A role may become any that it is a member of, and a superuser is a member of all.
const STANDING: &str = "
    SELECT CAST(current_user AS text) AS role,
           (SELECT CAST(r.rolname AS text) FROM pg_roles AS r WHERE r.rolsuper AND pg_has_role(r.oid, 'MEMBER')
            ORDER BY r.rolname <> current_user, r.rolname LIMIT 1) AS superuser,
           (SELECT CAST(r.rolname AS text) FROM pg_roles AS r WHERE r.rolbypassrls AND pg_has_role(r.oid, 'MEMBER')
            ORDER BY r.rolname <> current_user, r.rolname LIMIT 1) AS bypasses,
           (SELECT min(CAST(t.relname AS text)) FROM pg_class AS t JOIN pg_namespace AS n ON n.oid = t.relnamespace
            WHERE n.nspname = current_schema() AND t.relkind IN ('r', 'p')
              AND pg_has_role(t.relowner, 'MEMBER')) AS owned,
           (SELECT min(CAST(t.relname AS text)) FROM pg_class AS t JOIN pg_namespace AS n ON n.oid = t.relnamespace
            JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attname = 'organization_id' AND NOT a.attisdropped
            WHERE n.nspname = current_schema() AND t.relkind IN ('r', 'p')
              AND NOT (t.relrowsecurity AND t.relforcerowsecurity)) AS open,
           coalesce(current_setting('capecontrol.organization', true), '') <> ''
             OR coalesce(current_setting('capecontrol.purpose', true), '') <> '' AS preset";

impl Standing {
    fn breaches(self) -> Vec<Breach> {
        let Self { role, superuser, bypasses, owned, open, preset } = self;
        let is = |other: &str| if role == other { "is" } else { "may become" };
        // A superuser is and may everything else too.
        let found = match (superuser, bypasses, owned) {
            (Some(other), ..) => Some(format!("the role {role} {} a superuser ({other})", is(&other))),
            (None, Some(other), _) => {
                Some(format!("the role {role} {} one with BYPASSRLS ({other})", is(&other)))
            }
            (None, None, Some(table)) => Some(format!("the role {role} owns tables, such as {table}")),
            (None, None, None) => None,
        };
        let open =
            open.map(|table| format!("row-level security of the table {table} is not enabled and forced"));
        let preset = preset.then(|| {
            "capecontrol.organization or capecontrol.purpose is set outside of any transaction (by ALTER ROLE, ALTER \
             DATABASE or the URL)"
                .to_owned()
        });
        [found, open, preset].into_iter().flatten().map(Breach).collect()
    }
}

impl Db {
    /// What keeps this connection's role from serving: on PostgreSQL it must be neither a superuser nor one with
    /// BYPASSRLS nor the owner of the tables, nor be able to become one, and the tables' policies must be in force.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn breaches(&self) -> Result<Vec<Breach>, Error> {
        let mut conn = self.conn(SCOPE).await?;
        let Wire::Postgres(lent) = conn.lease.raw()? else { return Ok(Vec::new()) };
        let standing: Standing = sqlx::query_as(STANDING).fetch_one(&mut lent.link().conn).await?;
        Ok(standing.breaches())
    }

    /// The role that connections work as. None on SQLite.
    pub(super) async fn role(&self) -> Result<Option<String>, Error> {
        let mut conn = self.conn(SCOPE).await?;
        let Wire::Postgres(lent) = conn.lease.raw()? else { return Ok(None) };
        let (role,): (String,) =
            sqlx::query_as("SELECT CAST(current_user AS text)").fetch_one(&mut lent.link().conn).await?;
        Ok(Some(role))
    }
}

/// That the role of a connection may make tables.
pub(super) async fn may_create(conn: &mut PgConnection) -> Result<(), Error> {
    let text = "SELECT CAST(current_user AS text), has_schema_privilege(current_schema(), 'CREATE')";
    let (role, may): (String, Option<bool>) = sqlx::query_as(text).fetch_one(conn).await?;
    if may == Some(false) {
        let says = format!(
            "the role {role} may not make tables here: name the one that owns them in DATABASE__OWNER_URL"
        );
        return Err(Error::Driver(sqlx::Error::Configuration(says.into())));
    }
    Ok(())
}

/// Gives a role what it needs to serve from the schema of this connection, whose role owns the tables: to read and
/// write rows, and of the list of migrations to read it. What a table's comment withholds (`withhold` in the first
/// migration), it does not get, and loses if it had it.
pub(super) async fn admit(owner: &mut PgConnection, role: &str) -> Result<(), Error> {
    let text = "SELECT quote_ident($1), quote_literal(quote_ident($1)), quote_ident(current_schema()),
                    current_user = $1";
    let (role, quoted, schema, same): (String, String, String, bool) =
        sqlx::query_as(text).bind(role).fetch_one(&mut *owner).await?;
    if same {
        return Ok(());
    }
    // One message is one transaction. Nodes that start at once would change the same rows of the catalogue at once,
    // which PostgreSQL refuses: they take turns.
    let text = format!(
        "SELECT pg_advisory_xact_lock(hashtextextended('capecontrol.grants ' || current_schema(), 0));
         GRANT USAGE ON SCHEMA {schema} TO {role};
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role};
         REVOKE INSERT, UPDATE, DELETE ON {schema}._sqlx_migrations FROM {role};
         DO $withhold$
         DECLARE kept record;
         BEGIN
             FOR kept IN
                 SELECT CAST(t.oid AS regclass) AS name,
                     substring(obj_description(t.oid, 'pg_class') FROM '^served without ([A-Z, ]+)$') AS withheld
                 FROM pg_class AS t
                 WHERE t.relnamespace = CAST(current_schema() AS regnamespace) AND t.relkind IN ('r', 'p')
             LOOP
                 IF kept.withheld IS NOT NULL THEN
                     EXECUTE format('REVOKE %s ON %s FROM %s', kept.withheld, kept.name, {quoted});
                 END IF;
             END LOOP;
         END $withhold$"
    );
    sqlx::raw_sql(AssertSqlSafe(text)).execute(owner).await.map(drop).map_err(Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_breach_is_told_once() {
        let whole = || Standing {
            role: "cape".to_owned(),
            superuser: None,
            bypasses: None,
            owned: None,
            open: None,
            preset: false,
        };
        let told = |standing: Standing| {
            standing.breaches().iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        };
        let cape = || Some("cape".to_owned());
        assert_eq!(told(whole()), "");
        assert_eq!(
            told(Standing { superuser: cape(), bypasses: cape(), owned: Some("jobs".to_owned()), ..whole() }),
            "the role cape is a superuser (cape)"
        );
        assert_eq!(
            told(Standing { bypasses: Some("dba".to_owned()), ..whole() }),
            "the role cape may become one with BYPASSRLS (dba)"
        );
        assert_eq!(
            told(Standing { owned: Some("jobs".to_owned()), ..whole() }),
            "the role cape owns tables, such as jobs"
        );
        assert!(
            told(Standing { open: Some("jobs".to_owned()), ..whole() }).contains("the table jobs is not")
        );
        assert!(told(Standing { preset: true, ..whole() }).contains("outside of any transaction"));
    }
}
