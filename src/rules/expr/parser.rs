//! From tokens to a tree. Three operator levels, strictly left to right inside a level, as the default rules
//! need it (specification: expression functions, section 2).

use super::lexer::{Operator, Token, TokenKind, tokens};
use super::{ExpressionError, Span};

/// Deepest nesting of an expression. Trees are walked by recursion, so depth is bounded where they are built.
const DEPTH_MAX: u32 = 160;
/// Longest expression in octets.
const LENGTH_MAX: usize = 64 * 1024;

/// A node of the tree as written: names not yet resolved.
#[derive(Clone, Debug)]
pub(super) struct Ast {
    pub(super) kind: AstKind,
    pub(super) span: Span,
    /// Stands in brackets of its own; asked by the lint for mixed operators only.
    pub(super) bracketed: bool,
    depth: u32,
}

#[derive(Clone, Debug)]
pub(super) enum AstKind {
    Null,
    AuthoritativeNull,
    IgnoreThisFlow,
    Number(i64),
    Boolean(bool),
    Text(String),
    /// A bare word such as `CaseSensitive`: legal as an argument that is an enumeration.
    Word(String),
    Attribute(String),
    Parameter(String),
    Variable(String),
    Negate(Box<Ast>),
    Binary(Operator, Box<Ast>, Box<Ast>),
    Call(String, Vec<Ast>),
}

/// Parses a whole expression.
pub(super) fn parse(text: &str) -> Result<Ast, ExpressionError> {
    if text.len() > LENGTH_MAX {
        return Err(ExpressionError::new(text, Span::new(0, 0), format!("longer than {LENGTH_MAX} octets")));
    }
    let mut parser = Parser { text, tokens: tokens(text)?, at: 0, depth: 0 };
    let tree = parser.level(3)?;
    match &parser.peek().kind {
        TokenKind::End => Ok(tree),
        TokenKind::Close => Err(parser.unexpected("a closing bracket that nothing opened")),
        TokenKind::Comma => Err(parser.unexpected("a comma outside a function call")),
        _ => Err(parser.unexpected("an operator is missing before this")),
    }
}

struct Parser<'t> {
    text: &'t str,
    tokens: Vec<Token>,
    at: usize,
    depth: u32,
}

