//! Reports: sums over the ledger and counts of payments, period by period.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::auth::Caller;
use crate::base::{Timestamp, Violations};
use crate::db::Conn;
use crate::payments::Error;
use crate::payments::model::figures::{Figures, Interval, PaymentReport, Purse, ReportPeriod, periods};
use crate::payments::model::ledger::{Account, Kind};
use crate::payments::model::period::Period;
use crate::payments::model::transaction::amounts;
use crate::payments::store;

use super::Service;
use super::transactions::{Admitted, BooksOf};

/// How many periods a report has at most. Each is a question of its own, which reads what was booked in it and no more.
const PERIODS_MAX: usize = 400;
/// How much is reported when a request does not say from when on.
const RANGE_DEFAULT: Duration = Duration::from_hours(30 * 24);

impl Service {
    /// What happened from `since` until just before `until`; the last thirty days when neither is said.
    pub async fn get_payment_report(
        &self,
        caller: &Caller,
        of: BooksOf,
        interval: Interval,
        since: Option<Timestamp>,
        until: Option<Timestamp>,
    ) -> Result<PaymentReport, Error> {
        let admitted = self.admit_reader(caller, of).await?;
        let end = until.unwrap_or_else(|| self.world.now());
        let range = Period { start: since.unwrap_or_else(|| end.minus(RANGE_DEFAULT)), end };
        let says = format!("must be after start_time, and at most {PERIODS_MAX} periods later");
        let periods =
            periods(interval, range, PERIODS_MAX).ok_or_else(|| Violations::one("end_time", says))?;
        let mut conn = self.db.conn(admitted.scope()).await?;
        let mut reported = Vec::with_capacity(periods.len());
        for period in periods {
            let figures = figures(&mut conn, admitted, period).await?;
            reported.push(ReportPeriod { period, figures });
        }
        Ok(PaymentReport::of(range, reported))
    }
}

async fn figures(
    conn: &mut impl Conn,
    admitted: Admitted,
    period: Period,
) -> Result<BTreeMap<Purse, Figures>, Error> {
    let (booked, started) = match admitted.organization {
        Some(organization) => (
            store::transaction::booked_of(conn, organization, period).await?,
            store::payment::started_of(conn, organization, period).await?,
        ),
        None => {
            (store::transaction::booked(conn, period).await?, store::payment::started(conn, period).await?)
        }
    };
    let mut sums: BTreeMap<(Purse, Kind), Vec<(Account, i64)>> = BTreeMap::new();
    for (kind, account, currency, test, minor) in booked.into_iter().filter(|row| admitted.sees(row.0)) {
        sums.entry((Purse { currency, test }, kind)).or_default().push((account, minor));
    }
    let mut found: BTreeMap<Purse, Figures> = BTreeMap::new();
    for ((purse, kind), entries) in sums {
        found.entry(purse).or_default().add(kind, amounts(kind, entries));
    }
    for (status, currency, test, count) in started {
        found.entry(Purse { currency, test }).or_default().payments.add(status, count);
    }
    Ok(found)
}
