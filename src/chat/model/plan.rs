//! What an organisation may have in its conversations, as its plan says. What was there before it chose a smaller plan
//! stays; only more of it is refused.

use super::attachment::Limits;

/// What an organisation may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// The plan that says so.
    pub plan_id: String,
    /// How much it may store.
    pub files: Limits,
    /// How many members a thread may have.
    pub members_max: i64,
    /// How many threads a person may have opened in it that are not deleted.
    pub threads_max: i64,
}

/// That a plan allows no more of something, for whoever wanted it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// How many it allows.
    pub max: i64,
    /// The plan.
    pub plan_id: String,
}

impl Allowed {
    /// That a thread may have so many members.
    ///
    /// # Errors
    /// How many it may have.
    pub fn check_members(&self, members: i64) -> Result<(), Bound> {
        self.check(members, self.members_max)
    }

    /// That a person may have opened so many threads.
    ///
    /// # Errors
    /// How many they may have.
    pub fn check_threads(&self, threads: i64) -> Result<(), Bound> {
        self.check(threads, self.threads_max)
    }

    fn check(&self, wanted: i64, max: i64) -> Result<(), Bound> {
        if wanted <= max { Ok(()) } else { Err(Bound { max, plan_id: self.plan_id.clone() }) }
    }
}
