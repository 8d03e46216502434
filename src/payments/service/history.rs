//! PayFast's history of some days, page by page: all of it, or nothing. What is believed of it is for who asked.

use std::collections::BTreeSet;
use std::time::Duration;

use time::Date;

use crate::base::Timestamp;
use crate::payments::model::figures::local_date;
use crate::payments::payfast::api::answer::{Outcome, RefusalKind};
use crate::payments::payfast::api::call::{Call, Page, Period};
use crate::payments::payfast::api::history::{self, Row};

use super::Service;

/// How many pages a history may have.
const PAGES_MAX: u32 = 1_000;
/// When to ask again after an answer that was none.
const ASK_AGAIN: Duration = Duration::from_mins(5);
/// When to ask again after PayFast said no.
const REFUSED_WAIT: Duration = Duration::from_mins(30);

/// Why the history was not had whole.
pub(super) struct Unread {
    /// Why.
    pub(super) why: String,
    /// When it makes sense to ask again.
    pub(super) wait: Duration,
    /// Whether somebody has to look: it came, and could not be read, or PayFast said no.
    pub(super) alarming: bool,
}

impl Service {
    /// Asks for every page of some days, both included, for the purpose named. No transaction may be open.
    pub(super) async fn read_history(
        &self,
        purpose: &'static str,
        days: (Date, Date),
    ) -> Result<Vec<Row>, Unread> {
        let mut rows: Vec<Row> = Vec::new();
        let mut seen: BTreeSet<String> = BTreeSet::new();
        for _ in 0..PAGES_MAX {
            let offset = u32::try_from(rows.len()).unwrap_or(u32::MAX);
            let page =
                self.read_page(purpose, days, Page { offset, limit: self.options.history_rows }).await?;
            let last = u32::try_from(page.len()).is_ok_and(|rows| rows < self.options.history_rows);
            for row in page {
                // A row that comes again shows that rows moved from page to page while we asked, so that others may
                // have been passed over.
                if row.net_minor != 0 && !seen.insert(row.key()) {
                    let why =
                        format!("line {}: the row came before; the pages do not fit together", row.line);
                    return Err(Unread { why, wait: ASK_AGAIN, alarming: true });
                }
                rows.push(row);
            }
            if last {
                return Ok(rows);
            }
        }
        Err(Unread { why: "the history has no end".to_owned(), wait: REFUSED_WAIT, alarming: true })
    }

    /// The rows from a time on that fit; none at all when the history was not had whole.
    pub(super) async fn in_history(
        &self,
        purpose: &'static str,
        since: Timestamp,
        fits: impl Fn(&Row) -> bool,
    ) -> Option<Vec<Row>> {
        let days = (local_date(since), local_date(self.world.now()));
        let rows = self.read_history(purpose, days).await.ok()?;
        Some(rows.into_iter().filter(|row| row.at >= since && fits(row)).collect())
    }

    async fn read_page(
        &self,
        purpose: &'static str,
        (from, to): (Date, Date),
        page: Page,
    ) -> Result<Vec<Row>, Unread> {
        let period = Period::Range { from, to };
        let call = Call::history(period, page).map_err(|violations| Unread {
            why: violations.to_string(),
            wait: REFUSED_WAIT,
            alarming: true,
        })?;
        match self.ask(purpose, &call, history::rows).await {
            Outcome::Done(rows) => Ok(rows),
            Outcome::NotSent { why, wait } => Err(Unread { why, wait, alarming: false }),
            Outcome::Unknown(why) => Err(Unread { why, wait: ASK_AGAIN, alarming: true }),
            Outcome::Refused(refusal) => Err(Unread {
                why: format!("PayFast refused: {}", refusal.reason),
                wait: REFUSED_WAIT,
                alarming: refusal.kind != RefusalKind::RateLimited,
            }),
        }
    }
}
