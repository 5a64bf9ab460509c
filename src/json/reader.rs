//! How is JSON read that need not fit into memory? By pulling: the caller asks for the next key or value, and
//! takes a string as long as a file in pieces. The bound: one receive buffer, and what `value` may hold.

use std::fmt;
use std::io::{self, Read};

/// Any JSON value that is small enough to hold.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    /// Exact for whole numbers up to 2^53, which is 8 PiB when bytes are counted.
    Number(f64),
    String(String),
    Array(Vec<Value>),
    /// In the order of arrival.
    Object(Vec<(String, Value)>),
}

impl Value {
    /// The value under `key`, if this is an object that has it.
    pub fn get(&self, key: &str) -> Option<&Value> {
        let Value::Object(pairs) = self else { return None };
        pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    pub fn as_str(&self) -> Option<&str> {
        let Value::String(text) = self else { return None };
        Some(text)
    }

    pub fn as_array(&self) -> Option<&[Value]> {
        let Value::Array(items) = self else { return None };
        Some(items)
    }

    /// A whole number that is not negative.
    pub fn as_u64(&self) -> Option<u64> {
        match *self {
            Value::Number(n) if n >= 0.0 && n.fract() == 0.0 && n < 2f64.powi(53) => Some(n as u64),
            _ => None,
        }
    }
}

/// Why reading failed.
#[derive(Debug)]
pub enum Error {
    /// The source failed.
    Io(io::Error),
    /// The source ended inside the text, after `offset` bytes.
    End { offset: u64 },
    /// The text is no JSON: what was expected, and the offset of the wrong byte from the first byte read.
    Syntax { offset: u64, expected: &'static str },
    /// The value is larger than its caller is willing to hold.
    TooLarge,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Io(error) => write!(f, "{error}"),
            Error::End { offset } => write!(f, "it ends in the middle, after {offset} bytes"),
            Error::Syntax { offset, expected } => write!(f, "no JSON at byte {offset}: expected {expected}"),
            Error::TooLarge => write!(f, "it is larger than this program is willing to hold"),
        }
    }
}

/// Deepest nesting that `value` follows; our own replies need 3. A bound, because each level costs stack.
const DEPTH: u32 = 32;

/// Longest number in characters, and longest white space before the end mark; longer ones exist only to
/// waste memory.
const NUMBER: usize = 64;

/// Longest white space between two tokens, in bytes: an endless one would keep the reader busy for ever.
const WHITE: u32 = 65_536;

/// Takes what a value costs from what its caller is willing to hold. Both are bytes.
fn charge(budget: &mut usize, cost: usize) -> Result<(), Error> {
    *budget = budget.checked_sub(cost).ok_or(Error::TooLarge)?;
    Ok(())
}

/// Pulls JSON out of a stream of bytes.
pub struct Reader<R> {
    source: R,
    /// The receive buffer; bytes `at..end` are not consumed yet.
    buffer: Box<[u8]>,
    at: usize,
    end: usize,
    /// Bytes consumed since the start of the stream.
    offset: u64,
}

impl<R: Read> Reader<R> {
    /// `capacity` is the size in bytes of the one buffer, and so of the largest piece of a string.
    pub fn new(source: R, capacity: usize) -> Reader<R> {
        Reader {
            source,
            buffer: vec![0; capacity].into_boxed_slice(),
            at: 0,
            end: 0,
            offset: 0,
        }
    }

    /// The stream, for writing requests to it.
    pub fn source(&mut self) -> &mut R {
        &mut self.source
    }

    /// Bytes consumed since the start of the stream.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The bytes received and not consumed; waits for at least one.
    pub fn available(&mut self) -> Result<&[u8], Error> {
        if self.at == self.end {
            self.at = 0;
            self.end = self.source.read(&mut self.buffer).map_err(Error::Io)?;
            if self.end == 0 {
                return Err(Error::End { offset: self.offset });
            }
        }
        Ok(&self.buffer[self.at..self.end])
    }

    pub fn consume(&mut self, count: usize) {
        self.at += count;
        self.offset += count as u64;
    }

    fn peek(&mut self) -> Result<u8, Error> {
        Ok(self.available()?[0])
    }

    /// The next byte is wrong.
    fn syntax<T>(&self, expected: &'static str) -> Result<T, Error> {
        let offset = self.offset;
        Err(Error::Syntax { offset, expected })
    }

