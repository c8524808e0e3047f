//! `csi.proto` says what the releases say, and nothing else: the facts about
//! two releases, in `tests/wire/`, are compared with our descriptor.

use std::collections::{BTreeMap, BTreeSet};

use prost_reflect::{
    DescriptorPool, DynamicMessage, EnumDescriptor, FieldDescriptor, FileDescriptor, Kind,
    MessageDescriptor, MethodDescriptor, Syntax, Value,
};

/// Release and facts.
const TABLES: [(&str, &str); 2] = [
    ("1.12.0", include_str!("wire/1.12.0.txt")),
    ("1.13.0", include_str!("wire/1.13.0.txt")),
];

#[test]
fn every_fact_of_the_releases_stands_in_the_descriptor() {
    let ours = facts_of_descriptor();
    for (release, table) in TABLES {
        let missing: Vec<_> = facts(table)
            .filter(|fact| !fact.starts_with("reserved ") && !ours.contains(*fact))
            .collect();
        assert!(
            missing.is_empty(),
            "of {release}, csi.proto does not say:\n{}",
            missing.join("\n")
        );
    }
}

#[test]
fn nothing_else_stands_in_the_descriptor() {
    let released: BTreeSet<&str> = TABLES.iter().flat_map(|(_, table)| facts(table)).collect();
    let ours = facts_of_descriptor();
    let more: Vec<_> = ours
        .iter()
        .map(String::as_str)
        .filter(|fact| !released.contains(fact))
        .collect();
    assert!(more.is_empty(), "no release says:\n{}", more.join("\n"));
}

/// So that one `csi.proto` can speak all of them.
#[test]
fn no_number_has_two_meanings() {
    let mut meanings: BTreeMap<(String, &str), BTreeSet<String>> = BTreeMap::new();
    let mut numbers = 0;
    for (_, table) in TABLES {
        for fact in facts(table) {
            let Some((owner, number, meaning)) = numbered(fact) else {
                continue;
            };
            numbers += 1;
            meanings.entry((owner, number)).or_default().insert(meaning);
        }
    }
    // Fields, enum values and options of both releases.
    assert_eq!(numbers, (196 + 47 + 7) + (216 + 57 + 7));
    meanings.retain(|_, meanings| meanings.len() > 1);
    assert!(meanings.is_empty(), "{meanings:#?}");
}

/// What a release reserves is what one before it had.
#[test]
fn reserved_numbers_are_those_of_earlier_releases() {
    let taken: BTreeSet<(String, &str)> = TABLES
        .iter()
        .flat_map(|(_, table)| facts(table))
        .filter_map(numbered)
        .map(|(owner, number, _)| (owner, number))
        .collect();
    let reserved: Vec<_> = TABLES
        .iter()
        .flat_map(|(_, table)| facts(table))
        .filter_map(|fact| fact.strip_prefix("reserved ")?.split_once(" = "))
        .collect();
    assert_eq!(reserved.len(), 5);
    for (owner, number) in reserved {
        assert!(
            taken.contains(&(owner.to_owned(), number)),
            "{owner} = {number}"
        );
    }
}

#[test]
fn secret_fields_are_those_of_the_releases() {
    let released: BTreeSet<String> = TABLES
        .iter()
        .flat_map(|(_, table)| facts(table))
        .filter(|fact| fact.starts_with("field ") && fact.contains("csi_secret"))
        .filter_map(|fact| fact.split(' ').nth(1))
        .map(str::to_owned)
        .collect();
    let ours: BTreeSet<String> = csi_proto::describe::secret_fields().into_iter().collect();
    assert_eq!(ours, released);
}

fn facts(table: &str) -> impl Iterator<Item = &str> {
    table.lines()
}

/// Whose number a field, an enum value or an option has, which, and all that
/// is said of it but for the options, which may change from release to release.
fn numbered(fact: &str) -> Option<(String, &str, String)> {
    let (head, rest) = fact.split_once(" = ")?;
    let (number, meaning) = rest.split_once(' ').unwrap_or((rest, ""));
    let (kind, name) = head.split_once(' ')?;
    let owner = match kind {
        "field" | "value" => name.rsplit_once('.')?.0,
        "extend" => name.split_once(' ')?.0,
        _ => return None,
    };
    let meaning = meaning.split('[').next().unwrap_or_default().trim_end();
    Some((owner.to_owned(), number, format!("{name} {meaning}")))
}

fn facts_of_descriptor() -> BTreeSet<String> {
    let pool = DescriptorPool::decode(csi_proto::DESCRIPTOR_SET).expect("our own descriptor set");
    let file = pool.get_file_by_name("csi.proto").expect("csi.proto");
    let mut facts = Facts::default();
    facts.file(&file);
    let listed = facts.0.len();
    let facts: BTreeSet<String> = facts.0.into_iter().collect();
    assert_eq!(facts.len(), listed, "a fact is listed twice");
    facts
}

/// The lines of `tests/wire/`, made from a descriptor.
#[derive(Default)]
struct Facts(Vec<String>);

