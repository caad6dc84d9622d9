//! Program flow: forms of the language, evaluated by the tree walk (specification: expression functions, 4.7).

use super::Accepts::Any;
use super::{Body, Form, Function, Kind, Parameter, whole};

const fn form(name: &'static str, parameters: &'static [Parameter], form: Form) -> Function {
    Function {
        name,
        parameters,
        required: parameters.len(),
        variadic: matches!(form, Form::Switch),
        result: Kind::Any,
        volatile: false,
        body: Body::Form(form),
    }
}

pub(super) const FUNCTIONS: &[Function] = &[
    form("Error", &[whole("message", Any)], Form::Error),
    form("IIF", &[whole("condition", Any), whole("then", Any), whole("else", Any)], Form::If),
    form("ImportedValue", &[whole("\"attribute\"", Any)], Form::ImportedValue),
    form("Select", &[whole("$variable", Any), whole("list", Any), whole("function", Any)], Form::Select),
    form("Switch", &[whole("condition", Any), whole("value", Any)], Form::Switch),
    form("ValueCount", &[whole("\"attribute\"", Any)], Form::ValueCount),
    form("Where", &[whole("$variable", Any), whole("list", Any), whole("condition", Any)], Form::Where),
    form("With", &[whole("$variable", Any), whole("value", Any), whole("body", Any)], Form::With),
];
