//! The fields of any request: found by the descriptors, changed by their paths.

use std::collections::BTreeSet;

use prost_reflect::{DynamicMessage, Kind, MessageDescriptor, ReflectMessage as _, Value};

const MASK: &str = "google.protobuf.FieldMask";

/// A field that holds a value, somewhere in a request.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// As violations write it: `threads[0].thread_id`.
    pub path: String,
    steps: Vec<(String, Option<usize>)>,
    pub kind: Kind,
    pub value: Value,
}

impl Leaf {
    fn name(&self) -> &str {
        self.steps.last().map_or("", |(name, _)| name)
    }

    /// Makes a repetition of the request safe. In a stream's frame a `request_id` is only a mark.
    pub fn is_key(&self) -> bool {
        self.steps.len() == 1 && matches!(self.name(), "request_id" | "client_message_id")
    }

    /// Names something.
    pub fn is_id(&self) -> bool {
        let named = self.name() == "id" || self.name().ends_with("_id");
        matches!(self.kind, Kind::String) && named && self.name() != "request_id" && !self.is_key()
    }

    pub fn is_etag(&self) -> bool {
        self.path == "etag"
    }

    pub fn is_mask(&self) -> bool {
        matches!(&self.kind, Kind::Message(message) if message.full_name() == MASK)
    }

    pub fn text(&self) -> &str {
        self.value.as_str().unwrap_or_default()
    }

    /// The request with another value in this field.
    pub fn set(&self, request: &DynamicMessage, value: Value) -> DynamicMessage {
        let mut request = request.clone();
        put(&mut request, &self.steps, value);
        request
    }
}

fn put(message: &mut DynamicMessage, steps: &[(String, Option<usize>)], value: Value) {
    let ((name, index), rest) = steps.split_first().unwrap();
    if rest.is_empty() {
        return message.set_field_by_name(name, value);
    }
    let field = message.get_field_by_name_mut(name).unwrap();
    let inner = match index {
        Some(index) => field.as_list_mut().unwrap()[*index].as_message_mut(),
        None => field.as_message_mut(),
    };
    put(inner.unwrap(), rest, value);
}

/// All fields of a request that it can be wrong in. Of a resource, which answers carry too, only those that the request
/// fills in: the others tell, and are not read.
pub fn leaves(request: &DynamicMessage, resources: &BTreeSet<String>) -> Vec<Leaf> {
    let mut found = Vec::new();
    collect(request, resources, &[], &mut found);
    found
}

fn collect(
    message: &DynamicMessage,
    resources: &BTreeSet<String>,
    before: &[(String, Option<usize>)],
    found: &mut Vec<Leaf>,
) {
    let is_resource = resources.contains(message.descriptor().full_name());
    for field in message.descriptor().fields().filter(|field| !field.is_map()) {
        let set = message.has_field(&field);
        let (value, kind) = (message.get_field(&field).into_owned(), field.kind());
        let step = |index| [before, &[(field.name().to_owned(), index)]].concat();
        match (&kind, value) {
            (Kind::Message(inner), value) if !field.is_list() && inner.full_name() == MASK => {
                found.push(leaf(step(None), kind, value));
            }
            (Kind::Message(_), Value::List(items)) => {
                for (index, item) in items.iter().enumerate() {
                    collect(item.as_message().unwrap(), resources, &step(Some(index)), found);
                }
            }
            (Kind::Message(_), Value::Message(inner)) if set => {
                collect(&inner, resources, &step(None), found);
            }
            (Kind::Message(_), _) | (_, Value::List(_)) => {}
            (_, value) if set || !(is_resource || field.containing_oneof().is_some()) => {
                found.push(leaf(step(None), kind, value));
            }
            _ => {}
        }
    }
}

fn leaf(steps: Vec<(String, Option<usize>)>, kind: Kind, value: Value) -> Leaf {
    let parts: Vec<String> = steps
        .iter()
        .map(|(name, index)| index.map_or_else(|| name.clone(), |index| format!("{name}[{index}]")))
        .collect();
    Leaf { path: parts.join("."), steps, kind, value }
}

/// The names of all messages that stand in this one, itself included.
pub fn messages(message: &MessageDescriptor, found: &mut BTreeSet<String>) {
    if !found.insert(message.full_name().to_owned()) {
        return;
    }
    for field in message.fields() {
        if let Kind::Message(inner) = field.kind() {
            messages(&inner, found);
        }
    }
}

/// A mask that names one field.
pub fn mask(like: &Leaf, path: &str) -> Value {
    let mut mask = like.value.as_message().unwrap().clone();
    mask.set_field_by_name("paths", Value::List(vec![Value::String(path.to_owned())]));
    Value::Message(mask)
}
