//! Answers are kept with their effects, on both engines: the first answer again, and only to the same question.

use std::time::Duration;

use capecontrol::auth::{Caller, Origin};
use capecontrol::base::Id;
use capecontrol::db::Scope;
use capecontrol::idempotency::{self, Claim, Error, RequestKey};
use uuid::Uuid;

use crate::support::{Fixture, on_both};

const SCOPE: Scope = Scope::System("test");

fn key(body: u8) -> RequestKey {
    RequestKey { method: "/test".into(), key: Uuid::from_u128(1), body_hash: [body; 32] }
}

fn caller(account: u128) -> Caller {
    let mut caller = Caller::anonymous(Origin::default());
    caller.account = Some(Id::from_uuid(Uuid::from_u128(account)));
    caller
}

/// Makes the call: the number is the effect, and the answer.
async fn call(t: &Fixture, account: u128, key: &RequestKey, number: u32) -> Result<u32, Error> {
    let mut tx = t.db.begin(SCOPE).await?;
    match idempotency::claim(&mut tx, &t.world, &caller(account), Some(key)).await? {
        Claim::Replay(answer) => Ok(answer),
        Claim::New(slot) => {
            slot.store(&mut tx, &number).await?;
            tx.commit().await?;
            Ok(number)
        }
    }
}

on_both! {
    async fn a_repetition_gets_the_first_answer(t: Fixture) {
        assert_eq!(call(&t, 1, &key(1), 7).await.unwrap(), 7);
        assert_eq!(call(&t, 1, &key(1), 8).await.unwrap(), 7);
        assert!(matches!(call(&t, 1, &key(2), 9).await, Err(Error::Reused)));
        // Somebody else's key of the same name is another key.
        assert_eq!(call(&t, 2, &key(2), 10).await.unwrap(), 10);
    }

    async fn a_call_that_was_rolled_back_was_never_made(t: Fixture) {
        let mut tx = t.db.begin(SCOPE).await.unwrap();
        let claim = idempotency::claim::<u32>(&mut tx, &t.world, &caller(1), Some(&key(1))).await.unwrap();
        assert!(matches!(claim, Claim::New(_)));
        drop(tx);
        assert_eq!(call(&t, 1, &key(1), 7).await.unwrap(), 7);
    }

    async fn a_secret_is_not_told_twice(t: Fixture) {
        let mut tx = t.db.begin(SCOPE).await.unwrap();
        let Claim::New(slot) = idempotency::claim::<u32>(&mut tx, &t.world, &caller(1), Some(&key(1))).await.unwrap()
        else { panic!("the key is new") };
        slot.store_secret();
        tx.commit().await.unwrap();
        assert!(matches!(call(&t, 1, &key(1), 7).await, Err(Error::SecretAlreadyIssued)));
    }

    async fn of_calls_at_once_one_has_the_effect(t: Fixture) {
        let key = key(1);
        let calls = (0..12).map(|number| call(&t, 1, &key, number));
        let answers = futures_util::future::join_all(calls).await;
        let first = *answers[0].as_ref().unwrap();
        assert!(answers.iter().all(|answer| *answer.as_ref().unwrap() == first));
    }

    async fn an_answer_is_forgotten_after_its_time_and_not_before(t: Fixture) {
        call(&t, 1, &key(1), 7).await.unwrap();
        let prune = async || {
            let mut tx = t.db.begin(SCOPE).await.unwrap();
            let deleted = idempotency::prune(&mut tx, &t.world, 10).await.unwrap();
            tx.commit().await.unwrap();
            deleted
        };
        t.clock.advance(Duration::from_secs(29 * 86_400));
        assert_eq!(prune().await, 0);
        assert_eq!(call(&t, 1, &key(1), 8).await.unwrap(), 7);
        t.clock.advance(Duration::from_secs(86_400));
        assert_eq!(call(&t, 1, &key(2), 9).await.unwrap(), 9);
        t.clock.advance(Duration::from_secs(30 * 86_400));
        assert_eq!(prune().await, 1);
    }
}