    /// ws = *( space / tab / LF / CR ); returns the byte after it.
    fn skip_white(&mut self) -> Result<u8, Error> {
        for _ in 0..WHITE {
            match self.peek()? {
                b' ' | b'\t' | b'\n' | b'\r' => self.consume(1),
                byte => return Ok(byte),
            }
        }
        self.syntax("something other than white space")
    }

    /// Consumes a byte that has to be `wanted`.
    fn must_be(&mut self, wanted: u8, expected: &'static str) -> Result<(), Error> {
        if self.peek()? != wanted {
            return self.syntax(expected);
        }
        self.consume(1);
        Ok(())
    }

    /// The same after white space.
    fn expect(&mut self, wanted: u8, expected: &'static str) -> Result<(), Error> {
        self.skip_white()?;
        self.must_be(wanted, expected)
    }

    /// begin-object
    pub fn open_object(&mut self) -> Result<(), Error> {
        self.expect(b'{', "an object")
    }

    /// Does another item follow? Consumes the comma before it, or the bracket `close`. `first`: no item has
    /// been read yet.
    fn next_item(&mut self, first: bool, close: u8) -> Result<bool, Error> {
        if self.skip_white()? == close {
            self.consume(1);
            return Ok(false);
        }
        if !first {
            self.expect(b',', "a comma or the end")?;
        }
        Ok(true)
    }

    /// The next key of an object, or `None` when it ends; what it takes is subtracted from the budget.
    /// `first`: no pair has been read yet.
    pub fn next_key(&mut self, first: bool, budget: &mut usize) -> Result<Option<String>, Error> {
        if !self.next_item(first, b'}')? {
            return Ok(None);
        }
        charge(budget, size_of::<String>())?;
        let key = self.string(budget)?;
        self.expect(b':', "a colon")?;
        Ok(Some(key))
    }

    /// Consumes a string's opening quote. Returns false, consuming nothing, when the value is no string.
    pub fn open_string(&mut self) -> Result<bool, Error> {
        let found = self.skip_white()? == b'"';
        self.consume(usize::from(found));
        Ok(found)
    }

    /// Inside a string: appends what stands next, one byte or the character that an escape means. Returns
    /// false after the closing quote.
    pub fn inside_string(&mut self, text: &mut Vec<u8>) -> Result<bool, Error> {
        let byte = self.peek()?;
        if byte < 0x20 {
            return self.syntax("no raw control character in a string");
        }
        self.consume(1);
        match byte {
            b'"' => return Ok(false),
            b'\\' => text.extend_from_slice(self.escape()?.encode_utf8(&mut [0; 4]).as_bytes()),
            byte => text.push(byte),
        }
        Ok(true)
    }

    /// escape = `"` `\` `/` b f n r t, or `u` with four hexadecimal digits
    fn escape(&mut self) -> Result<char, Error> {
        let c = match self.peek()? {
            byte @ (b'"' | b'\\' | b'/') => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.escaped_unicode(),
            _ => return self.syntax("an escape"),
        };
        self.consume(1);
        Ok(c)
    }

    /// unicode = "u" 4hex ; characters above U+FFFF are written as two escapes, a high and a low surrogate
    fn escaped_unicode(&mut self) -> Result<char, Error> {
        let mut units = vec![self.hex4()?];
        if matches!(units[0], 0xd800..=0xdbff) {
            self.must_be(b'\\', "the low half of a surrogate pair")?;
            units.push(self.hex4()?);
        }
        match char::decode_utf16(units).next() {
            Some(Ok(c)) => Ok(c),
            _ => self.syntax("a high surrogate, then a low one"),
        }
    }

    fn hex4(&mut self) -> Result<u16, Error> {
        self.must_be(b'u', "an escape with u")?;
        let mut code = 0;
        for _ in 0..4 {
            let Some(digit) = char::from(self.peek()?).to_digit(16) else {
                return self.syntax("a hexadecimal digit");
            };
            self.consume(1);
            code = code << 4 | digit as u16;
        }
        Ok(code)
    }

    /// A whole string; its bytes are subtracted from the budget.
    fn string(&mut self, budget: &mut usize) -> Result<String, Error> {
        if !self.open_string()? {
            return self.syntax("a string");
        }
        let mut text = Vec::new();
        while self.inside_string(&mut text)? {
            if text.len() > *budget {
                return Err(Error::TooLarge);
            }
        }
        charge(budget, text.len())?;
        String::from_utf8(text).or_else(|_| self.syntax("UTF-8"))
    }

    /// Any value, as long as all its strings and items together stay within `budget` bytes; what it takes
    /// is subtracted.
    pub fn value(&mut self, budget: &mut usize) -> Result<Value, Error> {
        self.value_within(budget, DEPTH)
    }

