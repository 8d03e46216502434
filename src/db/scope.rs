//! How a scope reaches PostgreSQL: as settings of a transaction, which the policies of the tables read.
//!
//! `SET LOCAL` ends with the transaction, so that neither a pool here nor one in front of the server can carry a tenant
//! to whoever gets the connection next. It takes no placeholders: what is written into the text is a UUID that is
//! formatted here, or a purpose that stands in the program and is of plain characters.

use sqlx::{AssertSqlSafe, SqlSafeStr as _, SqlStr};

use super::{Error, Scope};

/// A purpose is a name, not a sentence.
const PURPOSE_CHARACTERS_MAX: usize = 63;

impl Scope {
    /// The message that begins a transaction of this scope with `begin`.
    pub(super) fn begin(self, begin: &'static str) -> Result<SqlStr, Error> {
        let text = match self {
            Self::Organization(id) => {
                format!("{begin}; SET LOCAL capecontrol.organization = '{}'", id.uuid().hyphenated())
            }
            Self::System(purpose) if is_plain(purpose) => {
                format!("{begin}; SET LOCAL capecontrol.purpose = '{purpose}'")
            }
            Self::System(purpose) => {
                let says =
                    format!("{purpose:?} is no purpose: small letters, digits, space, '.', '_' and '-'");
                return Err(Error::Driver(sqlx::Error::Configuration(says.into())));
            }
        };
        Ok(AssertSqlSafe(text).into_sql_str())
    }
}

fn is_plain(purpose: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b" ._-".contains(&byte);
    !purpose.is_empty() && purpose.len() <= PURPOSE_CHARACTERS_MAX && purpose.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::base::Id;

    fn text(scope: Scope) -> Result<String, Error> {
        scope.begin("BEGIN").map(|text| text.as_str().to_owned())
    }

    #[test]
    fn a_scope_is_one_message_with_the_begin() {
        let organization = Scope::Organization(Id::from_uuid(Uuid::from_u128(7)));
        assert_eq!(
            text(organization).unwrap(),
            "BEGIN; SET LOCAL capecontrol.organization = '00000000-0000-0000-0000-000000000007'"
        );
        let jobs = text(Scope::System("payments.apply_event 2-x")).unwrap();
        assert_eq!(jobs, "BEGIN; SET LOCAL capecontrol.purpose = 'payments.apply_event 2-x'");
    }

    #[test]
    fn nothing_but_a_name_gets_into_the_text() {
        let long = "x".repeat(64).leak();
        for purpose in ["", "it's", "a;b", "a\\b", "Jobs", "jobs\n", "é", "a'; RESET ALL --", long] {
            assert!(text(Scope::System(purpose)).is_err(), "{purpose:?}");
        }
    }
}
