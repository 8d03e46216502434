//! How the house's values are stored: time as `timestamptz` or integer microseconds, ids as UUID or sixteen bytes,
//! enumerations as words.

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgTypeInfo, PgValueRef};
use sqlx::sqlite::{SqliteArgumentsBuffer, SqliteTypeInfo, SqliteValueRef};
use sqlx::{Decode, Encode, Postgres, Sqlite, Type};
use uuid::Uuid;

use crate::base::{Currency, Id, Timestamp};

/// 2000-01-01T00:00:00Z, from which PostgreSQL counts, in microseconds since the Unix epoch.
const POSTGRES_EPOCH_MICROS: i64 = 946_684_800_000_000;
/// The type `timestamptz` in PostgreSQL's catalogue (`pg_type.dat`).
const TIMESTAMPTZ: Oid = Oid(1184);

impl Type<Sqlite> for Timestamp {
    fn type_info() -> SqliteTypeInfo {
        <i64 as Type<Sqlite>>::type_info()
    }
    fn compatible(ty: &SqliteTypeInfo) -> bool {
        <i64 as Type<Sqlite>>::compatible(ty)
    }
}
impl Encode<'_, Sqlite> for Timestamp {
    fn encode_by_ref(&self, buffer: &mut SqliteArgumentsBuffer) -> Result<IsNull, BoxDynError> {
        Encode::<Sqlite>::encode_by_ref(&self.as_micros(), buffer)
    }
}
impl<'r> Decode<'r, Sqlite> for Timestamp {
    fn decode(value: SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
        <i64 as Decode<Sqlite>>::decode(value).map(Self::from_micros)
    }
}
impl Type<Postgres> for Timestamp {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(TIMESTAMPTZ)
    }
}
impl Encode<'_, Postgres> for Timestamp {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Encode::<Postgres>::encode_by_ref(&self.as_micros().saturating_sub(POSTGRES_EPOCH_MICROS), buffer)
    }
}
impl<'r> Decode<'r, Postgres> for Timestamp {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        let micros = <i64 as Decode<Postgres>>::decode(value)?;
        Ok(Self::from_micros(micros.saturating_add(POSTGRES_EPOCH_MICROS)))
    }
}

impl<T> Type<Sqlite> for Id<T> {
    fn type_info() -> SqliteTypeInfo {
        <Uuid as Type<Sqlite>>::type_info()
    }
}
impl<T> Encode<'_, Sqlite> for Id<T> {
    fn encode_by_ref(&self, buffer: &mut SqliteArgumentsBuffer) -> Result<IsNull, BoxDynError> {
        Encode::<Sqlite>::encode_by_ref(&self.uuid(), buffer)
    }
}
impl<'r, T> Decode<'r, Sqlite> for Id<T> {
    fn decode(value: SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
        <Uuid as Decode<Sqlite>>::decode(value).map(Self::from_uuid)
    }
}
impl<T> Type<Postgres> for Id<T> {
    fn type_info() -> PgTypeInfo {
        <Uuid as Type<Postgres>>::type_info()
    }
}
impl<T> Encode<'_, Postgres> for Id<T> {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Encode::<Postgres>::encode_by_ref(&self.uuid(), buffer)
    }
}
impl<'r, T> Decode<'r, Postgres> for Id<T> {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        <Uuid as Decode<Postgres>>::decode(value).map(Self::from_uuid)
    }
}

/// Makes a type that has a `&'static str` for each value, and a parser for it, storable as text on both engines.
macro_rules! text_scalar {
    ($name:ty, $as_str:ident, $parse:path) => {
        $crate::db::text_scalar!(@engine $name, $as_str, $parse, ::sqlx::Sqlite);
        $crate::db::text_scalar!(@engine $name, $as_str, $parse, ::sqlx::Postgres);
    };
    (@engine $name:ty, $as_str:ident, $parse:path, $engine:ty) => {
        impl ::sqlx::Type<$engine> for $name {
            fn type_info() -> <$engine as ::sqlx::Database>::TypeInfo {
                <str as ::sqlx::Type<$engine>>::type_info()
            }
            fn compatible(ty: &<$engine as ::sqlx::Database>::TypeInfo) -> bool {
                <str as ::sqlx::Type<$engine>>::compatible(ty)
            }
        }
        impl<'q> ::sqlx::Encode<'q, $engine> for $name {
            fn encode_by_ref(
                &self,
                buffer: &mut <$engine as ::sqlx::Database>::ArgumentBuffer,
            ) -> ::core::result::Result<::sqlx::encode::IsNull, ::sqlx::error::BoxDynError> {
                <&str as ::sqlx::Encode<'_, $engine>>::encode_by_ref(&self.$as_str(), buffer)
            }
        }
        impl<'r> ::sqlx::Decode<'r, $engine> for $name {
            fn decode(
                value: <$engine as ::sqlx::Database>::ValueRef<'r>,
            ) -> ::core::result::Result<Self, ::sqlx::error::BoxDynError> {
                let word = <&str as ::sqlx::Decode<'r, $engine>>::decode(value)?;
                $parse(word).ok_or_else(|| format!("unknown word {word:?} for {}", stringify!($name)).into())
            }
        }
    };
}
pub(crate) use text_scalar;

text_scalar!(Currency, code, Currency::parse);

/// Declares an enumeration whose values are stored, logged and written in JSON as the words given.
macro_rules! words {
    ($(#[$meta:meta])* $visibility:vis enum $name:ident {
        $($(#[$variant_meta:meta])* $variant:ident = $word:literal),+ $(,)?
    }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ::serde::Serialize, ::serde::Deserialize)]
        $visibility enum $name {
            $($(#[$variant_meta])* #[serde(rename = $word)] $variant),+
        }
        impl $name {
            /// The word that is stored.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),+
                }
            }
            /// The value that a stored word stands for.
            #[must_use]
            pub fn parse(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }
        $crate::db::text_scalar!($name, as_str, $name::parse);
    };
}
pub(crate) use words;