    fn value_within(&mut self, budget: &mut usize, depth: u32) -> Result<Value, Error> {
        // A bare item costs memory too: without this an endless `[0,0,0,…` would fit any budget.
        charge(budget, size_of::<Value>())?;
        let depth = depth.checked_sub(1).ok_or(Error::TooLarge)?;
        match self.skip_white()? {
            b'"' => Ok(Value::String(self.string(budget)?)),
            b'{' => {
                self.consume(1);
                let mut pairs = Vec::new();
                while let Some(key) = self.next_key(pairs.is_empty(), budget)? {
                    pairs.push((key, self.value_within(budget, depth)?));
                }
                Ok(Value::Object(pairs))
            }
            b'[' => {
                self.consume(1);
                let mut items = Vec::new();
                while self.next_item(items.is_empty(), b']')? {
                    items.push(self.value_within(budget, depth)?);
                }
                Ok(Value::Array(items))
            }
            b't' => self.word(b"true", Value::Bool(true)),
            b'f' => self.word(b"false", Value::Bool(false)),
            b'n' => self.word(b"null", Value::Null),
            _ => self.number(),
        }
    }

    fn word(&mut self, word: &[u8], value: Value) -> Result<Value, Error> {
        for &byte in word {
            self.must_be(byte, "true, false or null")?;
        }
        Ok(value)
    }