impl Parser<'_> {
    fn peek(&self) -> &Token {
        // The last token is End and is never passed.
        &self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    fn advance(&mut self) -> Token {
        let token = self.peek().clone();
        if self.at + 1 < self.tokens.len() {
            self.at += 1;
        }
        token
    }

    fn unexpected(&self, message: &str) -> ExpressionError {
        ExpressionError::new(self.text, self.peek().span, message)
    }

    fn node(&self, kind: AstKind, span: Span, below: u32) -> Result<Ast, ExpressionError> {
        if below >= DEPTH_MAX {
            return Err(ExpressionError::new(self.text, span, format!("nested deeper than {DEPTH_MAX} levels"))
                .hint("divide the expression over several flows or rules"));
        }
        Ok(Ast { kind, span, bracketed: false, depth: below + 1 })
    }

    fn level(&mut self, level: u8) -> Result<Ast, ExpressionError> {
        if level == 0 {
            return self.primary();
        }
        let mut left = self.level(level - 1)?;
        while let TokenKind::Operator(operator) = self.peek().kind {
            if operator.level() != level {
                break;
            }
            self.advance();
            let right = self.level(level - 1)?;
            let span = left.span.to(right.span);
            let below = left.depth.max(right.depth);
            left = self.node(AstKind::Binary(operator, Box::new(left), Box::new(right)), span, below)?;
        }
        Ok(left)
    }

    fn primary(&mut self) -> Result<Ast, ExpressionError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.unexpected(&format!("nested deeper than {DEPTH_MAX} levels")));
        }
        let result = self.primary_inner();
        self.depth -= 1;
        result
    }

    fn primary_inner(&mut self) -> Result<Ast, ExpressionError> {
        let Token { kind, span } = self.advance();
        match kind {
            TokenKind::Number(number) => self.node(AstKind::Number(number), span, 0),
            TokenKind::Text(text) => self.node(AstKind::Text(text), span, 0),
            TokenKind::Attribute(name) => self.node(AstKind::Attribute(name), span, 0),
            TokenKind::Parameter(name) => self.node(AstKind::Parameter(name), span, 0),
            TokenKind::Variable(name) => self.node(AstKind::Variable(name), span, 0),
            TokenKind::Operator(Operator::Subtract) => {
                let inner = self.primary()?;
                let whole = span.to(inner.span);
                if let AstKind::Number(number) = inner.kind {
                    return self.node(AstKind::Number(number.wrapping_neg()), whole, 0);
                }
                let below = inner.depth;
                self.node(AstKind::Negate(Box::new(inner)), whole, below)
            }
            TokenKind::Open => {
                let mut inner = self.level(3)?;
                inner.span = span.to(self.close(span)?);
                inner.bracketed = true;
                Ok(inner)
            }
            TokenKind::Identifier(name) => {
                if self.peek().kind == TokenKind::Open {
                    return self.call(name, span);
                }
                let kind = match name.as_str() {
                    "NULL" => AstKind::Null,
                    "AuthoritativeNull" => AstKind::AuthoritativeNull,
                    "IgnoreThisFlow" => AstKind::IgnoreThisFlow,
                    "True" => AstKind::Boolean(true),
                    "False" => AstKind::Boolean(false),
                    "CRLF" => AstKind::Text("\r\n".to_owned()),
                    _ => AstKind::Word(name),
                };
                self.node(kind, span, 0)
            }
            TokenKind::End => Err(ExpressionError::new(self.text, span, "the expression ends where a value is expected")),
            TokenKind::Operator(operator) => {
                Err(ExpressionError::new(self.text, span, format!("'{}' has no value on its left", operator.sign())))
            }
            TokenKind::Close => Err(ExpressionError::new(self.text, span, "a value is missing before this bracket")),
            TokenKind::Comma => Err(ExpressionError::new(self.text, span, "a value is missing before this comma")),
        }
    }

    fn close(&mut self, open: Span) -> Result<Span, ExpressionError> {
        match self.peek().kind {
            TokenKind::Close => Ok(self.advance().span),
            TokenKind::End => Err(ExpressionError::new(self.text, open, "a bracket that is never closed")),
            _ => Err(self.unexpected("a comma, an operator or a closing bracket is missing before this")),
        }
    }

    fn call(&mut self, name: String, start: Span) -> Result<Ast, ExpressionError> {
        let open = self.advance().span;
        let mut arguments = Vec::new();
        if self.peek().kind == TokenKind::Close {
            let end = self.advance().span;
            return self.node(AstKind::Call(name, arguments), start.to(end), 0);
        }
        loop {
            arguments.push(self.level(3)?);
            if self.peek().kind == TokenKind::Comma {
                self.advance();
                continue;
            }
            let end = self.close(open)?;
            let below = arguments.iter().map(|argument| argument.depth).max().unwrap_or(0);
            return self.node(AstKind::Call(name, arguments), start.to(end), below);
        }
    }
}

/// Positions where operators of one level stand mixed without brackets, for the lint.
pub(super) fn mixed_operators(tree: &Ast) -> Option<Span> {
    match &tree.kind {
        AstKind::Binary(operator, left, right) => {
            let clash = |side: &Ast| {
                let AstKind::Binary(other, ..) = &side.kind else { return false };
                !side.bracketed && other.level() == operator.level() && other != operator && operator.level() != 2 && {
                    // Concatenation beside itself or a sum reads as it is evaluated only without * and /.
                    !(matches!(operator, Operator::Add | Operator::Subtract) && matches!(other, Operator::Add | Operator::Subtract))
                }
            };
            if clash(left) || clash(right) { Some(tree.span) } else { mixed_operators(left).or_else(|| mixed_operators(right)) }
        }
        AstKind::Negate(inner) => mixed_operators(inner),
        AstKind::Call(_, arguments) => arguments.iter().find_map(mixed_operators),
        _ => None,
    }
}
