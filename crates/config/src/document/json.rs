//! OpenCanary's flat JSON, with comments.

use jsonc_parser::ast::{Object, ObjectProp, Value as Node};
use jsonc_parser::common::Range;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};
use serde_json::{Map, Value};

use super::hints::{json_error, loose_end};
use super::hosts::HOSTS;
use super::{Document, Entry, Lines, Parts, below, twice};
use crate::problem::{Location, Problem};

const STRICT: ParseOptions = ParseOptions {
    allow_comments: true,
    allow_loose_object_property_names: false,
    allow_trailing_commas: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

pub(super) fn parse(lines: &Lines<'_>, document: &mut Document) -> Result<(), Box<Problem>> {
    if let Some(problem) = loose_end(lines) {
        return Err(Box::new(problem));
    }
    let tree = parse_to_ast(lines.text, &CollectOptions::default(), &STRICT)
        .map_err(|error| Box::new(json_error(lines, &error)))?;
    let root = match tree.value {
        Some(Node::Object(root)) => root,
        Some(other) => {
            let at = range(&other).start;
            return Err(Box::new(lines.error(at, "a file is one object in curly brackets").hint("begin with `{`")));
        }
        None => {
            let problem =
                lines.error(0, "the file is empty").hint("`opencanaryd --copyconfig` writes one to start from");
            return Err(Box::new(problem));
        }
    };
    root.properties.into_iter().try_for_each(|property| add(lines, document, property))
}

/// Adds a key with its value, or what is in `hosts`.
fn add(lines: &Lines<'_>, document: &mut Document, property: ObjectProp<'_>) -> Result<(), Box<Problem>> {
    let location = lines.location(property.range.start);
    let key = property.name.into_string();
    let value = match property.value {
        Node::Object(members) if key == HOSTS && !document.is_host() => {
            return members.properties.into_iter().try_for_each(|member| {
                let location = lines.location(member.range.start);
                add_host(lines, document, &member.name.into_string(), location, member.value)
            });
        }
        value => value,
    };
    if let Some(name) = document.host_alone(&key) {
        return add_host(lines, document, &name, location, value);
    }
    let mut reader = Reader { lines, parts: Parts::new(), problems: Vec::new(), key: &key };
    let value = reader.value(value, "")?;
    let Reader { parts, problems, .. } = reader;
    document.problems.extend(problems);
    document.add(Entry { key, value, location, parts });
    Ok(())
}

fn add_host(
    lines: &Lines<'_>,
    document: &mut Document,
    name: &str,
    location: Location,
    value: Node<'_>,
) -> Result<(), Box<Problem>> {
    match value {
        Node::Object(host) => {
            document.note_second(name, &location);
            let part = document.host(name, &location);
            host.properties.into_iter().try_for_each(|property| add(lines, part, property))
        }
        other => {
            let mut reader = Reader { lines, parts: Parts::new(), problems: Vec::new(), key: HOSTS };
            let value = reader.value(other, "")?;
            document.refuse_host(name, &value, location);
            Ok(())
        }
    }
}

struct Reader<'a> {
    lines: &'a Lines<'a>,
    parts: Parts,
    problems: Vec<Problem>,
    key: &'a str,
}

impl Reader<'_> {
    /// The value of a node; depth is limited by the parser.
    fn value(&mut self, node: Node<'_>, pointer: &str) -> Result<Value, Box<Problem>> {
        Ok(match node {
            Node::NullKeyword(_) => Value::Null,
            Node::BooleanLit(flag) => Value::Bool(flag.value),
            Node::StringLit(text) => Value::String(text.value.into_owned()),
            Node::NumberLit(number) => serde_json::from_str(number.value).map_err(|_| {
                let message = format!("`{}` is not a number as JSON writes them", number.value);
                Box::new(self.lines.error(number.range.start, message).hint("put it in double quotes if it is text"))
            })?,
            Node::Array(array) => {
                let mut items = Vec::with_capacity(array.elements.len());
                for (at, element) in array.elements.into_iter().enumerate() {
                    let pointer = below(pointer, &at.to_string());
                    self.parts.insert(pointer.clone(), self.lines.location(range(&element).start));
                    items.push(self.value(element, &pointer)?);
                }
                Value::Array(items)
            }
            Node::Object(object) => Value::Object(self.object(object, pointer)?),
        })
    }

    fn object(&mut self, object: Object<'_>, pointer: &str) -> Result<Map<String, Value>, Box<Problem>> {
        let mut map = Map::new();
        for property in object.properties {
            let location = self.lines.location(property.range.start);
            let name = property.name.into_string();
            let pointer = below(pointer, &name);
            if let Some(earlier) = self.parts.insert(pointer.clone(), location.clone()) {
                let mut problem = twice(&name, &location, &earlier);
                problem.key = Some(self.key.to_owned());
                self.problems.push(problem);
            }
            let value = self.value(property.value, &pointer)?;
            map.insert(name, value);
        }
        Ok(map)
    }
}

fn range(node: &Node<'_>) -> Range {
    match node {
        Node::StringLit(node) => node.range,
        Node::NumberLit(node) => node.range,
        Node::BooleanLit(node) => node.range,
        Node::Object(node) => node.range,
        Node::Array(node) => node.range,
        Node::NullKeyword(node) => node.range,
    }
}
