//! Attribute type descriptions as subschema entries publish them (RFC 4512 section 4.1.2).

/// What a description says of an attribute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttributeType {
    /// Names, the first of which servers use in answers.
    pub names: Vec<String>,
    /// Name of the type it is derived from, where a missing syntax is found.
    pub superior: Option<String>,
    /// Object identifier of the syntax, without a length.
    pub syntax: Option<String>,
    /// Has at most one value.
    pub single_valued: bool,
}

/// Reads one value of `attributeTypes`; `None` when it has no name or is no description.
pub fn parse_attribute_type(text: &str) -> Option<AttributeType> {
    let mut words = Words { rest: text.trim().strip_prefix('(')? };
    let mut parsed = AttributeType::default();
    words.next()?;
    while let Some(word) = words.next() {
        match word {
            ")" => break,
            "NAME" => parsed.names = words.list()?,
            "SUP" => parsed.superior = words.list()?.into_iter().next(),
            "SYNTAX" => {
                let syntax = words.list()?.into_iter().next()?;
                parsed.syntax = syntax.split('{').next().map(str::to_owned);
            }
            "SINGLE-VALUE" => parsed.single_valued = true,
            "DESC" | "EQUALITY" | "ORDERING" | "SUBSTR" | "USAGE" => drop(words.list()?),
            // Extensions have one value or a list; flags have none.
            word if word.starts_with("X-") => drop(words.list()?),
            _ => {}
        }
    }
    (!parsed.names.is_empty()).then_some(parsed)
}

struct Words<'a> {
    rest: &'a str,
}

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<&'a str> {
        self.rest = self.rest.trim_start();
        let first = self.rest.chars().next()?;
        let end = match first {
            '(' | ')' => 1,
            '\'' => self.rest[1..].find('\'')? + 2,
            _ => self.rest.find([' ', '(', ')', '\t', '\n']).unwrap_or(self.rest.len()),
        };
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(word)
    }

    /// One word, or those in parentheses, without quotation marks.
    fn list(&mut self) -> Option<Vec<String>> {
        let plain = |word: &str| word.trim_matches('\'').to_owned();
        let first = self.next()?;
        if first != "(" {
            return Some(vec![plain(first)]);
        }
        let mut list = Vec::new();
        loop {
            match self.next()? {
                ")" => return Some(list),
                "$" => {}
                word => list.push(plain(word)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_give_names_syntax_and_parent() {
        let street = parse_attribute_type(
            "( 2.5.4.9 NAME ( 'street' 'streetAddress' ) DESC 'RFC2256: street (address)' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15{128} )",
        )
        .unwrap();
        assert_eq!(street.names, ["street", "streetAddress"]);
        assert_eq!(street.syntax.as_deref(), Some("1.3.6.1.4.1.1466.115.121.1.15"));
        let member = parse_attribute_type("( 2.5.4.31 NAME 'member' DESC 'it''s' SUP distinguishedName X-ORIGIN ( 'a' 'b' ) )").unwrap();
        assert_eq!((member.superior.as_deref(), member.single_valued), (Some("distinguishedName"), false));
        assert!(parse_attribute_type("( 1.2 NAME 'a' SYNTAX 1.3 SINGLE-VALUE )").unwrap().single_valued);
    }

    #[test]
    fn damaged_descriptions_are_passed_over() {
        for text in ["", "(", "( 1.2", "( 1.2 NAME", "( 1.2 NAME ( 'a'", "( 1.2 NAME 'a", "( 1.2 DESC 'x' )"] {
            assert_eq!(parse_attribute_type(text), None, "{text}");
        }
    }
}