    /// number = [ minus ] int [ frac ] [ exp ]
    fn number(&mut self) -> Result<Value, Error> {
        let (offset, expected) = (self.offset, "a value");
        let mut text = String::new();
        while let byte @ (b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E') = self.peek()? {
            if text.len() == NUMBER {
                return Err(Error::TooLarge);
            }
            text.push(char::from(byte));
            self.consume(1);
        }
        // Rust reads more forms than JSON allows: `.5`, `5.`, `+5`, `05`.
        let digits = text.strip_prefix('-').unwrap_or(&text);
        let whole = digits.bytes().take_while(u8::is_ascii_digit).count();
        let fraction = digits[whole..].strip_prefix('.');
        let strict = (whole == 1 || whole > 1 && !digits.starts_with('0'))
            && fraction.is_none_or(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        match text.parse() {
            Ok(number) if strict => Ok(Value::Number(number)),
            _ => Err(Error::Syntax { offset, expected }),
        }
    }

    /// After an object: white space that ends with `mark`.
    pub fn end_mark(&mut self, mark: &[u8]) -> Result<(), Error> {
        let mut seen = Vec::new();
        while !seen.ends_with(mark) {
            match self.peek()? {
                byte @ (b' ' | b'\t' | b'\r' | b'\n') if seen.len() < NUMBER => seen.push(byte),
                _ => return self.syntax("the end of the reply"),
            }
            self.consume(1);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A source that gives at most `piece` bytes a read.
    struct Drip<'a>(&'a [u8], usize);

    impl Read for Drip<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let n = out.len().min(self.0.len()).min(self.1);
            out[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    /// Reads `text` whole and in drips; both must agree.
    fn read(text: &[u8], limit: usize) -> Result<Value, String> {
        let whole = Reader::new(Drip(text, usize::MAX), 4096)
            .value(&mut limit.clone())
            .map_err(|e| e.to_string());
        let drip = Reader::new(Drip(text, 1), 7)
            .value(&mut limit.clone())
            .map_err(|e| e.to_string());
        assert_eq!(whole, drip);
        whole
    }

    fn string(text: &str) -> Value {
        Value::String(text.to_owned())
    }

    #[test]
    fn escapes_of_other_writers_mean_the_same() {
        let table = [
            (r#""\/""#, "/"),
            (r#""\u0041\u00e9\u65E5""#, "Aé日"),
            (r#""\ud83d\ude00""#, "😀"),
            (r#""\b\f\n\r\t\"\\""#, "\u{8}\u{c}\n\r\t\"\\"),
            ("\"\u{d7ff}\"", "\u{d7ff}"),
        ];
        for (text, meaning) in table {
            assert_eq!(read(text.as_bytes(), 1000).unwrap(), string(meaning));
        }
    }

    #[test]
    fn what_is_no_json_is_refused() {
        let table: [&[u8]; 22] = [
            br#""\ud83d""#,
            br#""\ud83dx""#,
            br#""\ud83d\u0041""#,
            br#""\ude00""#,
            br#""\x""#,
            br#""\u12g4""#,
            b"\"raw\ncontrol\"",
            b"\"\xff\"",
            br#""open"#,
            b"{",
            br#"{"a" 1}"#,
            br#"{"a":1 "b":2}"#,
            br#"{1:2}"#,
            b"[1 2]",
            b"[1,",
            b"tru",
            b"trux",
            b"+1 ",
            b"01 ",
            b".5 ",
            b"5. ",
            b"- ",
        ];
        for text in table {
            assert!(read(text, 1000).is_err(), "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn what_is_wrong_is_reported_at_its_own_offset() {
        let table: [(&[u8], usize); 16] = [
            (b"", 0),
            (br#"  ["#, 3),
            (br#""ab"#, 3),
            (br#"["a", x]"#, 6),
            (br#""a\xb""#, 3),
            (br#""a\u12g4""#, 6),
            (br#""\ud83dx""#, 7),
            (br#""\ud83d\n""#, 8),
            (br#""\ud83d\u0041""#, 13),
            (br#""aa\ude00""#, 9),
            (b"\"a\nb\"", 2),
            (b"[trux]", 4),
            (b"[1, 01]", 4),
            (br#"{"a" 1}"#, 5),
            (br#"{"a":1 "b":2}"#, 7),
            (br#"{1:2}"#, 1),
        ];
        for (text, offset) in table {
            let (error, shown) = (read(text, 1000).unwrap_err(), String::from_utf8_lossy(text));
            let numbers: Vec<&str> = error
                .split(|c: char| !c.is_ascii_digit())
                .filter(|n| !n.is_empty())
                .collect();
            assert_eq!(numbers, [offset.to_string()], "{shown}: {error}");
        }
        let mut reader = Reader::new(Drip(b" \r\n x", 1), 8);
        assert!(matches!(
            reader.end_mark(b"\r\n\r\n"),
            Err(Error::Syntax { offset: 4, .. })
        ));
    }

    #[test]
    fn values_nest_with_any_white_space() {
        let value = read(
            b" { \"a\" : [ 1 , -2.5e1, true,null ] ,\r\n\"b\":{}, \"c\": [] } ",
            10_000,
        )
        .unwrap();
        let items = value.get("a").unwrap().as_array().unwrap();
        assert_eq!(items[0].as_u64(), Some(1));
        assert_eq!(items[1], Value::Number(-25.0));
        assert_eq!(items[1].as_u64(), None);
        assert_eq!(items[2..], [Value::Bool(true), Value::Null]);
        assert_eq!(value.get("b"), Some(&Value::Object(vec![])));
        assert_eq!(value.get("c"), Some(&Value::Array(vec![])));
    }

    #[test]
    fn bounds_hold_on_both_sides() {
        let room = size_of::<Value>();
        assert!(read(b"\"12345\"", room + 5).is_ok());
        assert!(read(b"\"123456\"", room + 5).is_err());
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(read(nested(DEPTH as usize).as_bytes(), 100_000).is_ok());
        assert!(read(nested(DEPTH as usize + 1).as_bytes(), 100_000).is_err());
        assert!(read(format!("{} ", "1".repeat(NUMBER)).as_bytes(), 1000).is_ok());
        assert!(read(format!("{} ", "1".repeat(NUMBER + 1)).as_bytes(), 1000).is_err());
    }

    #[test]
    fn the_end_mark_may_follow_white_space_only() {
        let ends = |text: &[u8]| Reader::new(Drip(text, 1), 8).end_mark(b"\r\n\r\n").is_ok();
        assert!(ends(b"\r\n\r\n"));
        assert!(ends(b" \n\r\r\n\r\n"));
        assert!(!ends(b"\r\n\r"));
        assert!(!ends(b"}\r\n\r\n"));
    }

    #[test]
    fn a_long_string_comes_in_pieces() {
        let mut reader = Reader::new(Drip(br#"{"k":"abc\/def"}"#, 4), 4);
        reader.open_object().unwrap();
        assert_eq!(reader.next_key(true, &mut 100).unwrap().unwrap(), "k");
        assert!(reader.open_string().unwrap());
        let mut text = Vec::new();
        while reader.inside_string(&mut text).unwrap() {}
        assert_eq!(text, b"abc/def");
        assert!(reader.next_key(false, &mut 100).unwrap().is_none());
    }

    /// The same grammar (RFC 8259) by the shortest way, without bounds; what it has read is cut off `text`.
    fn naive(text: &mut &str) -> Option<Value> {
        *text = text.trim_start_matches([' ', '\t', '\r', '\n']);
        for (word, value) in [
            ("true", Value::Bool(true)),
            ("false", Value::Bool(false)),
            ("null", Value::Null),
        ] {
            if let Some(rest) = text.strip_prefix(word) {
                *text = rest;
                return Some(value);
            }
        }
        match text.chars().next()? {
            '"' => naive_string(text).map(Value::String),
            '[' => naive_items(text, ']', naive).map(Value::Array),
            '{' => naive_items(text, '}', |text| {
                let key = naive_string(text)?;
                naive_sign(text, ':')?;
                Some((key, naive(text)?))
            })
            .map(Value::Object),
            _ => {
                let length = text
                    .find(|c| !"0123456789+-.eE".contains(c))
                    .unwrap_or(text.len());
                let (number, rest) = text.split_at(length);
                *text = rest;
                let digits = number.trim_start_matches('-');
                let zero = digits.starts_with('0') && digits[1..].starts_with(|c: char| c.is_ascii_digit());
                let dots = digits.starts_with('.') || digits.contains(".e") || digits.contains(".E");
                let signs = number.starts_with('+') || number.starts_with("--");
                let bad = zero || dots || signs || digits.ends_with('.');
                number.parse().ok().filter(|_| !bad).map(Value::Number)
            }
        }
    }

    fn naive_sign(text: &mut &str, sign: char) -> Option<()> {
        *text = text
            .trim_start_matches([' ', '\t', '\r', '\n'])
            .strip_prefix(sign)?;
        Some(())
    }

    fn naive_items<T>(text: &mut &str, close: char, item: impl Fn(&mut &str) -> Option<T>) -> Option<Vec<T>> {
        let (mut items, mut rest) = (Vec::new(), &text[1..]);
        while naive_sign(&mut rest, close).is_none() {
            if !items.is_empty() {
                naive_sign(&mut rest, ',')?;
            }
            items.push(item(&mut rest)?);
        }
        *text = rest;
        Some(items)
    }

    fn naive_string(text: &mut &str) -> Option<String> {
        naive_sign(text, '"')?;
        let mut units: Vec<u16> = Vec::new();
        let mut chars = text.chars();
        loop {
            match chars.next()? {
                '"' => break,
                '\0'..='\x1f' => return None,
                '\\' => units.push(match chars.next()? {
                    'u' => {
                        let hex: String = chars.by_ref().take(4).collect();
                        let good = hex.len() == 4 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
                        u16::from_str_radix(&hex, 16).ok().filter(|_| good)?
                    }
                    c => {
                        let at = "\"\\/bfnrt".find(c)?;
                        u16::from(b"\"\\/\x08\x0c\n\r\t"[at])
                    }
                }),
                c => units.extend(c.encode_utf16(&mut [0; 2]).iter()),
            }
        }
        *text = chars.as_str();
        String::from_utf16(&units).ok()
    }

    #[test]
    fn fuzz_json() {
        let corpus: [&[u8]; 6] = [
            br#"{"status":"OK","data":["a.bin","b \"c\" \u00e9\ud83d\ude00",""]}"#,
            br#"{"status":"OK","data_namafile":"a.bin","data_file":"a29sYW0="}"#,
            br#" { "data" : { "workers" : 5 , "alive" : -1.5e+3 , "per_worker" : [ { } , [ ] ] } } "#,
            br#"[0,-0,10,1.25,1E5,true,false,null,"\/\b\f\n\r\t"]"#,
            "\"\u{e9}\u{20ac}\u{1f600}\"".as_bytes(),
            b"[[[[[[[[1]]]]]]]]",
        ];
        crate::session::fuzz("json", &corpus, |input, random| {
            // The end of a number is seen when another byte follows.
            let input = &[input, b" "].concat();
            let read = |give: usize, capacity: usize| {
                let value = Reader::new(Drip(input, give), capacity).value(&mut 1_000_000);
                value.map_err(|error| error.to_string())
            };
            let whole = read(usize::MAX, 4096);
            assert_eq!(read(1, 7), whole);
            assert_eq!(read(1 + random.below(9), 1 + random.below(64)), whole);
            // What comes after the value is not looked at, and need not be UTF-8.
            let text = str::from_utf8(input).ok().filter(|text| text.len() < 1000);
            let bounded = matches!(&whole, Err(error) if *error == Error::TooLarge.to_string());
            let Some(mut text) = text.filter(|_| !bounded) else {
                return false;
            };
            assert_eq!(whole.ok(), naive(&mut text));
            true
        });
    }
}
