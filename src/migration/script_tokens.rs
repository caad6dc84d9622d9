//! Takes a PowerShell script apart into statements of tokens. Nothing is ever executed.

/// A piece of a statement, and where it stands: 1-based line and column in characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) line: usize,
    pub(super) column: usize,
}

/// What a piece is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// A command or bare word.
    Word(String),
    /// `-Name`, in lower case; true with a colon behind it.
    Parameter(String, bool),
    /// Text in quotation marks, without anything to be put in.
    Text(String),
    /// Text in quotation marks into which variables are put.
    Template(Vec<Part>),
    /// `$name`, in lower case.
    Variable(String),
    /// `(` or `@(`.
    Open,
    /// `)`
    Close,
    /// `[`
    OpenBracket,
    /// `]`
    CloseBracket,
    /// `,`
    Comma,
    /// `|`
    Pipe,
    /// `=`
    Equals,
    /// `{`, `@{`: what stands behind it is a program.
    Block,
}

/// A part of a text into which variables are put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Text(String),
    Variable(String),
    /// `$(…)`: the result of a program.
    Computed,
}

/// What is wrong with the text itself; nothing behind it can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TokenError {
    pub(super) message: &'static str,
    pub(super) line: usize,
    pub(super) column: usize,
}

/// The statements of a script, none of them empty, and what ended it too early.
pub(super) fn statements(text: &str) -> (Vec<Vec<Token>>, Option<TokenError>) {
    let mut lexer = Lexer { rest: text, line: 1, column: 1 };
    let (mut statements, mut statement, mut depth) = (Vec::new(), Vec::new(), 0_usize);
    loop {
        match lexer.next() {
            Ok(Piece::Token(token)) => {
                match token.kind {
                    TokenKind::Open | TokenKind::Block => depth += 1,
                    TokenKind::Close => depth = depth.saturating_sub(1),
                    _ => {}
                }
                statement.push(token);
            }
            Ok(Piece::CloseBlock) => depth = depth.saturating_sub(1),
            Ok(Piece::NewLine) if depth > 0 || matches!(statement.last(), Some(Token { kind: TokenKind::Comma | TokenKind::Pipe, .. })) => {
            }
            Ok(Piece::NewLine | Piece::Semicolon) => {
                if depth == 0 && !statement.is_empty() {
                    statements.push(std::mem::take(&mut statement));
                }
            }
            Ok(Piece::End) => {
                let open = (depth > 0).then_some(TokenError {
                    message: "a bracket without its end: what stands behind it was not read",
                    line: lexer.line,
                    column: lexer.column,
                });
                if !statement.is_empty() {
                    statements.push(statement);
                }
                return (statements, open);
            }
            Err(error) => return (statements, Some(error)),
        }
    }
}

enum Piece {
    Token(Token),
    NewLine,
    Semicolon,
    CloseBlock,
    End,
}

#[derive(Clone, Copy)]
struct Lexer<'t> {
    rest: &'t str,
    line: usize,
    column: usize,
}

/// The kinds of quotation marks that PowerShell takes for a single or a double one.
fn quotation(character: char) -> Option<char> {
    match character {
        '\'' | '\u{2018}' | '\u{2019}' | '\u{201a}' | '\u{201b}' => Some('\''),
        '"' | '\u{201c}' | '\u{201d}' | '\u{201e}' => Some('"'),
        _ => None,
    }
}

