//! Reconciliation: the provider's history of some days, held against our books. What was lost is booked; what cannot be
//! explained is told to the cent.
//!
//! The history is read to its end before anything is done, with no transaction open: a row that cannot be read changes
//! nothing. Then each row that is missing is booked in a transaction of its own, by its effect's key, so that a run
//! that died in the middle is simply run again, two at once book nothing twice, and a notification that comes later
//! is a replay.

mod reading;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::Date;
use uuid::Uuid;

use crate::auth::Caller;
use crate::base::{Currency, Money, Timestamp, Violations};
use crate::db::{self, Scope, Tx};
use crate::idempotency::{self, Claim, RequestKey};
use crate::jobs::{self, Failure, Job, Lease};
use crate::payments::Error;
use crate::payments::model::figures::{local_date, local_midnight};
use crate::payments::model::reconciliation::{
    Difference, DifferenceKind, DifferenceState, GivenBack, Held, Listed, Movement, Ours, Reconciliation,
    RunOrigin, RunStatus, Verdict, compare, pieces,
};
use crate::payments::model::{AlarmKind, EventId, EventStatus, Provider, RefundId};
use crate::payments::payfast::api::history::Row;
use crate::payments::store;
use crate::payments::store::alarm::Alarm;

use super::history::Unread;
use super::inbox::row_arrival;
use super::reading::administrator;
use super::settlement::Outcome;
use super::{Service, window};

/// How many days one run may span.
const DAYS_MAX: i64 = 31;
/// How many days the daily run spans: what came late to the history is found by one of the runs after it.
const DAILY_DAYS: u32 = 3;
/// How long after midnight the daily run begins, so that what was under way has arrived.
const SETTLED_AFTER: Duration = Duration::from_hours(1);
/// How many things one statement names.
const CHUNK: usize = 500;
/// How many receipts that are not listed one run tells of.
const EXTRA_MAX: i64 = 1_000;

const PURPOSE: &str = "payments.reconcile";
const SCOPE: Scope = Scope::System(PURPOSE);

/// Wishes for, or pushes, the reconciliation of some days.
#[derive(Debug, Serialize, Deserialize)]
pub struct Reconcile {
    /// The first, such as `2026-11-19`.
    pub from: String,
    /// The last.
    pub to: String,
}

impl Job for Reconcile {
    const KIND: &'static str = "payments.reconcile";
    // About a day; the next day's run spans these days again.
    const ATTEMPTS_MAX: u32 = 30;
}

/// Days, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    from: Date,
    to: Date,
}

/// How a row is booked.
#[derive(Clone, Copy)]
enum Repair {
    /// By itself.
    Row,
    /// As what a refund of ours cost.
    FeeOf(RefundId),
}

/// Why a run came to no end.
enum Stopped {
    /// The history was not had whole. Nothing was done.
    Unread(Unread),
    /// Something could not be booked. What was booked before it stays.
    Failed(Failure),
}

