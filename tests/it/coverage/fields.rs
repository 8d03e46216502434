//! The fields of any request: found by the descriptors, changed by their paths.

use std::collections::BTreeSet;

use prost_reflect::{DynamicMessage, Kind, MessageDescriptor, ReflectMessage as _, Value};

const MASK: &str = "google.protobuf.FieldMask";
/// The fields of `google.type.Money` and `google.protobuf.Timestamp`.
const PARTS: &[&str] = &["currency_code", "units", "nanos", "seconds"];

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
        matches!(self.kind, Kind::String) && names_something(self.name()) && !self.is_key()
    }

    /// The path without the places in lists: `threads.thread_id`.
    pub fn declared(&self) -> String {
        self.steps.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(".")
    }

    /// The request with another item behind the one that holds this field, alike but for the value; none when it stands
    /// in no list.
    pub fn beside(&self, request: &DynamicMessage, value: Value) -> Option<DynamicMessage> {
        let (mut request, other) = (request.clone(), self.set(request, value));
        let at = self.steps.iter().position(|(_, index)| index.is_some())?;
        let (before, list) = (&self.steps[..at], &self.steps[at]);
        let message = |of: &DynamicMessage| {
            let mut message = of.clone();
            for (name, _) in before {
                message = message.get_field_by_name(name).unwrap().as_message().unwrap().clone();
            }
            message
        };
        let (mut items, others) = (items(&message(&request), &list.0), items(&message(&other), &list.0));
        items.push(others[list.1.unwrap()].clone());
        let whole = [before, &[(list.0.clone(), None)]].concat();
        put(&mut request, &whole, Value::List(items));
        Some(request)
    }

    /// Whether it is a part of an amount or a time, which is told as one.
    pub fn is_part_of(&self, field: &str) -> bool {
        PARTS.iter().any(|part| self.path == format!("{field}.{part}"))
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

/// The request with a value in a field that it need not fill in; none when the message that has the field is not there,
/// or stands in a list.
pub fn told(request: &DynamicMessage, path: &str, value: Value) -> Option<DynamicMessage> {
    let steps: Vec<(String, Option<usize>)> = path.split('.').map(|name| (name.to_owned(), None)).collect();
    let mut message = request.clone();
    for (name, _) in &steps[..steps.len() - 1] {
        let field = message
            .descriptor()
            .get_field_by_name(name)
            .filter(|field| !field.is_list() && !field.is_map())?;
        if !message.has_field(&field) {
            return None;
        }
        message = message.get_field(&field).as_message()?.clone();
    }
    let mut request = request.clone();
    put(&mut request, &steps, value);
    Some(request)
}

fn items(message: &DynamicMessage, name: &str) -> Vec<Value> {
    message.get_field_by_name(name).unwrap().as_list().unwrap().to_vec()
}

/// Whether a field of this name names something. A request's key, and the mark of a frame, name only the request.
fn names_something(name: &str) -> bool {
    let ending = name == "id" || name.ends_with("_id") || name == "ids" || name.ends_with("_ids");
    ending && name != "request_id"
}

/// A field that names something, as it is declared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Named {
    /// As [`Leaf::declared`] writes it.
    pub path: String,
    /// The message that it is a field of, and its own name.
    pub field: (String, String),
}

/// Every field in a message, however deep, that names something. One in a map is told with a mark, for no test fills it
/// in.
pub fn names(message: &MessageDescriptor) -> BTreeSet<Named> {
    let mut found = BTreeSet::new();
    name(message, &[], &mut Vec::new(), &mut found);
    found
}

fn name(
    message: &MessageDescriptor,
    before: &[String],
    above: &mut Vec<String>,
    found: &mut BTreeSet<Named>,
) {
    let whole = message.full_name().to_owned();
    // A message that holds itself would never end.
    if above.contains(&whole) {
        return;
    }
    above.push(whole.clone());
    for field in message.fields() {
        let mark = if field.is_map() { "{}" } else { "" };
        let path = [before, &[format!("{}{mark}", field.name())]].concat();
        let key = before.is_empty() && field.name() == "client_message_id";
        match field.kind() {
            Kind::Message(inner) => name(&inner, &path, above, found),
            Kind::String if names_something(field.name()) && !key => {
                let field = (whole.clone(), field.name().to_owned());
                found.insert(Named { path: path.join("."), field });
            }
            _ => {}
        }
    }
    above.pop();
}

fn put(message: &mut DynamicMessage, steps: &[(String, Option<usize>)], value: Value) {
    let ((name, index), rest) = steps.split_first().unwrap();
    if rest.is_empty() {
        let Some(index) = index else { return message.set_field_by_name(name, value) };
        message.get_field_by_name_mut(name).unwrap().as_list_mut().unwrap()[*index] = value;
        return;
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
            (Kind::String, Value::List(items)) if names_something(field.name()) => {
                let items = items.into_iter().enumerate();
                found.extend(items.map(|(index, item)| leaf(step(Some(index)), kind.clone(), item)));
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
