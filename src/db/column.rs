//! Many values of one type as a single one: an array of PostgreSQL, in its binary form.
//!
//! A statement that takes arrays has one text, and so one plan, however many rows it is given.

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgTypeInfo};
use sqlx::{Encode, Postgres, Type};

/// The types that the house stores and the arrays of them, in PostgreSQL's catalogue (`pg_type.dat`).
const ARRAYS: [(Oid, Oid); 8] = [
    (Oid(16), Oid(1000)),   // boolean
    (Oid(17), Oid(1001)),   // bytea
    (Oid(20), Oid(1016)),   // bigint
    (Oid(23), Oid(1007)),   // integer
    (Oid(25), Oid(1009)),   // text
    (Oid(1184), Oid(1185)), // timestamptz
    (Oid(2950), Oid(2951)), // uuid
    (Oid(3802), Oid(3807)), // jsonb
];

/// The values that rows have in one column.
pub(super) struct Column {
    element: Oid,
    array: Oid,
    count: i32,
    nulls: bool,
    /// Each value behind its length; of a missing one the length is -1.
    cells: PgArgumentBuffer,
}

impl Column {
    /// A column of values of the type, empty as yet.
    pub(super) fn of(element: &PgTypeInfo) -> Result<Self, BoxDynError> {
        let found = ARRAYS.into_iter().find(|(known, _)| element.oid() == Some(*known));
        let (element, array) =
            found.ok_or_else(|| format!("no array of {element} is known to db::column"))?;
        Ok(Self { element, array, count: 0, nulls: false, cells: PgArgumentBuffer::default() })
    }

    /// Puts a value behind the others.
    pub(super) fn push(&mut self, value: &impl for<'q> Encode<'q, Postgres>) -> Result<(), BoxDynError> {
        let start = self.cells.len();
        self.cells.extend_from_slice(&(-1_i32).to_be_bytes());
        match value.encode_by_ref(&mut self.cells)? {
            IsNull::Yes => self.nulls = true,
            IsNull::No => {
                let length = i32::try_from(self.cells.len().saturating_sub(start).saturating_sub(4))?;
                let place = self.cells.iter_mut().skip(start);
                place.zip(length.to_be_bytes()).for_each(|(byte, with)| *byte = with);
            }
        }
        self.count = self.count.checked_add(1).ok_or("more rows than PostgreSQL counts")?;
        Ok(())
    }
}

impl Type<Postgres> for Column {
    /// Which array it is only the value itself knows ([`Encode::produces`]).
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("anyarray")
    }
}

impl Encode<'_, Postgres> for Column {
    fn produces(&self) -> Option<PgTypeInfo> {
        Some(PgTypeInfo::with_oid(self.array))
    }

    /// As `array_recv` of PostgreSQL reads it: the number of dimensions, whether values are missing, the type of the
    /// values, and for each dimension its length and its first index.
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.extend_from_slice(&1_i32.to_be_bytes());
        buffer.extend_from_slice(&i32::from(self.nulls).to_be_bytes());
        buffer.extend_from_slice(&self.element.0.to_be_bytes());
        buffer.extend_from_slice(&self.count.to_be_bytes());
        buffer.extend_from_slice(&1_i32.to_be_bytes());
        buffer.extend_from_slice(&self.cells);
        Ok(IsNull::No)
    }
}