impl From<db::Error> for Stopped {
    fn from(error: db::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Service {
    /// Reconciles some days at the word of a platform administrator, and tells what came out.
    ///
    /// # Errors
    /// [`Error::Invalid`] for days that are not; [`Error::HistoryUnavailable`] when the history was not had whole.
    pub async fn run_reconciliation(
        &self,
        caller: &Caller,
        days: &Reconcile,
        key: Option<&RequestKey>,
    ) -> Result<Reconciliation, Error> {
        administrator(caller)?;
        let mut tx = self.db.begin(SCOPE).await?;
        if let Claim::Replay(answer) = idempotency::claim(&mut tx, &self.world, caller, key).await? {
            return Ok(answer);
        }
        // The provider is asked outside any transaction. Two with the same key do it twice, which is doing it once.
        drop(tx);
        let run =
            self.reconcile(self.checked(days)?, RunOrigin::Staff).await.map_err(|stopped| match stopped {
                Stopped::Unread(Unread { why, wait, .. }) => Error::HistoryUnavailable { why, wait },
                Stopped::Failed(failure) => Error::internal(failure.cause),
            })?;
        let mut tx = self.db.begin(SCOPE).await?;
        let slot = match idempotency::claim(&mut tx, &self.world, caller, key).await? {
            Claim::Replay(answer) => return Ok(answer),
            Claim::New(slot) => slot,
        };
        let entry = caller.entry("payments.run_reconciliation").on("reconciliation", run.id);
        self.audit.record(&mut tx, entry.changed(&(), &run)).await?;
        slot.store(&mut tx, &run).await?;
        tx.commit().await?;
        Ok(run)
    }

    /// Reconciles some days; the job's handler.
    ///
    /// # Errors
    /// When it has to be tried again.
    pub async fn reconcile_days(&self, job: Reconcile, lease: Lease) -> Result<(), Failure> {
        let span = match (day(&job.from), day(&job.to)) {
            (Some(from), Some(to)) => Span { from, to },
            _ => return Err(Failure::dead("these are no days")),
        };
        match self.reconcile(span, RunOrigin::Daily).await {
            Ok(_) => {}
            Err(Stopped::Unread(Unread { why, wait, .. })) => return Err(Failure::retry_after(wait, why)),
            Err(Stopped::Failed(failure)) => return Err(failure),
        }
        let mut tx = self.db.begin(SCOPE).await?;
        lease.complete(&mut tx).await?;
        Ok(tx.commit().await?)
    }

    /// Pushes the run of the days that are over, once a day whatever the number of nodes. True when this call did.
    ///
    /// # Errors
    /// What the database refuses.
    pub async fn push_reconciliation(&self) -> Result<bool, db::Error> {
        let today = local_date(self.world.now().minus(SETTLED_AFTER));
        let Some(yesterday) = today.previous_day() else { return Ok(false) };
        let from = (1..DAILY_DAYS).try_fold(yesterday, |day, _| day.previous_day()).unwrap_or(yesterday);
        let mut tx = self.db.begin(SCOPE).await?;
        let due = store::reconciliation::anything_before(&mut tx, local_midnight(today)).await?;
        if !due || !store::reconciliation::take_day(&mut tx, &yesterday.to_string(), self.world.now()).await?
        {
            return Ok(false);
        }
        let job = Reconcile { from: from.to_string(), to: yesterday.to_string() };
        jobs::push(&mut tx, &self.world, None, &job).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// The days, when they are some and lie behind us.
    fn checked(&self, days: &Reconcile) -> Result<Span, Violations> {
        let mut v = Violations::new();
        let (from, to) = (day(&days.from), day(&days.to));
        v.check(from.is_some(), "from_date", "must be a day such as 2026-11-19");
        v.check(to.is_some(), "to_date", "must be a day such as 2026-11-19");
        let span = from.zip(to).map(|(from, to)| Span { from, to });
        if let Some(Span { from, to }) = span {
            let between = (to - from).whole_days();
            v.check(to <= local_date(self.world.now()), "to_date", "must not lie in the future");
            v.check(between >= 0, "to_date", "must not be before from_date");
            let most = DAYS_MAX - 1;
            v.check(between <= most, "from_date", format!("must be at most {most} days before to_date"));
        }
        match span {
            Some(span) => v.finish().map(|()| span),
            None => Err(v),
        }
    }

    async fn reconcile(&self, span: Span, origin: RunOrigin) -> Result<Reconciliation, Stopped> {
        let rows = match self.read_history("reconciliation.history", (span.from, span.to)).await {
            Ok(rows) => rows,
            Err(unread) => {
                self.tell_unread(span, &unread).await?;
                return Err(Stopped::Unread(unread));
            }
        };
        let keys: Vec<String> = rows.iter().map(Row::key).collect();
        let listed: Vec<Listed<'_>> = rows.iter().zip(&keys).map(|(row, key)| listed(row, key)).collect();
        let verdicts = compare(&listed, &self.ours(&rows, &keys).await?);
        let mut run = self.begin_run(span, origin, &listed).await?;
        let mut matched: Vec<(String, Uuid)> = Vec::new();
        let mut settled: Vec<String> = Vec::new();
        for ((row, listed), verdict) in rows.iter().zip(&listed).zip(verdicts) {
            match verdict {
                Verdict::Matched(ours) => {
                    run.matched_count += 1;
                    run.booked_change_minor = run.booked_change_minor.saturating_add(listed.net_minor());
                    matched.extend(ours.map(|ours| (listed.key.to_owned(), ours)));
                    settled.push(listed.subject().to_owned());
                    // A refund is known by its own id where it was told of as one that is not listed.
                    settled.extend(ours.map(|ours| ours.to_string()));
                }
                Verdict::FeeOf(refund) => {
                    matched.push((listed.key.to_owned(), refund.uuid()));
                    settled.extend([listed.subject().to_owned(), refund.to_string()]);
                    self.repair(&mut run, row, listed, Repair::FeeOf(refund)).await?;
                }
                Verdict::Missing if listed.movement == Movement::Refund => {
                    let detail =
                        "the provider gave money back and no refund that succeeded here is it".to_owned();
                    let new = self.left(&run, row, listed, (DifferenceKind::MissingRefund, 0), detail);
                    self.leave(&mut run, new).await?;
                }
                Verdict::Missing => self.repair(&mut run, row, listed, Repair::Row).await?,
                Verdict::Differs { ours, kind, booked_minor } => {
                    matched.push((listed.key.to_owned(), ours));
                    let detail = differing(listed, kind, booked_minor);
                    let new = self.left(&run, row, listed, (kind, booked_minor), detail);
                    self.leave(&mut run, new).await?;
                }
                Verdict::Unknown => {
                    let detail = format!("a row of the kind {:?} that cannot be booked", short(&row.kind));
                    let new = self.left(&run, row, listed, (DifferenceKind::UnknownRow, 0), detail);
                    // A second row of a payment is another thing than the payment.
                    self.leave(&mut run, Difference { subject: listed.key.to_owned(), ..new }).await?;
                }
            }
        }
        self.remember(&run, &matched, &settled).await?;
        self.tell_hole(&mut run, span, &listed).await?;
        self.tell_extra(&mut run, span).await?;
        self.finish(run).await
    }

    /// Reads what we know of the rows.
    async fn ours(&self, rows: &[Row], keys: &[String]) -> Result<Ours, db::Error> {
        let payments: Vec<String> = rows.iter().map(|row| row.provider_payment_id.clone()).collect();
        let mut conn = self.db.conn(SCOPE).await?;
        let mut ours = Ours::default();
        for chunk in payments.chunks(CHUNK) {
            for (payment, id, gross_minor, fee_minor) in
                store::reconciliation::receipts(&mut conn, chunk).await?
            {
                ours.receipts.insert(payment, Held { id, gross_minor, fee_minor });
            }
            for (payment, id, amount_minor, fee_minor) in
                store::reconciliation::refunds(&mut conn, chunk).await?
            {
                let given: &mut Vec<GivenBack> = ours.refunds.entry(payment).or_default();
                if !given.iter().any(|given| given.id == id) {
                    given.push(GivenBack { id, amount_minor, fee_minor });
                }
            }
        }
        for chunk in keys.chunks(CHUNK) {
            ours.matches.extend(store::reconciliation::matches_of_rows(&mut conn, chunk).await?);
            ours.booked.extend(store::reconciliation::booked(&mut conn, chunk).await?);
        }
        let receipts = ours.receipts.values().map(|held| held.id);
        let subjects: Vec<Uuid> =
            receipts.chain(ours.refunds.values().flatten().map(|given| given.id.uuid())).collect();
        for chunk in subjects.chunks(CHUNK) {
            ours.matches.extend(store::reconciliation::matches_of(&mut conn, chunk).await?);
        }
        Ok(ours)
    }

    async fn begin_run(
        &self,
        span: Span,
        origin: RunOrigin,
        rows: &[Listed<'_>],
    ) -> Result<Reconciliation, db::Error> {
        let now = self.world.now();
        let run = Reconciliation {
            id: self.world.id(),
            provider: Provider::Payfast,
            from_day: span.from.to_string(),
            to_day: span.to.to_string(),
            origin,
            status: RunStatus::Running,
            closed: span.to < local_date(now),
            row_count: i64::try_from(rows.len()).unwrap_or(i64::MAX),
            matched_count: 0,
            repaired_count: 0,
            open_count: 0,
            currency: Currency::Zar,
            provider_change_minor: rows.iter().fold(0, |sum, row| row.net_minor().saturating_add(sum)),
            booked_change_minor: 0,
            started_at: now,
            finished_at: None,
        };
        let mut tx = self.db.begin(SCOPE).await?;
        store::reconciliation::begin(&mut tx, &run).await?;
        tx.commit().await?;
        Ok(run)
    }

    /// Stores a row in the inbox, has its effect, and notes what was missing: all of it or nothing.
    async fn repair(
        &self,
        run: &mut Reconciliation,
        row: &Row,
        listed: &Listed<'_>,
        how: Repair,
    ) -> Result<(), Stopped> {
        let mut tx = self.db.begin(SCOPE).await?;
        let arrival = row_arrival(self.world.id(), row, self.world.now());
        let (event, mut status, mut detail) = store::event::insert_row(&mut tx, &arrival).await?;
        // What another run, or a notification, was quicker with is there already.
        let fresh = status == EventStatus::Received;
        if fresh {
            let outcome = match how {
                Repair::Row => self.apply_row(&mut tx, event, &row.csv).await?,
                Repair::FeeOf(refund) => self.apply_fee(&mut tx, event, row, refund).await?,
            };
            (status, detail) = (outcome.status, outcome.detail.clone());
            self.decide(&mut tx, event, outcome).await?;
        }
        if listed.movement == Movement::Payment {
            let receipt = store::receipt::of_provider_payment(&mut tx, listed.payment).await?;
            let found = receipt.map(|receipt| (listed.key.to_owned(), receipt.id.uuid()));
            store::reconciliation::remember(&mut tx, run.id, &Vec::from_iter(found)).await?;
        }
        let booked = fresh && matches!(status, EventStatus::Applied | EventStatus::Unapplied);
        let state = match status {
            EventStatus::Refused | EventStatus::Received => DifferenceState::Open,
            EventStatus::Applied | EventStatus::Unapplied | EventStatus::Ignored => DifferenceState::Repaired,
        };
        let kind = match how {
            Repair::Row => missing(listed.movement),
            Repair::FeeOf(_) => DifferenceKind::MissingCharge,
        };
        let now = self.world.now();
        let new = Difference {
            state,
            event_id: Some(event),
            decided_at: Some(now).filter(|_| state == DifferenceState::Repaired),
            ..self.left(run, row, listed, (kind, if booked { listed.net_minor() } else { 0 }), detail)
        };
        if state == DifferenceState::Open {
            drop(tx);
            return Ok(self.leave(run, Difference { event_id: None, ..new }).await?);
        }
        run.booked_change_minor = run.booked_change_minor.saturating_add(listed.net_minor());
        if booked {
            store::reconciliation::note(&mut tx, &new).await?;
            run.repaired_count += 1;
        } else {
            run.matched_count += 1;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Books what a row says that a refund of ours cost.
    async fn apply_fee(
        &self,
        tx: &mut Tx,
        event: EventId,
        row: &Row,
        refund: RefundId,
    ) -> Result<Outcome, Failure> {
        let fee_minor = row.fee_minor.saturating_neg().max(0);
        let new = self.know_fee(tx, refund, fee_minor, event).await?;
        Ok(match (new, fee_minor) {
            (true, 0) => Outcome::new(EventStatus::Ignored, format!("the refund {refund} cost nothing")),
            (true, _) => {
                Outcome::new(EventStatus::Applied, format!("the fee of the refund {refund} was booked"))
            }
            (false, _) => Outcome::new(EventStatus::Ignored, "this effect has happened already"),
        })
    }

    fn left(
        &self,
        run: &Reconciliation,
        row: &Row,
        listed: &Listed<'_>,
        (kind, booked_minor): (DifferenceKind, i64),
        detail: String,
    ) -> Difference {
        Difference {
            id: self.world.id(),
            reconciliation_id: run.id,
            kind,
            subject: listed.subject().to_owned(),
            state: DifferenceState::Open,
            detail,
            explanation: String::new(),
            currency: run.currency,
            provider_minor: listed.net_minor(),
            booked_minor,
            event_id: None,
            occurred_at: row.at,
            created_at: self.world.now(),
            decided_at: None,
        }
    }

    /// Leaves a difference to whoever can explain it, with an alarm when it is new.
    async fn leave(&self, run: &mut Reconciliation, new: Difference) -> Result<(), db::Error> {
        let mut tx = self.db.begin(SCOPE).await?;
        run.booked_change_minor = run.booked_change_minor.saturating_add(new.booked_minor);
        let (state, first) = store::reconciliation::note(&mut tx, &new).await?;
        if state == DifferenceState::Open {
            run.open_count += 1;
        }
        if first {
            self.raise(&mut tx, alarm(&new)).await?;
        }
        tx.commit().await
    }

    async fn remember(
        &self,
        run: &Reconciliation,
        matched: &[(String, Uuid)],
        settled: &[String],
    ) -> Result<(), db::Error> {
        let mut tx = self.db.begin(SCOPE).await?;
        for chunk in matched.chunks(CHUNK) {
            store::reconciliation::remember(&mut tx, run.id, chunk).await?;
        }
        let now = self.world.now();
        for chunk in settled.chunks(CHUNK) {
            store::reconciliation::found(&mut tx, chunk, "a later run found the other side", now).await?;
        }
        tx.commit().await
    }

    /// Tells of a row that PayFast's own balances say is missing between its rows.
    async fn tell_hole(
        &self,
        run: &mut Reconciliation,
        span: Span,
        rows: &[Listed<'_>],
    ) -> Result<(), db::Error> {
        let pieces = pieces(rows);
        if pieces < 2 {
            return Ok(());
        }
        let detail = format!("the balances in the history fall into {pieces} pieces: rows are missing in it");
        let kind = DifferenceKind::BrokenBalance;
        let hole = Difference {
            subject: format!("{}/{}", span.from, span.to),
            ..self.extra(run, kind, (0, local_midnight(span.from)), detail)
        };
        self.leave(run, hole).await
    }

    /// Tells of what we booked on days that are over and no history lists.
    async fn tell_extra(&self, run: &mut Reconciliation, span: Span) -> Result<(), db::Error> {
        let today = local_date(self.world.now());
        let booked =
            (local_midnight(span.from), local_midnight(span.to.next_day().unwrap_or(span.to).min(today)));
        let test = self.options.test();
        let (receipts, refunds) = {
            let mut conn = self.db.conn(SCOPE).await?;
            let receipts = store::reconciliation::unlisted(&mut conn, booked, test, EXTRA_MAX).await?;
            (receipts, store::reconciliation::unlisted_refunds(&mut conn, booked, test, EXTRA_MAX).await?)
        };
        for (payment, gross_minor, fee_minor, at) in receipts {
            let detail = format!("we booked {} that the history does not list", money(gross_minor));
            let net_minor = gross_minor.saturating_sub(fee_minor);
            let kind = DifferenceKind::ExtraPayment;
            let new = Difference { subject: payment, ..self.extra(run, kind, (net_minor, at), detail) };
            self.leave(run, new).await?;
        }
        for (refund, amount_minor, fee_minor, at) in refunds {
            let amount = money(amount_minor);
            let detail = format!("we booked that {amount} went back, which the history does not list");
            let net_minor = amount_minor.saturating_add(fee_minor).saturating_neg();
            let kind = DifferenceKind::ExtraRefund;
            let new =
                Difference { subject: refund.to_string(), ..self.extra(run, kind, (net_minor, at), detail) };
            self.leave(run, new).await?;
        }
        Ok(())
    }

    /// Something that no row of the history is; what it is about is the caller's to say.
    fn extra(
        &self,
        run: &Reconciliation,
        kind: DifferenceKind,
        (booked_minor, occurred_at): (i64, Timestamp),
        detail: String,
    ) -> Difference {
        Difference {
            id: self.world.id(),
            reconciliation_id: run.id,
            kind,
            subject: String::new(),
            state: DifferenceState::Open,
            detail,
            explanation: String::new(),
            currency: run.currency,
            provider_minor: 0,
            booked_minor,
            event_id: None,
            occurred_at,
            created_at: self.world.now(),
            decided_at: None,
        }
    }

    async fn finish(&self, run: Reconciliation) -> Result<Reconciliation, Stopped> {
        let done = Reconciliation { status: RunStatus::Done, finished_at: Some(self.world.now()), ..run };
        let mut tx = self.db.begin(SCOPE).await?;
        store::reconciliation::finish(&mut tx, &done).await?;
        tx.commit().await?;
        tracing::info!(
            reconciliation = %done.id,
            rows = done.row_count,
            repaired = done.repaired_count,
            open = done.open_count,
            difference_minor = done.difference_minor(),
            "PayFast's history was held against the books"
        );
        Ok(done)
    }

    /// Tells an operator that the history could not be read: what is missing in it would not be found.
    async fn tell_unread(&self, span: Span, unread: &Unread) -> Result<(), db::Error> {
        if !unread.alarming {
            return Ok(());
        }
        let mut tx: Tx = self.db.begin(SCOPE).await?;
        let alarm = Alarm {
            kind: AlarmKind::ReconciliationFailed,
            dedupe_key: window(self.world.now()),
            organization_id: None,
            subject: format!("{}/{}", span.from, span.to),
            detail: unread.why.clone(),
        };
        self.raise(&mut tx, alarm).await?;
        tx.commit().await
    }
}

fn alarm(difference: &Difference) -> Alarm {
    Alarm {
        kind: AlarmKind::ReconciliationDiffers,
        dedupe_key: format!("{}:{}", difference.kind.as_str(), difference.subject),
        organization_id: None,
        subject: difference.subject.clone(),
        detail: difference.detail.clone(),
    }
}

fn listed<'a>(row: &'a Row, key: &'a str) -> Listed<'a> {
    Listed {
        key,
        movement: row.movement(),
        payment: &row.provider_payment_id,
        gross_minor: row.gross_minor,
        fee_minor: row.fee_minor,
        balance_minor: row.balance_minor,
    }
}

const fn missing(movement: Movement) -> DifferenceKind {
    match movement {
        Movement::Payment => DifferenceKind::MissingPayment,
        Movement::Refund => DifferenceKind::MissingRefund,
        Movement::Payout => DifferenceKind::MissingPayout,
        Movement::Charge => DifferenceKind::MissingCharge,
        Movement::Chargeback => DifferenceKind::MissingChargeback,
        Movement::Unknown => DifferenceKind::UnknownRow,
    }
}

fn differing(listed: &Listed<'_>, kind: DifferenceKind, booked_minor: i64) -> String {
    let what = if kind == DifferenceKind::FeeDiffers { "fee" } else { "amount" };
    let (theirs, ours) = (money(listed.net_minor()), money(booked_minor));
    format!("the {what} is another: it moved {theirs} at the provider and {ours} in our books")
}

fn money(minor: i64) -> Money {
    Money::new(minor, Currency::Zar)
}

fn short(word: &str) -> String {
    word.chars().take(40).collect()
}

/// Reads a day such as `2026-11-19`.
fn day(text: &str) -> Option<Date> {
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts.as_slice() else { return None };
    let month = time::Month::try_from(month.parse::<u8>().ok()?).ok()?;
    let day = Date::from_calendar_date(year.parse().ok()?, month, day.parse().ok()?).ok()?;
    // What is written otherwise is no day.
    Some(day).filter(|day| day.to_string() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_written_in_one_way() {
        assert_eq!(day("2026-11-19").map(|day| day.to_string()).as_deref(), Some("2026-11-19"));
        for wrong in
            ["", "2026-11", "2026-11-31", "2026-1-9", "19-11-2026", "2026-11-19T00:00:00", "+2026-11-19"]
        {
            assert_eq!(day(wrong), None, "{wrong}");
        }
        assert_eq!(local_midnight(day("2026-11-20").unwrap()).to_rfc3339(), "2026-11-19T22:00:00Z");
    }
}
