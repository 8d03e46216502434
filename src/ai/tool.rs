//! What a model may have done for it: the shape of a tool, and the toolbox that holds them.
//!
//! A tool is written above the domains that it uses and put into the toolbox where the platform is put together.
//! Whoever runs the calls of a model knows this shape only, and no domain behind it.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use uuid::Uuid;

use super::model::ToolSpec;
use crate::auth::Caller;
use crate::base::OrganizationId;
use crate::base::fault::{Code, Fault, Violation};

/// What using a tool does to the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SideEffect {
    /// It reads.
    Read,
    /// It prepares something that has no effect before a person carries it out by themselves.
    Propose,
    /// It changes something.
    Write,
}

/// Something that a model may have done for it.
#[async_trait]
pub trait Tool: Send + Sync {
    /// How a model is told of it. The same each time.
    fn spec(&self) -> ToolSpec;

    /// What using it does to the world.
    fn side_effect(&self) -> SideEffect;

    /// What an agent must have been granted in order to use it, such as `checkout.create`.
    fn scope(&self) -> &'static str;

    /// Does it, in the name of the caller and with no more power than theirs.
    ///
    /// A call may be made again after a crash or a timeout, with the same [`Use::key`] and arguments; it must not have
    /// its effect twice. The result goes to the model and to everybody who may read the conversation: no secrets.
    async fn call(&self, caller: &Caller, wanted: &Use) -> Result<Value, ToolError>;
}

/// One use of a tool.
#[derive(Clone, Debug)]
pub struct Use {
    /// The organisation in which it is used.
    pub organization_id: OrganizationId,
    /// The idempotency key: the same for every attempt.
    pub key: Uuid,
    /// The arguments, as JSON text that the model wrote.
    pub arguments: String,
}

impl Use {
    /// The arguments as the tool's own type, which denies unknown fields.
    ///
    /// # Errors
    /// A refusal that tells the model what is wrong and where.
    pub fn arguments<T: DeserializeOwned>(&self) -> Result<T, ToolError> {
        serde_json::from_str(&self.arguments).map_err(|error| {
            let message = format!("The arguments do not fit the tool's input schema: {error}.");
            ToolError::refused("INVALID_ARGUMENTS", message)
        })
    }
}

/// Why a tool gave no result.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// It will not do this, and says so each time: the model is told why and may do something else.
    #[error("{message}")]
    Refused {
        /// A stable name, in upper snake case.
        reason: &'static str,
        /// What was wrong and what to do, in one sentence for the model and for people.
        message: String,
        /// The arguments that are wrong.
        violations: Vec<Violation>,
    },
    /// It could not do this now. Whether it had its effect is not known; the same call is safe to repeat.
    #[error("The tool could not be used.")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl ToolError {
    /// A refusal without violations.
    #[must_use]
    pub fn refused(reason: &'static str, message: impl Into<String>) -> Self {
        Self::Refused { reason, message: message.into(), violations: Vec::new() }
    }

    /// A domain's error: a refusal when the domain would say the same again, else a failure.
    #[must_use]
    pub fn of<E: Fault + Send + Sync + 'static>(error: E) -> Self {
        match error.reason().code {
            Code::Unavailable | Code::Aborted | Code::DeadlineExceeded | Code::Internal => {
                Self::Failed(error.into())
            }
            _ => Self::Refused {
                reason: error.reason().name,
                message: error.to_string(),
                violations: error.violations().to_vec(),
            },
        }
    }
}

/// How an error is told to a model.
#[must_use]
pub fn error_content(reason: &str, message: &str, violations: &[Violation]) -> String {
    let fields: Vec<Value> = violations
        .iter()
        .map(|wrong| json!({ "field": wrong.field, "description": wrong.description }))
        .collect();
    let mut error = json!({ "reason": reason, "message": message });
    if let Some(error) = error.as_object_mut().filter(|_| !fields.is_empty()) {
        error.insert("violations".to_owned(), fields.into());
    }
    json!({ "error": error }).to_string()
}

/// The tools that the platform has, by name.
#[derive(Clone, Default)]
pub struct Toolbox(BTreeMap<String, Arc<dyn Tool>>);

impl Toolbox {
    /// Puts a tool in, under the name that it gives itself.
    #[must_use]
    pub fn with(mut self, tool: Arc<dyn Tool>) -> Self {
        self.0.insert(tool.spec().name, tool);
        self
    }

    /// The tool of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<dyn Tool>> {
        self.0.get(name)
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::base::{Id, Violations};

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Order {
        #[expect(dead_code, reason = "only its reading is tested")]
        plan: String,
    }

    fn read(arguments: &str) -> Result<Order, ToolError> {
        let organization_id = Id::from_uuid(Uuid::nil());
        Use { organization_id, key: Uuid::nil(), arguments: arguments.to_owned() }.arguments()
    }

    #[test]
    fn arguments_that_do_not_fit_are_refused_with_the_place() {
        assert!(read(r#"{"plan": "pro"}"#).is_ok());
        for (wrong, told) in [
            ("{}", "missing field `plan`"),
            (r#"{"plan": "pro", "admin": true}"#, "unknown field `admin`"),
            (r#"{"plan": 1}"#, "expected a string"),
            (r#"{"plan": "#, "EOF"),
            ("[]", "invalid length 0"),
        ] {
            let Err(ToolError::Refused { reason, message, .. }) = read(wrong) else { panic!("{wrong}") };
            assert_eq!(reason, "INVALID_ARGUMENTS");
            assert!(message.contains(told), "{wrong}: {message}");
        }
    }

    #[test]
    fn what_a_domain_would_refuse_again_is_a_refusal_and_the_rest_a_failure() {
        let wrong = Violations::one("plan", "must be a plan");
        let ToolError::Refused { reason, violations, .. } = ToolError::of(wrong) else { panic!() };
        assert_eq!((reason, violations.len()), ("INVALID_ARGUMENT", 1));
        assert!(matches!(ToolError::of(crate::db::Error::Failed), ToolError::Failed(_)));
    }

    #[test]
    fn an_error_names_the_arguments_that_are_wrong() {
        let wrong = [Violation::new("plan", "must be a plan")];
        let told: Value = serde_json::from_str(&error_content("R", "No.", &wrong)).unwrap();
        assert_eq!(told["error"]["violations"][0]["field"], "plan");
        assert_eq!(error_content("R", "No.", &[]), r#"{"error":{"message":"No.","reason":"R"}}"#);
    }
}