impl Facts {
    fn file(&mut self, file: &FileDescriptor) {
        let syntax = match file.syntax() {
            Syntax::Proto2 => "proto2",
            Syntax::Proto3 => "proto3",
        };
        let (name, package) = (file.name(), file.package_name());
        self.add(format!("file {name} syntax {syntax} package {package}"));
        for import in file.dependencies() {
            self.add(format!("import {}", import.name()));
        }
        for option in option_words(&file.options()) {
            self.add(format!("option {option}"));
        }
        for extension in file.extensions() {
            let message = extension.containing_message();
            self.add(format!(
                "extend {} {} = {} {}{}",
                message.full_name(),
                extension.full_name(),
                extension.number(),
                kind(&extension.kind()),
                options(&extension.options())
            ));
        }
        for service in file.services() {
            let name = service.full_name();
            self.add(format!("service {name}{}", options(&service.options())));
            for method in service.methods() {
                self.method(&method);
            }
        }
        for message in file.messages() {
            self.message(&message);
        }
        for enumeration in file.enums() {
            self.enumeration(&enumeration);
        }
    }

    fn method(&mut self, method: &MethodDescriptor) {
        let stream = |streaming| if streaming { "stream " } else { "" };
        self.add(format!(
            "rpc {}({}{}) returns ({}{}){}",
            method.full_name(),
            stream(method.is_client_streaming()),
            method.input().full_name(),
            stream(method.is_server_streaming()),
            method.output().full_name(),
            options(&method.options())
        ));
    }

    fn message(&mut self, message: &MessageDescriptor) {
        let name = message.full_name();
        self.add(format!("message {name}{}", options(&message.options())));
        for oneof in message.oneofs() {
            let options = options(&oneof.options());
            self.add(format!("oneof {}{options}", oneof.full_name()));
        }
        for field in message.fields() {
            self.field(&field);
        }
        for number in message.reserved_ranges().flatten() {
            self.add(format!("reserved {name} = {number}"));
        }
        for name in message.reserved_names() {
            self.add(format!("reserved name {name}"));
        }
        for extension in message.child_extensions() {
            self.add(format!("extension {}", extension.full_name()));
        }
        for inner in message
            .child_messages()
            .filter(|inner| !inner.is_map_entry())
        {
            self.message(&inner);
        }
        for inner in message.child_enums() {
            self.enumeration(&inner);
        }
    }

    fn field(&mut self, field: &FieldDescriptor) {
        let label = match field.field_descriptor_proto() {
            proto if proto.proto3_optional() => "optional ",
            _ if field.is_list() => "repeated ",
            _ => "",
        };
        let oneof = field
            .containing_oneof()
            .map(|oneof| format!(" oneof {}", oneof.name()))
            .unwrap_or_default();
        self.add(format!(
            "field {} = {} {label}{}{oneof} json {}{}",
            field.full_name(),
            field.number(),
            kind(&field.kind()),
            field.json_name(),
            options(&field.options())
        ));
    }

    fn enumeration(&mut self, enumeration: &EnumDescriptor) {
        let name = enumeration.full_name();
        self.add(format!("enum {name}{}", options(&enumeration.options())));
        for value in enumeration.values() {
            let options = options(&value.options());
            // The full name of an enum value leaves out the enum.
            self.add(format!(
                "value {name}.{} = {}{options}",
                value.name(),
                value.number()
            ));
        }
        for number in enumeration.reserved_ranges().flatten() {
            self.add(format!("reserved {name} = {number}"));
        }
        for reserved in enumeration.reserved_names() {
            self.add(format!("reserved name {reserved}"));
        }
    }

    fn add(&mut self, fact: String) {
        self.0.push(fact);
    }
}

fn kind(kind: &Kind) -> String {
    match kind {
        Kind::Message(entry) if entry.is_map_entry() => {
            let (key, value) = (entry.map_entry_key_field(), entry.map_entry_value_field());
            // A scalar's name, or a message's without the word "message".
            let value = match value.kind() {
                Kind::Message(message) => message.full_name().to_owned(),
                Kind::Enum(enumeration) => enumeration.full_name().to_owned(),
                scalar => format!("{scalar:?}"),
            };
            format!("map<{:?}, {value}>", key.kind())
        }
        Kind::Message(message) => format!("message {}", message.full_name()),
        Kind::Enum(enumeration) => format!("enum {}", enumeration.full_name()),
        // Written as in a .proto file.
        scalar => format!("{scalar:?}"),
    }
}

/// All options that are set, our own and protobuf's, as ` [csi_secret, …]`.
fn options(options: &DynamicMessage) -> String {
    let words = option_words(options);
    if words.is_empty() {
        return String::new();
    }
    format!(" [{}]", words.join(", "))
}

fn option_words(options: &DynamicMessage) -> Vec<String> {
    assert_eq!(options.unknown_fields().count(), 0, "{options:?}");
    let own = options
        .extensions()
        .map(|(extension, value)| (extension.name().to_owned(), value));
    let mut words: Vec<String> = options
        .fields()
        .map(|(field, value)| (field.name().to_owned(), value))
        .chain(own)
        .map(|(name, value)| match value {
            Value::Bool(true) => name,
            Value::String(text) => format!("{name}={text}"),
            other => format!("{name}={other:?}"),
        })
        .collect();
    words.sort();
    // The tables have the secrets first.
    words.sort_by_key(|word| !word.contains("secret"));
    words
}
