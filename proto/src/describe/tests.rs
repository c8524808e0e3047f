use prost::Message as _;
use prost_reflect::{Cardinality, MessageDescriptor};

use super::*;
use crate::v1;

/// Fills every field of every message, each text with a marker of its own.
#[derive(Default)]
struct Filler {
    /// Which member of a oneof is taken.
    last_of_oneof: bool,
    plain: Vec<String>,
    secret: Vec<String>,
}

impl Filler {
    fn message(&mut self, descriptor: &MessageDescriptor) -> DynamicMessage {
        let mut message = DynamicMessage::new(descriptor.clone());
        for field in descriptor.fields() {
            let taken = field.containing_oneof().is_none_or(|oneof| {
                let mut members = oneof.fields();
                let member = if self.last_of_oneof {
                    members.last()
                } else {
                    members.next()
                };
                member.as_ref() == Some(&field)
            });
            if taken {
                let value = self.field(&field);
                message.set_field(&field, value);
            }
        }
        message
    }

    fn field(&mut self, field: &FieldDescriptor) -> Value {
        // Another way to know a secret than the one that is tested: in CSI
        // they have this name, and nothing else has.
        let secret = field.name() == "secrets";
        if field.is_map() {
            let entries = (0..2).map(|_| {
                let key = MapKey::String(self.marker(false));
                (key, Value::String(self.marker(secret)))
            });
            return Value::Map(entries.collect());
        }
        match field.cardinality() {
            Cardinality::Repeated => {
                Value::List((0..2).map(|_| self.single(&field.kind(), secret)).collect())
            }
            _ => self.single(&field.kind(), secret),
        }
    }

    fn single(&mut self, kind: &Kind, secret: bool) -> Value {
        match kind {
            Kind::String => Value::String(self.marker(secret)),
            Kind::Message(descriptor) => Value::Message(self.message(descriptor)),
            Kind::Bool => Value::Bool(true),
            Kind::Int32 => Value::I32(7),
            Kind::Int64 => Value::I64(7),
            Kind::Enum(_) => Value::EnumNumber(1),
            other => panic!("CSI begins to use {other:?}: fill it here too"),
        }
    }

    fn marker(&mut self, secret: bool) -> String {
        let list = if secret {
            &mut self.secret
        } else {
            &mut self.plain
        };
        let word = if secret { "hidden" } else { "shown" };
        list.push(format!("{word}-{}!", list.len()));
        list[list.len() - 1].clone()
    }
}

#[test]
fn secrets_are_masked_and_nothing_else() {
    let mut with_secrets = 0;
    for descriptor in CSI.pool.all_messages() {
        let ours = descriptor.package_name() == "csi.v1" && !descriptor.is_map_entry();
        if !ours {
            continue;
        }
        let name = descriptor.full_name();
        for last_of_oneof in [false, true] {
            let mut filler = Filler {
                last_of_oneof,
                ..Filler::default()
            };
            let bytes = filler.message(&descriptor).encode_to_vec();

            let text = to_json(name, &bytes).expect(name).to_string();
            for plain in &filler.plain {
                assert!(text.contains(plain), "{name}: {plain} is not in {text}");
            }
            for secret in &filler.secret {
                assert!(!text.contains(secret), "{name}: {secret} is in {text}");
            }
            assert_eq!(text.matches(MASK).count(), filler.secret.len(), "{text}");

            filler.secret.sort();
            assert_eq!(secret_values(name, &bytes).expect(name), filler.secret);
            with_secrets += usize::from(last_of_oneof && !filler.secret.is_empty());
        }
    }
    assert_eq!(with_secrets, 22);
}

#[test]
fn secret_fields_are_those_of_the_requests() {
    let fields = secret_fields();
    assert_eq!(fields.len(), 22);
    assert!(fields.contains(&"csi.v1.NodeStageVolumeRequest.secrets".to_owned()));
    assert!(fields.iter().all(|name| name.ends_with("Request.secrets")));
    assert!(fields.is_sorted());
}

