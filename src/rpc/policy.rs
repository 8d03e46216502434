//! Who may call what, as the protos declare it. Read once at start from the raw descriptor set, for the typed one has
//! lost the option.

use std::collections::HashMap;
use std::sync::Arc;

use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor, Value};

use crate::auth::model::key::KeyScope;

/// The packages whose methods must carry a policy.
const PACKAGES: &str = "capecontrol.";
const OPTION: &str = "capecontrol.options.v1.policy";

/// Who may call a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody.
    Public,
    /// A signed-in account.
    Account,
    /// An owner or administrator of the organisation concerned; which one that is, the service finds.
    OrganizationOwner,
    /// A member of the organisation concerned who has to do with its money; which one that is, the service finds.
    OrganizationBilling,
    /// A developer or a platform administrator.
    Developer,
    /// A platform administrator.
    Admin,
}

/// Which budget of calls a method draws on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RateClass {
    /// Reads and small writes.
    Ordinary,
    /// What a stranger could use to guess secrets.
    Credential,
    /// Messages and other frequent small writes.
    Message,
    /// What starts money moving.
    Payment,
    /// What is dear to answer.
    Heavy,
}

/// How one method is treated.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "they mirror what the proto declares")]
pub struct Policy {
    /// The full name, `/package.Service/Method`.
    pub path: Arc<str>,
    /// Who may call.
    pub access: Access,
    /// The scope with which a program may call; none when it may not.
    pub api_key_scope: Option<KeyScope>,
    /// The request's field that names the organisation; empty when none does.
    pub organization_field: String,
    /// Which budget of calls it draws on.
    pub rate_class: RateClass,
    /// Whether the request carries a request id.
    pub idempotent: bool,
    /// Whether the answer is a secret, which is not told twice.
    pub secret_response: bool,
    /// Whether the answer is a stream.
    pub server_streaming: bool,
    /// Whether the request is a stream.
    pub client_streaming: bool,
}

/// A proto that cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The descriptor set does not load.
    #[error("the descriptor set does not load: {0}")]
    Descriptors(#[from] prost_reflect::DescriptorError),
    /// Methods without a policy.
    #[error("these methods declare no policy, so nobody would know who may call them: {}", .0.join(", "))]
    Undeclared(Vec<String>),
    /// Methods whose policy and request do not agree.
    #[error("these methods declare what is not so: {}", .0.join("; "))]
    Contradictory(Vec<String>),
}

/// The policies of all methods, by path.
#[derive(Clone, Debug)]
pub struct Policies {
    methods: HashMap<Arc<str>, Arc<Policy>>,
    services: Vec<String>,
}

impl Policies {
    /// Reads the policies from an encoded descriptor set.
    ///
    /// # Errors
    /// When a method of the platform declares none.
    pub fn load(descriptors: &[u8]) -> Result<Self, Error> {
        let pool = DescriptorPool::decode(descriptors)?;
        let (mut methods, mut services) = (HashMap::new(), Vec::new());
        let (mut undeclared, mut contradictory) = (Vec::new(), Vec::new());
        for service in pool.services().filter(|service| service.full_name().starts_with(PACKAGES)) {
            services.push(service.full_name().to_owned());
            for method in service.methods() {
                match read(&pool, &method) {
                    Some(policy) => {
                        contradictory.extend(contradictions(&policy, &method));
                        contradictory.extend(unknown_scope(&pool, &method));
                        methods.insert(Arc::clone(&policy.path), Arc::new(policy));
                    }
                    None => undeclared.push(method.full_name().to_owned()),
                }
            }
        }
        if !undeclared.is_empty() {
            return Err(Error::Undeclared(undeclared));
        }
        if !contradictory.is_empty() {
            return Err(Error::Contradictory(contradictory));
        }
        Ok(Self { methods, services })
    }

    /// The policy of the method at `path`.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Arc<Policy>> {
        self.methods.get(path)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Policy> {
        self.methods.values().map(AsRef::as_ref)
    }

    /// The full names of the services that have methods here.
    #[must_use]
    pub fn services(&self) -> &[String] {
        &self.services
    }
}

fn read(pool: &DescriptorPool, method: &MethodDescriptor) -> Option<Policy> {
    let option = pool.get_extension_by_name(OPTION)?;
    let options = method.options();
    if !options.has_extension(&option) {
        return None;
    }
    let declared = options.get_extension(&option);
    let declared = declared.as_message()?;
    Some(Policy {
        path: format!("/{}/{}", method.parent_service().full_name(), method.name()).into(),
        access: access(declared)?,
        api_key_scope: KeyScope::parse(field(declared, "api_key_scope")?.as_str()?),
        organization_field: field(declared, "organization_field")?.as_str()?.to_owned(),
        rate_class: rate_class(declared)?,
        idempotent: field(declared, "idempotent")?.as_bool()?,
        secret_response: field(declared, "secret_response")?.as_bool()?,
        server_streaming: method.is_server_streaming(),
        client_streaming: method.is_client_streaming(),
    })
}

