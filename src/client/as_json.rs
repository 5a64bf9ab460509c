//! How is what a server has said printed for a program? As JSON in ASCII alone (RFC 8259, section 7), so that
//! no text of a stranger acts on the terminal that may show it.

use crate::json::{Value, Writer};

/// The same value for every reader of JSON. A number that is too large for us becomes `null`.
pub fn as_json(value: &Value) -> String {
    let mut out = Vec::new();
    write(&mut Writer::new(&mut out), value);
    let mut ascii = String::new();
    for c in String::from_utf8_lossy(&out).chars() {
        let mut units = [0; 2];
        match c {
            ' '..='~' => ascii.push(c),
            c => ascii.extend(
                c.encode_utf16(&mut units)
                    .iter()
                    .map(|unit| format!("\\u{unit:04x}")),
            ),
        }
    }
    ascii
}

fn write(w: &mut Writer<'_>, value: &Value) {
    match value {
        Value::Null => w.number("null"),
        Value::Bool(value) => w.number(value),
        Value::Number(number) if number.is_infinite() => w.number("null"),
        Value::Number(number) => w.number(number),
        Value::String(text) => w.string(text),
        Value::Array(items) => {
            w.open(b'[');
            items.iter().for_each(|item| write(w, item));
            w.close(b']');
        }
        Value::Object(pairs) => {
            w.open(b'{');
            for (key, value) in pairs {
                w.key(key);
                write(w, value);
            }
            w.close(b'}');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Reader;

    #[test]
    fn what_a_stranger_says_is_json_and_moves_no_cursor() {
        let said = r#"{"a\u009b":["\u001b[2J\u007f\u202e\u00e9\ud83d\ude00\"",-2.5,1e400,true,null]}"#;
        let value = Reader::new(said.as_bytes(), 64).value(&mut 4096).unwrap();
        assert_eq!(as_json(&value), said.replace("1e400", "null"));
    }
}
