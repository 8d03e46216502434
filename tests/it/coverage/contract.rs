//! What is declared: every method, and the messages of the contract.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use capecontrol::proto;
use capecontrol::rpc::policy::{Policies, Policy};
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor, Value};

use super::fields::{self, Leaf, leaves};
use super::party::Party;
use super::requests::REQUESTS;

/// A declared method.
pub struct Method {
    pub policy: Policy,
    pub descriptor: MethodDescriptor,
}

/// Everything that is declared.
pub struct Contract {
    pub methods: Vec<Method>,
    /// Messages that answers carry.
    pub resources: BTreeSet<String>,
}

impl Contract {
    pub fn read() -> Self {
        let pool = DescriptorPool::decode(proto::DESCRIPTORS).unwrap();
        let policies = Policies::load(proto::DESCRIPTORS).unwrap();
        let (mut methods, mut resources) = (Vec::new(), BTreeSet::new());
        for descriptor in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
            let path = format!("/{}/{}", descriptor.parent_service().full_name(), descriptor.name());
            if let Some(policy) = policies.get(&path) {
                fields::messages(&descriptor.output(), &mut resources);
                methods.push(Method { policy: policy.as_ref().clone(), descriptor });
            }
        }
        assert_eq!(methods.len(), policies.iter().count());
        Self { methods, resources }
    }

    /// The requests of every method that the party would have answered.
    pub fn requests<'c>(&'c self, party: &'c Party) -> impl Iterator<Item = (&'c Method, DynamicMessage)> {
        REQUESTS.iter().map(move |(path, make)| {
            let method = self.methods.iter().find(|method| &*method.policy.path == *path).unwrap();
            (method, method.request(&make(party)))
        })
    }

    /// The ids that a request names.
    pub fn ids(&self, request: &DynamicMessage) -> Vec<Leaf> {
        let mut leaves = self.leaves(request);
        leaves.retain(Leaf::is_id);
        leaves
    }

    /// The fields that a request can be wrong in.
    pub fn leaves(&self, request: &DynamicMessage) -> Vec<Leaf> {
        leaves(request, &self.resources)
    }
}

impl Method {
    /// A request with a key of its own, where the method takes one.
    pub fn request(&self, message: &[u8]) -> DynamicMessage {
        let mut request = DynamicMessage::decode(self.descriptor.input(), message).unwrap();
        if let Some(key) = self.key() {
            request.set_field_by_name(&key, Value::String(unknown_id()));
        }
        request
    }

    /// The name of the field that makes repetitions safe.
    pub fn key(&self) -> Option<String> {
        let input = self.descriptor.input();
        let mut names = input.fields().map(|field| field.name().to_owned());
        names.find(|name| matches!(name.as_str(), "request_id" | "client_message_id"))
    }

    /// Whether the answer carries a secret, which is not given twice.
    pub fn is_secret(&self) -> bool {
        self.declared("secret_response").as_bool().unwrap()
    }

    /// The name under which a call is written into the audit log; empty when it is not.
    pub fn audit_event(&self) -> String {
        self.declared("audit_event").as_str().unwrap().to_owned()
    }

    fn declared(&self, name: &str) -> Value {
        let pool = self.descriptor.parent_pool();
        let option = pool.get_extension_by_name("capecontrol.options.v1.policy").unwrap();
        let options = self.descriptor.options();
        let policy = options.get_extension(&option);
        policy.as_message().unwrap().get_field_by_name(name).unwrap().into_owned()
    }

    /// The other request with the key of this one.
    pub fn with_key_of(&self, request: &DynamicMessage, mut other: DynamicMessage) -> DynamicMessage {
        let key = self.key().unwrap();
        other.set_field_by_name(&key, request.get_field_by_name(&key).unwrap().into_owned());
        other
    }

    pub fn what(&self, leaf: &Leaf) -> String {
        format!("{} with another {}", self.policy.path, leaf.path)
    }
}

/// An id that nothing has.
pub fn unknown_id() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    uuid::Uuid::from_u64_pair(7, COUNT.fetch_add(1, Ordering::Relaxed)).to_string()
}