/// What a policy says of the request that is not so.
fn contradictions(policy: &Policy, method: &MethodDescriptor) -> Vec<String> {
    let request = method.input();
    let has = |name: &str| request.get_field_by_name(name).is_some();
    let told = |what: &str| format!("{} {what}", method.full_name());
    let mut found = Vec::new();
    if !policy.organization_field.is_empty() && !has(&policy.organization_field) {
        found.push(told("names an organization_field that its request lacks"));
    }
    if policy.idempotent != (has("request_id") || has("client_message_id")) {
        found.push(told("is idempotent and has no request_id, or the other way round"));
    }
    if policy.secret_response && !policy.idempotent {
        found.push(told("has a secret_response and is not idempotent"));
    }
    found
}

/// A scope that nobody can have would keep programs out without a word.
fn unknown_scope(pool: &DescriptorPool, method: &MethodDescriptor) -> Option<String> {
    let option = pool.get_extension_by_name(OPTION)?;
    let options = method.options();
    let declared = options.get_extension(&option);
    let scope = field(declared.as_message()?, "api_key_scope")?;
    let scope = scope.as_str()?;
    let known = scope.is_empty() || KeyScope::parse(scope).is_some();
    (!known).then(|| format!("{} asks for the scope {scope}, which there is not", method.full_name()))
}

fn field(message: &DynamicMessage, name: &str) -> Option<Value> {
    message.get_field_by_name(name).map(std::borrow::Cow::into_owned)
}

fn access(declared: &DynamicMessage) -> Option<Access> {
    use crate::proto::capecontrol::options::v1::Access as Declared;
    match Declared::try_from(field(declared, "access")?.as_enum_number()?).ok()? {
        Declared::Unspecified => None,
        Declared::Public => Some(Access::Public),
        Declared::Account => Some(Access::Account),
        Declared::OrganizationOwner => Some(Access::OrganizationOwner),
        Declared::Developer => Some(Access::Developer),
        Declared::Admin => Some(Access::Admin),
        Declared::OrganizationBilling => Some(Access::OrganizationBilling),
    }
}

fn rate_class(declared: &DynamicMessage) -> Option<RateClass> {
    use crate::proto::capecontrol::options::v1::RateClass as Declared;
    let declared = Declared::try_from(field(declared, "rate_class")?.as_enum_number()?).ok()?;
    Some(match declared {
        Declared::Unspecified => RateClass::Ordinary,
        Declared::Credential => RateClass::Credential,
        Declared::Message => RateClass::Message,
        Declared::Payment => RateClass::Payment,
        Declared::Heavy => RateClass::Heavy,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;
    use prost_types::{
        DescriptorProto, FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto,
        ServiceDescriptorProto,
    };

    #[test]
    fn every_method_of_the_platform_declares_who_may_call_it() {
        let policies = Policies::load(crate::proto::DESCRIPTORS).unwrap();
        assert!(!policies.services().is_empty());
        for scope in KeyScope::ALL {
            let asked = policies.iter().any(|policy| policy.api_key_scope == Some(scope));
            assert!(asked, "{scope:?} opens nothing");
        }
    }

    #[test]
    fn a_method_without_a_policy_is_refused_by_name() {
        let method = MethodDescriptorProto {
            name: Some("Leak".to_owned()),
            input_type: Some(".capecontrol.test.v1.Empty".to_owned()),
            output_type: Some(".capecontrol.test.v1.Empty".to_owned()),
            ..MethodDescriptorProto::default()
        };
        let file = FileDescriptorProto {
            name: Some("test.proto".to_owned()),
            package: Some("capecontrol.test.v1".to_owned()),
            syntax: Some("proto3".to_owned()),
            message_type: vec![DescriptorProto {
                name: Some("Empty".to_owned()),
                ..DescriptorProto::default()
            }],
            service: vec![ServiceDescriptorProto {
                name: Some("TestService".to_owned()),
                method: vec![method],
                options: None,
            }],
            ..FileDescriptorProto::default()
        };
        let set = FileDescriptorSet { file: vec![file] }.encode_to_vec();
        let error = Policies::load(&set).unwrap_err();
        assert!(error.to_string().contains("capecontrol.test.v1.TestService.Leak"), "{error}");
    }
}
