//! From text to tokens. Every token knows where it stands, so that every later message can point at it.

use super::{ExpressionError, Span};

/// What a token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    Number(i64),
    Text(String),
    /// `[name]`
    Attribute(String),
    /// `%name%`
    Parameter(String),
    /// `$name`
    Variable(String),
    Identifier(String),
    Open,
    Close,
    Comma,
    Operator(Operator),
    End,
}

/// The operators, in three levels of priority (specification: expression functions, section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Concatenate,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    And,
    Or,
}

impl Operator {
    /// The level: 1 binds tightest.
    pub(super) fn level(self) -> u8 {
        match self {
            Self::Add | Self::Subtract | Self::Multiply | Self::Divide | Self::Concatenate => 1,
            Self::Equal | Self::NotEqual | Self::Less | Self::LessOrEqual | Self::Greater | Self::GreaterOrEqual => 2,
            Self::And | Self::Or => 3,
        }
    }

    /// The sign as it is written.
    pub(super) fn sign(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Concatenate => "&",
            Self::Equal => "=",
            Self::NotEqual => "<>",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::And => "&&",
            Self::Or => "||",
        }
    }
}

/// One token and its place.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) span: Span,
}

/// Splits an expression into tokens; the last one is [`TokenKind::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, ExpressionError> {
    let mut lexer = Lexer { text, at: 0 };
    let mut tokens = Vec::with_capacity(text.len() / 4 + 1);
    loop {
        let token = lexer.next()?;
        let end = token.kind == TokenKind::End;
        tokens.push(token);
        if end {
            return Ok(tokens);
        }
    }
}

struct Lexer<'t> {
    text: &'t str,
    at: usize,
}

impl Lexer<'_> {
    fn next(&mut self) -> Result<Token, ExpressionError> {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
        let start = self.at;
        let Some(first) = self.peek() else { return Ok(Token { kind: TokenKind::End, span: Span::new(start, start) }) };
        let kind = match first {
            '0'..='9' => self.number(start)?,
            '"' => self.string(start)?,
            '\u{201c}' | '\u{201d}' | '\u{201e}' | '\u{201f}' => {
                return Err(self.error(start, start + first.len_utf8(), "a typographic quotation mark").hint("use the straight one: \""));
            }
            '\'' | '\u{2018}' | '\u{2019}' => {
                let error = self.error(start, start + first.len_utf8(), "a single quotation mark");
                return Err(error.hint("text stands in straight double quotation marks: \"text\""));
            }
            '[' => TokenKind::Attribute(self.enclosed(start, ']', "an attribute name without its closing bracket")?),
            '%' => TokenKind::Parameter(self.enclosed(start, '%', "a parameter without its closing percent sign")?),
            '$' => {
                self.at += 1;
                let name = self.word();
                if name.is_empty() {
                    return Err(self.error(start, start + 1, "a dollar sign without the name of a variable"));
                }
                TokenKind::Variable(name)
            }
            '(' => self.single(TokenKind::Open),
            ')' => self.single(TokenKind::Close),
            ',' => self.single(TokenKind::Comma),
            _ if first.is_alphabetic() || first == '_' => TokenKind::Identifier(self.word()),
            _ => self.operator(start, first)?,
        };
        Ok(Token { kind, span: Span::new(start, self.at) })
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn single(&mut self, kind: TokenKind) -> TokenKind {
        self.at += 1;
        kind
    }

    fn error(&self, start: usize, end: usize, message: impl Into<String>) -> ExpressionError {
        ExpressionError::new(self.text, Span::new(start, end), message)
    }

    fn word(&mut self) -> String {
        let rest = &self.text[self.at..];
        let length = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        self.at += length;
        rest[..length].to_owned()
    }

    fn number(&mut self, start: usize) -> Result<TokenKind, ExpressionError> {
        let rest = &self.text[start..];
        let length = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        self.at = start + length;
        let value = rest[..length].parse().map_err(|_| self.error(start, start + length, "a number beyond 64 bits"))?;
        Ok(TokenKind::Number(value))
    }

    fn hexadecimal(&mut self, start: usize) -> Result<TokenKind, ExpressionError> {
        let rest = &self.text[start + 2..];
        let length = rest.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(rest.len());
        self.at = start + 2 + length;
        let bits =
            u64::from_str_radix(&rest[..length], 16).map_err(|_| self.error(start, self.at, "a hexadecimal number beyond 64 bits"))?;
        Ok(TokenKind::Number(bits.cast_signed()))
    }

    fn string(&mut self, start: usize) -> Result<TokenKind, ExpressionError> {
        let mut value = String::new();
        let mut characters = self.text[start + 1..].char_indices().peekable();
        while let Some((offset, character)) = characters.next() {
            match character {
                '"' if characters.peek().is_some_and(|(_, next)| *next == '"') => {
                    characters.next();
                    value.push('"');
                }
                '"' => {
                    self.at = start + 1 + offset + 1;
                    return Ok(TokenKind::Text(value));
                }
                '\\' if characters.peek().is_some_and(|(_, next)| *next == '\\') => {
                    characters.next();
                    value.push('\\');
                }
                other => value.push(other),
            }
        }
        Err(self.error(start, self.text.len(), "text without its closing quotation mark"))
    }

    fn enclosed(&mut self, start: usize, close: char, message: &str) -> Result<String, ExpressionError> {
        let rest = &self.text[start + 1..];
        let Some(length) = rest.find([close, '\n', '"', '(', ',']).filter(|length| rest[*length..].starts_with(close)) else {
            return Err(self.error(start, start + 1, message));
        };
        let name = rest[..length].trim();
        self.at = start + 1 + length + 1;
        if name.is_empty() {
            return Err(self.error(start, self.at, "nothing between the brackets"));
        }
        Ok(name.to_owned())
    }

    fn operator(&mut self, start: usize, first: char) -> Result<TokenKind, ExpressionError> {
        let rest = &self.text.as_bytes()[start..];
        let second = rest.get(1).copied();
        let (operator, length) = match (first, second) {
            ('&', Some(b'&')) => (Operator::And, 2),
            ('&', Some(b'H' | b'h')) if rest.get(2).is_some_and(u8::is_ascii_hexdigit) => return self.hexadecimal(start),
            ('&', _) => (Operator::Concatenate, 1),
            ('|', Some(b'|')) => (Operator::Or, 2),
            ('<', Some(b'>')) => (Operator::NotEqual, 2),
            ('<', Some(b'=')) => (Operator::LessOrEqual, 2),
            ('<', _) => (Operator::Less, 1),
            ('>', Some(b'=')) => (Operator::GreaterOrEqual, 2),
            ('>', _) => (Operator::Greater, 1),
            ('=', Some(b'=')) => return Err(self.error(start, start + 2, "'=='").hint("one equals sign compares: =")),
            ('=', _) => (Operator::Equal, 1),
            ('!', Some(b'=')) => return Err(self.error(start, start + 2, "'!='").hint("'not equal' is written <>")),
            ('+', _) => (Operator::Add, 1),
            ('-', _) => (Operator::Subtract, 1),
            ('*', _) => (Operator::Multiply, 1),
            ('/', _) => (Operator::Divide, 1),
            ('|', _) => return Err(self.error(start, start + 1, "a single '|'").hint("'or' is written ||")),
            (other, _) => {
                return Err(self.error(start, start + other.len_utf8(), format!("the character '{other}' has no meaning here")));
            }
        };
        self.at = start + length;
        Ok(TokenKind::Operator(operator))
    }
}