impl Lexer<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn take(&mut self) -> Option<char> {
        let character = self.peek()?;
        self.rest = &self.rest[character.len_utf8()..];
        if character == '\n' {
            (self.line, self.column) = (self.line + 1, 1);
        } else {
            self.column += 1;
        }
        Some(character)
    }

    fn take_str(&mut self, text: &str) -> bool {
        let found = self.rest.starts_with(text);
        if found {
            for _ in text.chars() {
                self.take();
            }
        }
        found
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> String {
        let mut text = String::new();
        while let Some(character) = self.peek().filter(|character| wanted(*character)) {
            text.push(character);
            self.take();
        }
        text
    }

    fn next(&mut self) -> Result<Piece, TokenError> {
        loop {
            self.take_while(|character| character != '\n' && character.is_whitespace());
            let (line, column) = (self.line, self.column);
            let error = |message| TokenError { message, line, column };
            if self.rest.starts_with("<#") {
                loop {
                    if self.take_str("#>") {
                        break;
                    }
                    if self.take().is_none() {
                        return Err(error("a comment without its end #>"));
                    }
                }
                continue;
            }
            let Some(first) = self.peek() else { return Ok(Piece::End) };
            let kind = match first {
                '#' => {
                    self.take_while(|character| character != '\n');
                    continue;
                }
                '`' => {
                    self.take();
                    // Copied scripts often have blanks behind the mark that continues a line.
                    self.take_while(|character| character != '\n' && character.is_whitespace());
                    if !self.take_str("\n") && !self.rest.is_empty() {
                        return Err(error("a backtick that is not at the end of its line"));
                    }
                    continue;
                }
                '\n' => {
                    self.take();
                    return Ok(Piece::NewLine);
                }
                ';' => {
                    self.take();
                    return Ok(Piece::Semicolon);
                }
                '}' => {
                    self.take();
                    return Ok(Piece::CloseBlock);
                }
                '@' => self.at_sign(error)?,
                '(' => self.single(TokenKind::Open),
                ')' => self.single(TokenKind::Close),
                '[' => self.single(TokenKind::OpenBracket),
                ']' => self.single(TokenKind::CloseBracket),
                ',' => self.single(TokenKind::Comma),
                '|' => self.single(TokenKind::Pipe),
                '=' => self.single(TokenKind::Equals),
                '{' => self.single(TokenKind::Block),
                '$' => {
                    self.take();
                    if self.take_str("(") { TokenKind::Block } else { TokenKind::Variable(self.variable()) }
                }
                _ => match quotation(first) {
                    Some('\'') => self.literal(error)?,
                    Some(_) => self.template(error)?,
                    None => self.word(first),
                },
            };
            return Ok(Piece::Token(Token { kind, line, column }));
        }
    }

    fn single(&mut self, kind: TokenKind) -> TokenKind {
        self.take();
        kind
    }

    fn variable(&mut self) -> String {
        if self.take_str("{") {
            let name = self.take_while(|character| character != '}' && character != '\n');
            self.take_str("}");
            return name.to_lowercase();
        }
        self.take_while(|character| character.is_alphanumeric() || character == '_' || character == ':').to_lowercase()
    }

    fn word(&mut self, first: char) -> TokenKind {
        if first == '-' && self.rest.chars().nth(1).is_some_and(char::is_alphabetic) {
            self.take();
            let name = self.take_while(|character| character.is_alphanumeric() || character == '_');
            return TokenKind::Parameter(name.to_lowercase(), self.take_str(":"));
        }
        let ends = |character: char| character.is_whitespace() || "`;|(){}[],=$".contains(character) || quotation(character).is_some();
        let mut word = String::from(first);
        self.take();
        word.push_str(&self.take_while(|character| !ends(character)));
        TokenKind::Word(word)
    }

    /// `@(`, `@{`, `@variable`, and texts of several lines.
    fn at_sign(&mut self, error: impl Fn(&'static str) -> TokenError) -> Result<TokenKind, TokenError> {
        self.take();
        match self.peek() {
            Some('(') => Ok(self.single(TokenKind::Open)),
            Some(mark) if quotation(mark).is_some() => {
                let single = quotation(mark) == Some('\'');
                self.take();
                self.take_while(|character| character != '\n' && character.is_whitespace());
                if !self.take_str("\n") {
                    return Err(error("a text of several lines begins on the line behind its mark"));
                }
                let mut text = String::new();
                let mut first = true;
                loop {
                    let before = *self;
                    let line = self.take_while(|character| character != '\n');
                    let mut end = line.chars();
                    if end.next().and_then(quotation) == quotation(mark) && end.next() == Some('@') {
                        // What stands behind the end on its line is read as usual.
                        *self = before;
                        self.take();
                        self.take();
                        break;
                    }
                    if !self.take_str("\n") {
                        return Err(error("a text of several lines without its end"));
                    }
                    if !std::mem::take(&mut first) {
                        text.push('\n');
                    }
                    text.push_str(line.trim_end_matches('\r'));
                }
                if single { Ok(TokenKind::Text(text)) } else { Ok(parts(&text)) }
            }
            Some('{') => Ok(self.single(TokenKind::Block)),
            // A splatted variable; its brackets, if any, are tokens of their own.
            _ => Ok(TokenKind::Word("@".to_owned())),
        }
    }

    /// Text in single quotation marks; a doubled mark is one.
    fn literal(&mut self, error: impl Fn(&'static str) -> TokenError) -> Result<TokenKind, TokenError> {
        self.take();
        let mut text = String::new();
        loop {
            match self.take() {
                None => return Err(error("text without its closing quotation mark")),
                Some(mark) if quotation(mark) == Some('\'') => {
                    if self.peek().and_then(quotation) != Some('\'') {
                        return Ok(TokenKind::Text(text));
                    }
                    self.take();
                    text.push('\'');
                }
                Some(other) => text.push(other),
            }
        }
    }

    /// Text in double quotation marks: a doubled mark is one, a backtick escapes.
    fn template(&mut self, error: impl Fn(&'static str) -> TokenError) -> Result<TokenKind, TokenError> {
        self.take();
        let mut text = String::new();
        loop {
            match self.take() {
                None => return Err(error("text without its closing quotation mark")),
                Some('`') => {
                    text.push('`');
                    text.extend(self.take());
                }
                Some(mark) if quotation(mark) == Some('"') => {
                    if self.peek().and_then(quotation) != Some('"') {
                        return Ok(parts(&text));
                    }
                    self.take();
                    text.push('"');
                }
                Some(other) => text.push(other),
            }
        }
    }
}

/// The parts of a text in double quotation marks.
fn parts(text: &str) -> TokenKind {
    let (mut parts, mut plain) = (Vec::new(), String::new());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '`' => plain.push(match characters.next() {
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some('0') => '\0',
                Some(other) => other,
                None => '`',
            }),
            '$' if characters.peek() == Some(&'(') => parts.push(Part::Computed),
            '$' if characters.peek().is_some_and(|next| next.is_alphanumeric() || *next == '_' || *next == '{') => {
                let mut name = String::new();
                while let Some(next) = characters.next_if(|next| next.is_alphanumeric() || "_:{}".contains(*next)) {
                    name.push(next);
                }
                if !plain.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut plain)));
                }
                parts.push(Part::Variable(name.trim_matches(['{', '}']).to_lowercase()));
            }
            other => plain.push(other),
        }
    }
    if parts.is_empty() {
        return TokenKind::Text(plain);
    }
    if !plain.is_empty() {
        parts.push(Part::Text(plain));
    }
    TokenKind::Template(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<Vec<TokenKind>> {
        let (statements, error) = statements(text);
        assert_eq!(error, None, "{text}");
        statements.into_iter().map(|tokens| tokens.into_iter().map(|token| token.kind).collect()).collect()
    }

    #[test]
    fn a_statement_goes_on_behind_a_backtick_and_inside_brackets() {
        let word = |text: &str| TokenKind::Word(text.to_owned());
        let found = kinds("Add-X `\r\n -Name 'it''s' `  \n -Flag:$true # end\n<# a\nb #>\nNext @(\n'a',\n'b')\n");
        assert_eq!(
            found,
            [
                vec![
                    word("Add-X"),
                    TokenKind::Parameter("name".into(), false),
                    TokenKind::Text("it's".into()),
                    TokenKind::Parameter("flag".into(), true),
                    TokenKind::Variable("true".into()),
                ],
                vec![
                    word("Next"),
                    TokenKind::Open,
                    TokenKind::Text("a".into()),
                    TokenKind::Comma,
                    TokenKind::Text("b".into()),
                    TokenKind::Close,
                ],
            ]
        );
    }

    #[test]
    fn texts_in_double_quotation_marks_have_escapes_and_variables() {
        assert_eq!(kinds("\"a `\"b`\" \"\"c\"\"\""), [[TokenKind::Text("a \"b\" \"c\"".into())]]);
        let parts = vec![Part::Text("x ".into()), Part::Variable("name".into()), Part::Text("!".into())];
        assert_eq!(kinds("\"x $Name!\""), [[TokenKind::Template(parts)]]);
        assert_eq!(kinds("@'\na\n'b'\n'@ -X"), [[TokenKind::Text("a\n'b'".into()), TokenKind::Parameter("x".into(), false)]]);
    }

    #[test]
    fn what_does_not_end_is_named_with_its_place() {
        let (found, error) = statements("A 1\n B 'open");
        assert_eq!(found.len(), 1);
        let error = error.unwrap();
        assert_eq!((error.line, error.column), (2, 4));
    }
}