/// CSI has secrets only in maps of requests; later releases may put them elsewhere.
#[test]
fn secrets_are_masked_wherever_they_stand() {
    let csi = lexicon_with(
        r#"
        message Outer { repeated Inner inner = 1; map<string, Inner> by_name = 2; Inner whole = 3 [(csi.v1.csi_secret) = true]; }
        message Inner { string key = 1 [(csi.v1.csi_secret) = true]; string note = 2; repeated string codes = 3 [(csi.v1.csi_secret) = true]; bytes raw = 4; }
        "#,
    );
    let outer = csi.pool.get_message_by_name("test.Outer").expect("Outer");
    let inner = csi.pool.get_message_by_name("test.Inner").expect("Inner");
    let mut one = DynamicMessage::new(inner);
    one.set_field_by_name("key", Value::String("k1".to_owned()));
    one.set_field_by_name("note", Value::String("n1".to_owned()));
    let codes = ["c1", "c1", ""].map(|code| Value::String(code.to_owned()));
    one.set_field_by_name("codes", Value::List(codes.to_vec()));
    one.set_field_by_name("raw", Value::Bytes(vec![0, 0xfe].into()));
    let one = Value::Message(one);
    let mut message = DynamicMessage::new(outer);
    message.set_field_by_name("inner", Value::List(vec![one.clone()]));
    let by_name = [(MapKey::String("a".to_owned()), one.clone())];
    message.set_field_by_name("by_name", Value::Map(by_name.into()));
    message.set_field_by_name("whole", one);
    let bytes = message.encode_to_vec();

    let masked = json!({"key": "***", "note": "n1", "codes": ["***", "***", "***"], "raw": "00fe"});
    assert_eq!(
        csi.to_json("test.Outer", &bytes).expect("json"),
        json!({"inner": [masked], "by_name": {"a": masked}, "whole": "***"})
    );
    // All of `whole` is secret, its note too.
    assert_eq!(
        csi.secret_values("test.Outer", &bytes).expect("values"),
        ["c1", "k1", "n1"]
    );
}

/// The words of a proto file of a test's own, in which CSI's options are known.
fn lexicon_with(messages: &str) -> Lexicon {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let text = format!("syntax = \"proto3\"; package test; import \"csi.proto\"; {messages}");
    std::fs::write(folder.path().join("test.proto"), text).expect("test.proto");
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut compiler = protox::Compiler::new([folder.path(), root]).expect("include folders");
    compiler.include_imports(true);
    compiler.open_file("test.proto").expect("test.proto");
    Lexicon::of(
        DescriptorPool::decode(compiler.encode_file_descriptor_set().as_slice()).expect("pool"),
    )
}

#[test]
fn a_request_reads_as_in_the_specification() {
    let request = v1::NodePublishVolumeRequest {
        volume_id: "v".to_owned(),
        target_path: "/t".to_owned(),
        volume_capability: Some(v1::VolumeCapability {
            access_mode: Some(v1::volume_capability::AccessMode { mode: 5 }),
            access_type: Some(v1::volume_capability::AccessType::Block(
                v1::volume_capability::BlockVolume {},
            )),
        }),
        secrets: [("password".to_owned(), "s3cret".to_owned())].into(),
        ..Default::default()
    };
    let bytes = request.encode_to_vec();
    assert_eq!(
        to_json("csi.v1.NodePublishVolumeRequest", &bytes).expect("json"),
        json!({
            "volume_id": "v",
            "target_path": "/t",
            "volume_capability": {
                "access_mode": {"mode": "MULTI_NODE_MULTI_WRITER"},
                "block": {},
            },
            "secrets": {"password": "***"},
        })
    );
}

#[test]
fn an_answer_reads_as_in_the_specification() {
    let message = "csi.v1.GetCapacityResponse";
    let answer = v1::GetCapacityResponse {
        available_capacity: i64::MAX,
        maximum_volume_size: Some(0),
        minimum_volume_size: None,
    };
    assert_eq!(
        to_json(message, &answer.encode_to_vec()).expect("json"),
        json!({"available_capacity": i64::MAX, "maximum_volume_size": 0})
    );

    let answer = v1::ProbeResponse { ready: Some(false) };
    assert_eq!(
        to_json("csi.v1.ProbeResponse", &answer.encode_to_vec()).expect("json"),
        json!({"ready": false})
    );
}

#[test]
fn what_is_unknown_is_told_by_number() {
    // An access mode of 99, and after it field 200, text, and field 300, 1.
    let bytes = [
        0x08, 99, 0xc2, 0x0c, 2, b'h', b'i', 0xe0, 0x12, 1, 0xe0, 0x12, 1,
    ];
    assert_eq!(
        to_json("csi.v1.VolumeCapability.AccessMode", &bytes).expect("json"),
        json!({"mode": 99, "(unknown fields)": [200, 300]})
    );
}

#[test]
fn what_cannot_be_decoded_is_an_error() {
    assert!(matches!(
        to_json("csi.v1.NoSuch", &[]),
        Err(DescribeError::UnknownMessage(name)) if name == "csi.v1.NoSuch"
    ));
    // volume_id: one byte, which is not UTF-8.
    let error = to_json("csi.v1.DeleteVolumeRequest", &[0x0a, 1, 0xff]).expect_err("garbage");
    assert_eq!(
        error.to_string(),
        "3 bytes are no csi.v1.DeleteVolumeRequest"
    );
    assert!(secret_values("csi.v1.DeleteVolumeRequest", &[0x0a]).is_err());
}
