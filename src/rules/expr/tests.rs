//! Expressions: every example of the reference as a case, priorities, laziness, nothing, lists, and what is refused.

use super::*;
use crate::model::{AttrId, Blob, ConnectorId, Names, Timestamp, Value, ValueKind};
use crate::rules::RunParameters;
use crate::rules::tests::{Object, text};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

struct Anything {
    names: Arc<Names>,
    inbound: bool,
}

impl Resolve for Anything {
    fn attribute(&self, name: &str) -> AttributeLookup {
        if name == "unknownAttribute" || name == "dispalyName" {
            return AttributeLookup::Unknown { suggestion: crate::model::closest(name, ["displayName", "mail"]) };
        }
        let kind = match name {
            "manager" | "member" => Some(ValueKind::Reference),
            "objectSid" => Some(ValueKind::Binary),
            _ => None,
        };
        AttributeLookup::Found(AttributeRef { id: if name == "dn" { AttrId::DN } else { self.names.intern(name) }, kind })
    }
    fn parameter(&self, name: &str) -> Result<(), Option<String>> {
        if PARAMETERS.contains(&name) { Ok(()) } else { Err(crate::model::closest(name, PARAMETERS.iter().copied())) }
    }
    fn inbound(&self) -> bool {
        self.inbound
    }
}

struct Bench {
    object: Object,
    run: RunParameters,
    resolve: Anything,
}

impl Bench {
    fn new() -> Self {
        let names = Arc::new(Names::new());
        let values = [
            ("displayName", text("Joe Doe")),
            ("alias", text("joe")),
            ("employeeType", text("Intern")),
            ("city", text("Rome")),
            ("empty", text("")),
            ("number", Value::Number(42)),
            ("zero", Value::Number(0)),
            ("flag", Value::Boolean(true)),
            ("off", Value::Boolean(false)),
            ("octets", Value::Binary([1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0].into())),
            ("objectSid", Value::Binary([1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0].into())),
            ("proxyAddresses", text("SMTP:john.doe@contoso.com")),
            ("proxyAddresses", text("smtp:jd@contoso.com")),
            ("sips", text("SIP:a@x")),
            ("sips", text("SMTP:b@x")),
            ("sips", text("smtp:c@x")),
            ("otherPhone", text("1-2")),
            ("otherPhone", text("3-4-5")),
            ("otherPhone", text("6")),
            ("padded", text(" a ")),
            ("padded", text("a")),
            ("address", text("Street 1\r\nTown")),
            ("userPrincipalName", text("joe@contoso.com")),
            ("groupType", Value::Number(-2_147_483_646)),
            ("distribution", Value::Number(2)),
            ("numberText", text("2")),
        ];
        let mut object = Object::new(&names, "user", "cn=Joe,ou=Atlanta,ou=GA,ou=US,dc=contoso,dc=com", &values)
            .refer("manager", &[7])
            .refer("member", &[5, 6, 7]);
        let large = "x".repeat(2000) + "  ";
        object.blobs.push(large.clone().into_bytes());
        let mut builder = crate::model::FlatBuilder::new();
        for item in object.values.iter() {
            builder.push(item.attr, item.value, 0);
        }
        builder.push(names.intern("large"), crate::model::ValueRef::LargeText(Blob::of(large.as_bytes())), 0);
        object.values = builder.finish();
        object.imported = crate::rules::tests::flat(&names, &[("proxyAddresses", text("smtp:imported@x"))]);
        let parameters = BTreeMap::from([
            ("Forest.LDAP".to_owned(), "DC=contoso,DC=com".to_owned()),
            ("Domain.FQDN".to_owned(), "contoso.com".to_owned()),
        ]);
        // 2012-01-01 23:00:00 UTC
        let run = RunParameters { now: Timestamp::from_seconds(1_325_458_800), parameters: BTreeMap::from([(ConnectorId(1), parameters)]) };
        Self { object, run, resolve: Anything { names, inbound: true } }
    }

    fn compile(&self, expression: &str) -> Result<Expression, ExpressionError> {
        compile(expression, &self.resolve, Options::default())
    }

    /// The result as text, the way cases write it: `NULL`, `"text"`, `5`, `True`, `0x…`, `date …`, lists in braces.
    fn show(&self, expression: &str) -> String {
        let compiled = match self.compile(expression) {
            Ok(compiled) => compiled,
            Err(error) => return format!("compile error: {error}"),
        };
        let context = Context { source: &self.object, run: &self.run, connector: ConnectorId(1) };

        match compiled.evaluate(&context) {
            Ok(Val::Null) => "NULL".to_owned(),
            Ok(Val::AuthoritativeNull) => "AuthoritativeNull".to_owned(),
            Ok(Val::Ignore) => "IgnoreThisFlow".to_owned(),
            Ok(Val::One(scalar)) => show(&scalar),
            Ok(Val::Many(list)) => format!("{{{}}}", list.iter().map(show).collect::<Vec<_>>().join(", ")),
            Err(fault) => format!("{}: {}", fault.code, fault.message),
        }
    }
}

fn show(scalar: &Scalar<'_>) -> String {
    match scalar {
        Scalar::Text(text) => format!("{text:?}"),
        Scalar::Number(number) => number.to_string(),
        Scalar::Boolean(true) => "True".to_owned(),
        Scalar::Boolean(false) => "False".to_owned(),
        Scalar::Binary(bytes) => format!("0x{}", hex::encode(bytes)),
        Scalar::Date(ticks) => format!("date {}", date::format(*ticks, "yyyy-MM-dd HH:mm:ss")),
        Scalar::Reference(id) => format!("→{id}"),
        Scalar::Name(name) => format!("<{name}>"),
        Scalar::LargeText(_) | Scalar::LargeBinary(_) => "large".to_owned(),
    }
}

/// An expression, and its result as [`Bench::show`] writes it; `…` at the end stands for anything.
type Case = (&'static str, &'static str);

fn check(cases: &[(&str, &str)]) {
    let bench = Bench::new();
    for (expression, expected) in cases {
        let shown = bench.show(expression);
        match expected.strip_suffix('…') {
            Some(prefix) => assert!(shown.starts_with(prefix), "{expression}: {shown}"),
            None => assert_eq!(shown, *expected, "{expression}"),
        }
    }
}

const CONVERSION: &[Case] = &[
    (r"CBool(1 = 1)", "True"),
    (r#"CBool("a" = "b")"#, "False"),
    (r#"CBool("false")"#, "False"),
    (r#"CBool("True")"#, "True"),
    (r#"CBool("")"#, "False"),
    (r"CBool(0)", "False"),
    (r"CBool(-3)", "True"),
    (r#"CBool("7")"#, "True"),
    (r"CBool(NULL)", "False"),
    (r#"CBool("maybe")"#, "expression-argument…"),
    (r#"CDate("2013-01-10 4:00 PM -8")"#, "date 2013-01-11 00:00:00"),
    (r#"CDate("2013-01-10T16:00:00Z")"#, "date 2013-01-10 16:00:00"),
    (r#"CDate("2013-01-10T16:00:00.5+01:30")"#, "date 2013-01-10 14:30:00"),
    (r#"CDate("12/25/2007")"#, "date 2007-12-25 00:00:00"),
    (r#"CDate("12/25/2007 12:00 AM")"#, "date 2007-12-25 00:00:00"),
    (r#"CDate("20140905081453.0Z")"#, "date 2014-09-05 08:14:53"),
    (r#"CDate("2001-02-30")"#, "expression-argument…"),
    (r#"CDate("tomorrow")"#, "expression-argument…"),
    (r#"CGuid("00112233-4455-6677-8899-aabbccddeeff")"#, "0x33221100554477668899aabbccddeeff"),
    (r#"CGuid("{00112233-4455-6677-8899-AABBCCDDEEFF}")"#, "0x33221100554477668899aabbccddeeff"),
    (r#"CGuid("0011")"#, "expression-argument…"),
    (r#"CNum("42")"#, "42"),
    (r#"CNum(" &H1F ")"#, "31"),
    (r#"CNum("0x1f")"#, "31"),
    (r"CNum(NULL)", "NULL"),
    (r#"CNum("4x")"#, "expression-argument…"),
    (r#"CRef("CN=x," & %Forest.LDAP%)"#, "<CN=x,DC=contoso,DC=com>"),
    (r#"CRef("nonsense")"#, "expression-argument…"),
    (r"CStr([dn])", r#""cn=Joe,ou=Atlanta,ou=GA,ou=US,dc=contoso,dc=com""#),
    (r"CStr(5)", r#""5""#),
    (r"CStr(True)", r#""True""#),
    (r"CStr([manager])", r#""CN=object 7,DC=example,DC=org""#),
    (r"CStr([octets])", "expression-type-mismatch…"),
    (r#"ConvertFromBase64("SGVsbG8gd29ybGQh", UTF8)"#, r#""Hello world!""#),
    (r#"ConvertFromBase64("SABlAGwAbABvACAAdwBvAHIAbABkACEA")"#, r#""Hello world!""#),
    (r#"ConvertFromBase64("SGVsbG8gd29ybGQh", "ASCII")"#, r#""Hello world!""#),
    (r#"ConvertFromBase64("?")"#, "expression-argument…"),
    (r#"ConvertToBase64("Hello world!")"#, r#""SABlAGwAbABvACAAdwBvAHIAbABkACEA""#),
    (r#"Len(ConvertToBase64(CGuid("00112233-4455-6677-8899-aabbccddeeff")))"#, "24"),
    (r#"ConvertFromUTF8Hex("48656C6C6F20776F726C6421")"#, r#""Hello world!""#),
    (r#"ConvertFromUTF8Hex("486")"#, "expression-argument…"),
    (r#"ConvertFromUTF8Hex("ff")"#, "expression-argument…"),
    (r#"ConvertToUTF8Hex("Hello world!")"#, r#""48656C6C6F20776F726C6421""#),
    (r#"StringFromGuid(CGuid("00112233-4455-6677-8899-aabbccddeeff"))"#, r#""00112233-4455-6677-8899-aabbccddeeff""#),
    (r"StringFromGuid([octets])", "expression-argument…"),
    (r"StringFromSid([octets])", r#""S-1-5-18""#),
    (r"StringFromSid(CBin(1,1))", "expression-argument…"),
    (r"CBin(2,1)", "0x02"),
    (r"CBin(258,2)", "0x0201"),
    (r"CBin(258,1)", "expression-argument…"),
    (r"Thumbprint(CBin(2,1))", "0xdbc1b4c900ffe48d575b5da5c638040125f65db0fe3e24494b76ea986457d986"),
];

#[test]
fn conversion() {
    check(CONVERSION);
}

const DATE_AND_TIME: &[Case] = &[
    (r#"DateAdd("m", 3, CDate("2001-01-01"))"#, "date 2001-04-01 00:00:00"),
    (r#"DateAdd("m", 1, CDate("2012-01-31"))"#, "date 2012-02-29 00:00:00"),
    (r#"DateAdd("m", 1, CDate("2013-01-31"))"#, "date 2013-02-28 00:00:00"),
    (r#"DateAdd("yyyy", -1, CDate("2012-02-29"))"#, "date 2011-02-28 00:00:00"),
    (r#"DateAdd("q", 2, CDate("2001-11-01"))"#, "date 2002-05-01 00:00:00"),
    (r#"DateAdd("d", 31, CDate("2001-01-01"))"#, "date 2001-02-01 00:00:00"),
    (r#"DateAdd("ww", 1, CDate("2001-01-01"))"#, "date 2001-01-08 00:00:00"),
    (r#"DateAdd("h", 25, CDate("2001-01-01"))"#, "date 2001-01-02 01:00:00"),
    (r#"DateAdd("n", -1, CDate("2001-01-01"))"#, "date 2000-12-31 23:59:00"),
    (r#"DateAdd("s", 61, CDate("2001-01-01"))"#, "date 2001-01-01 00:01:01"),
    (r#"DateAdd("x", 1, CDate("2001-01-01"))"#, "expression-argument…"),
    (r#"DateAdd("yyyy", 9000, CDate("2001-01-01"))"#, "expression-argument…"),
    (r#"DateAdd("h", 9223372036854775807, CDate("2001-01-01"))"#, "expression-argument…"),
    (r"DateFromNum(129699324000000000)", "date 2012-01-01 23:00:00"),
    (r"DateFromNum(0)", "date 1601-01-01 00:00:00"),
    (r"DateFromNum(9223372036854775807)", "NULL"),
    (r"DateFromNum(-1)", "expression-argument…"),
    (r#"NumFromDate(CDate("2012-01-01 23:00:00"))"#, "129699324000000000"),
    (r#"FormatDateTime(CDate("12/25/2007"),"yyyy-MM-dd")"#, r#""2007-12-25""#),
    (r#"FormatDateTime(DateFromNum(130543784930000000),"yyyyMMddHHmmss.0Z")"#, r#""20140905081453.0Z""#),
    (
        r#"FormatDateTime(CDate("2014-09-05 15:04:05.0670000"),"dddd ddd MMMM MMM M d yy H h m s tt t fff zzz")"#,
        r#""Friday Fri September Sep 9 5 14 15 3 4 5 PM P 067 +00:00""#,
    ),
    (r#"FormatDateTime(CDate("2014-09-05"),"'day' d \h")"#, r#""day 5 h""#),
    (r"Now()", "date 2012-01-01 23:00:00"),
    (r#"Now() > CDate("2011-01-01")"#, "True"),
    (r#"FormatDateTime(NULL,"yyyy")"#, "NULL"),
];

#[test]
fn date_and_time() {
    check(DATE_AND_TIME);
}

const DIRECTORY: &[Case] = &[
    (r"DNComponent(CRef([dn]),1)", r#""Joe""#),
    (r"DNComponent([dn],2)", r#""Atlanta""#),
    (r"DNComponent(CRef([dn]),9)", "dn-index-out-of-bounds…"),
    (r"DNComponent(CRef([dn]),0)", "dn-index-out-of-bounds…"),
    (r"DNComponentRev(CRef([dn]),3)", r#""US""#),
    (r#"DNComponentRev(CRef([dn]),1,"DC")"#, r#""US""#),
    (r"DNComponentRev(CRef([dn]),1,DC)", r#""US""#),
    (r"DNComponentRev(CRef([dn]),1)", r#""com""#),
    (r#"DNComponent(CRef("CN=Joe\\0ACNF:12,DC=x"),1)"#, r#""Joe\\0ACNF:12""#),
    (r#"DNComponent(CRef("CN=a+SN=b,DC=x"),1)"#, r#""a""#),
    (r#"EscapeDNComponent("cn=" & "Smith, J") & "," & %Forest.LDAP%"#, r#""cn=Smith\\, J,DC=contoso,DC=com""#),
];

#[test]
fn directory() {
    check(DIRECTORY);
}

const EVALUATION: &[Case] = &[
    (r"IsBitSet(&HF,4)", "True"),
    (r"IsBitSet(&HF,16)", "False"),
    (r#"IsDate("2001-02-30")"#, "False"),
    (r#"IsDate("2001-02-28")"#, "True"),
    (r#"IsEmpty("")"#, "True"),
    (r"IsEmpty([empty])", "True"),
    (r"IsEmpty([missing])", "False"),
    (r#"IsGuid("00112233-4455-6677-8899-aabbccddeeff")"#, "True"),
    (r#"IsGuid("00112233445566778899aabbccddeeff")"#, "False"),
    (r"IsNull([displayName])", "False"),
    (r"IsNull([missing])", "True"),
    (r"IsNull([empty])", "False"),
    (r"IsNullOrEmpty([empty])", "True"),
    (r"IsNullOrEmpty([missing])", "True"),
    (r"IsNullOrEmpty([proxyAddresses])", "False"),
    (r"IsNullOrEmpty(NULL)", "True"),
    (r#"IsNumeric("12a")"#, "False"),
    (r#"IsNumeric("12")"#, "True"),
    (r"IsPresent([zero])", "True"),
    (r"IsPresent([off])", "True"),
    (r"IsPresent([empty])", "False"),
    (r"IsPresent([missing])", "False"),
    (r"IsPresent([member])", "True"),
    (r"IsNull([member])", "False"),
    (r#"IsPresent(Trim("  "))"#, "False"),
    (r"IsString([displayName])", "True"),
    (r"IsString([octets])", "False"),
    (r"IsString(5)", "True"),
    (r"IsString([missing])", "False"),
];

#[test]
fn evaluation() {
    check(EVALUATION);
}

const MATH: &[Case] = &[
    (r"BitAnd(&HF, &HF7)", "7"),
    (r"BitAnd(-2147483646, -2147483648)", "-2147483648"),
    (r"CBool(BitAnd([groupType], -2147483648))", "True"),
    (r"CBool(BitAnd([distribution], -2147483648))", "False"),
    (r"BitAnd([missing], 1)", "NULL"),
    (r"BitAnd([missing], 1) > 0", "False"),
    (r"BitOr(&HF0,&H0F)", "255"),
    (r"RandomNum(5,5)", "5"),
    (r"RandomNum(6,5)", "expression-argument…"),
    (r"&HFFFFFFFFFFFFFFFF", "-1"),
];

#[test]
fn math() {
    check(MATH);
    let bench = Bench::new();
    for _ in 0..50 {
        let number: i64 = bench.show("RandomNum(100,999)").parse().unwrap();
        assert!((100..=999).contains(&number));
    }
}

const MULTI_VALUED: &[Case] = &[
    (r#"IIF(Contains([proxyAddresses],"SMTP:")>0,"yes",Error("No primary SMTP address found."))"#, r#""yes""#),
    (r#"Contains([proxyAddresses],"SMTP:")"#, "1"),
    (r#"Contains([proxyAddresses],"jd@")"#, "2"),
    (r#"Contains([proxyAddresses],"Smtp:")"#, "0"),
    (r#"Contains([proxyAddresses],"Smtp:",CaseInsensitive)"#, "1"),
    (r#"Contains([member],"CN=object 6,DC=example,DC=org")"#, "2"),
    (r#"Contains([member],"object 6")"#, "0"),
    (r#"Contains([missing],"x")"#, "0"),
    (r#"Count(Split("a,b",","))"#, "2"),
    (r"Count([missing])", "0"),
    (r"Count([member])", "3"),
    (r#"ValueCount("member")"#, "3"),
    (r#"ValueCount("missing")"#, "0"),
    (r#"Mid(Item([proxyAddresses],Contains([proxyAddresses],"SMTP:")),6)"#, r#""john.doe@contoso.com""#),
    (r"Item([proxyAddresses],0)", "expression-argument…"),
    (r"Item([proxyAddresses],3)", "expression-argument…"),
    (r"ItemOrNull([proxyAddresses],3)", "NULL"),
    (r"ItemOrNull([proxyAddresses],2)", r#""smtp:jd@contoso.com""#),
    (r#"Join([proxyAddresses],",")"#, r#""SMTP:john.doe@contoso.com,smtp:jd@contoso.com""#),
    (r#"Join(Split("a,b",","))"#, r#""a b""#),
    (r#"Join(Split("a,b",","),"")"#, r#""ab""#),
    (r#"RemoveDuplicates(Split("a,b,a",","))"#, r#"{"a", "b"}"#),
    (r#"RemoveDuplicates(Split("a,b,c,d,e,f,g,h,i,j,a,J",","))"#, r#"{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "J"}"#),
    (r"RemoveDuplicates(Trim([padded]))", r#""a""#),
    (r"RemoveDuplicates([missing])", "NULL"),
    (r#"Split("SMTP:john.doe@contoso.com,smtp:jd@contoso.com",",")"#, r#"{"SMTP:john.doe@contoso.com", "smtp:jd@contoso.com"}"#),
    (r#"Split("a,b,c",",",2)"#, r#"{"a", "b,c"}"#),
    (r#"Split("a",";;")"#, "expression-argument…"),
    (r#"Split(NULL,",")"#, "NULL"),
];

#[test]
fn multi_valued() {
    check(MULTI_VALUED);
}

const PROGRAM_FLOW: &[Case] = &[
    (r#"IIF(IsPresent([alias]),[alias],Error("AccountName is required"))"#, r#""joe""#),
    (
        r#"IIF(IsPresent([missing]),[alias],Error("AccountName is required"))"#,
        "sync-rule-error-function-triggered: AccountName is required",
    ),
    (r#"IIF([employeeType]="Intern","t-" & [alias],[alias])"#, r#""t-joe""#),
    (r#"IIF(NULL,"a","b")"#, r#""b""#),
    (r#"Switch([city]="London","English",[city]="Rome","Italian",True,Error("Unknown city"))"#, r#""Italian""#),
    (r#"Switch([city]="Oslo","Norwegian",True,Error("Unknown city"))"#, "sync-rule-error-function-triggered: Unknown city"),
    (r#"Switch([city]="Oslo","Norwegian")"#, "NULL"),
    (r#"Switch(True,"a",Item([alias],9)="x","b")"#, "expression-argument…"),
    (r#"Switch(True,NULL,True,"b")"#, "NULL"),
    (r#"Select($item,[otherPhone],Replace($item,"-",""))"#, r#"{"12", "345", "6"}"#),
    (r"Select($item,[otherPhone],IIF(Len($item)>1,$item,NULL))", r#"{"1-2", "3-4-5"}"#),
    (r#"Where($item,[otherPhone],InStr($item,"-")>0)"#, r#"{"1-2", "3-4-5"}"#),
    (r"Where($item,[otherPhone],False)", "NULL"),
    (r"With($c,Where($item,[otherPhone],Len($item)=1),IIF(Count($c)>0,$c,NULL))", r#""6""#),
    (r"With($a,1,With($b,2,$a+$b))", "3"),
    (r"With($a,1,With($a,2,$a))", "2"),
    (r#"RemoveDuplicates(Trim(ImportedValue("proxyAddresses")))"#, r#""smtp:imported@x""#),
    (r"IIF(IsNull([missing]),IgnoreThisFlow,[missing])", "IgnoreThisFlow"),
    (r"Switch(True,AuthoritativeNull)", "AuthoritativeNull"),
    (r"With($a,1,IgnoreThisFlow)", "IgnoreThisFlow"),
];

#[test]
fn program_flow() {
    check(PROGRAM_FLOW);
}

const TEXT: &[Case] = &[
    (r#"InStr("The quick brown fox","quick")"#, "5"),
    (r#"InStr("repEated","e",3,vbBinaryCompare)"#, "7"),
    (r#"InStr("repEated","e",3,"vbTextCompare")"#, "4"),
    (r#"InStr("abc","")"#, "1"),
    (r#"InStr("abc","c",4)"#, "0"),
    (r#"InStr("äöü","ü")"#, "3"),
    (r#"InStr("abc","a",0)"#, "expression-argument…"),
    (r#"InStr([missing],"a")"#, "0"),
    (r#"InStrRev("abbcdbbbef","bb")"#, "7"),
    (r#"InStrRev("abbcdbbbef","bb",6)"#, "2"),
    (r#"InStrRev("abc","x")"#, "0"),
    (r#"LCase("TeSt")"#, r#""test""#),
    (r#"UCase("TeSt")"#, r#""TEST""#),
    (r#"Left("John Doe", 3)"#, r#""Joh""#),
    (r#"Left("John", 0)"#, r#""""#),
    (r#"Left("John", -1)"#, r#""John""#),
    (r#"Left("John", 9)"#, r#""John""#),
    (r#"Left("Łódź", 2)"#, r#""Łó""#),
    (r"Left([missing], 3)", r#""""#),
    (r#"Right("John Doe", 3)"#, r#""Doe""#),
    (r#"Right("Łódź", 2)"#, r#""dź""#),
    (r#"Right("John", -1)"#, r#""John""#),
    (r#"Len("John Doe")"#, "8"),
    (r#"Len("Łódź")"#, "4"),
    (r"Len([octets])", "12"),
    (r"Len([missing])", "0"),
    (r#"Mid("John Doe",3,5)"#, r#""hn Do""#),
    (r#"Mid("John Doe",6,999)"#, r#""Doe""#),
    ("CNum(Mid(CBin(770,2),2,1))", "3"),
    ("CNum(Mid(CBin(770,2),1,0) & CBin(1,1) & CBin(2,1))", "513"),
    ("CNum(Mid(CBin(770,2),9,1))", "770"),
    (r#"Mid("John Doe",6)"#, r#""Doe""#),
    (r#"Mid("John Doe",3,0)"#, r#""""#),
    (r#"Mid("John Doe",99,2)"#, r#""John Doe""#),
    (r#"Mid("John Doe",0,2)"#, r#""John Doe""#),
    (r#"Mid("John Doe",3,-1)"#, r#""John Doe""#),
    (r#"LTrim(" Test ")"#, r#""Test ""#),
    (r#"RTrim(" Test ")"#, r#"" Test""#),
    (r#"Trim(" Test ")"#, r#""Test""#),
    (r"Trim([missing])", "NULL"),
    (r#"PadLeft("User",10,"0")"#, r#""000000User""#),
    (r#"PadRight("User",10,"0")"#, r#""User000000""#),
    (r#"PadLeft("User",2,"0")"#, r#""User""#),
    (r#"PadLeft(NULL,2,"0")"#, r#""""#),
    (r#"PadLeft("User",10,"00")"#, "expression-argument…"),
    (r#"PadLeft("User",9999999999,"0")"#, "expression-argument…"),
    (r#"PCase("TEsT")"#, r#""Test""#),
    (r#"PCase(LCase("TEST"))"#, r#""Test""#),
    (r#"PCase("TEST")"#, r#""TEST""#),
    (r#"PCase("john DOE mcKay")"#, r#""John DOE Mckay""#),
    (r#"Replace([address],"\r\n",", ")"#, r#""Street 1, Town""#),
    (r#"Replace("aXbX","X","")"#, r#""ab""#),
    (r#"Replace("ab","","x")"#, r#""ab""#),
    (r#"Replace("ab","B","x")"#, r#""ab""#),
    (r#"ReplaceChars("Räksmörgås", "Å:A,Ä:A,Ö:O,å:a,ä:a,ö:o")"#, r#""Raksmorgas""#),
    (r#"ReplaceChars("O’Neil","’:")"#, r#""ONeil""#),
    (r#"ReplaceChars("x","ö,o")"#, "expression-argument…"),
    (r#"ReplaceChars("x","ab:o")"#, "expression-argument…"),
    (r#"Word("The quick brown fox",3," ")"#, r#""brown""#),
    (r#"Word("This,string!has&many separators",3,",!&#")"#, r#""has""#),
    (r#"Word([userPrincipalName],1,"@") & "@contosotest.com""#, r#""joe@contosotest.com""#),
    (r#"Word("a",2,"@")"#, r#""""#),
    (r#"Word("a",0,"@")"#, r#""""#),
    (r#"Word("a@@b",2,"@")"#, r#""""#),
    (r"Len(Guid())", "36"),
    (r"IsGuid(GUID())", "True"),
];

#[test]
fn text_functions() {
    check(TEXT);
    let bench = Bench::new();
    assert_ne!(bench.show("Guid()"), bench.show("Guid()"));
}

#[test]
fn three_levels_from_left_to_right() {
    check(&[
        ("1+2*3", "9"),
        ("2+3*4", "20"),
        ("2*(5+3)", "16"),
        ("2*5+3", "13"),
        ("7/2", "3"),
        ("-7/2", "-3"),
        ("10-2-3", "5"),
        ("1/0", "expression-argument: division by zero"),
        ("9223372036854775807+1", "expression-argument…"),
        ("True || False = False", "True"),
        ("False && True || True", "True"),
        ("1+1 = 2", "True"),
        (r#""a" & "b" = "AB""#, "True"),
        (r#""a" & 1+1"#, "expression-type-mismatch…"),
        (r#"IsPresent([missing]) || IsPresent([empty]) = False || [alias] = "x""#, "True"),
        (r#""say ""hi"" \\ \n""#, r#""say \"hi\" \\ \\n""#),
        ("CRLF", r#""\r\n""#),
        ("-[number]", "-42"),
    ]);
    // Guards: the right side is not evaluated when the left one decides.
    check(&[
        ("[zero] > 0 && Item([alias],9) = \"x\"", "False"),
        ("[zero] = 0 || Item([alias],9) = \"x\"", "True"),
        ("[zero] = 0 && Item([alias],9) = \"x\"", "expression-argument…"),
    ]);
}

#[test]
fn nothing_goes_through_comparisons_and_operators() {
    check(&[
        ("NULL = NULL", "True"),
        (r#"NULL = "x""#, "False"),
        (r#"NULL <> "x""#, "True"),
        ("NULL > 1", "False"),
        ("NULL <= 1", "False"),
        ("[missing] = [missing]", "True"),
        (r#"[missing] & "x""#, r#""x""#),
        (r#""x" & [missing]"#, r#""x""#),
        ("[missing] & [missing]", "NULL"),
        ("[missing] + 1", "NULL"),
        ("-[missing]", "NULL"),
        ("[missing] && True", "False"),
        ("[missing] || True", "True"),
    ]);
    // Per function: what a missing first argument gives.
    for (call, expected) in [
        ("CBool(x)", "False"),
        ("CDate(x)", "NULL"),
        ("CGuid(x)", "NULL"),
        ("CNum(x)", "NULL"),
        ("CRef(x)", "NULL"),
        ("CStr(x)", "NULL"),
        ("ConvertFromBase64(x)", "NULL"),
        ("ConvertToBase64(x)", "NULL"),
        ("ConvertFromUTF8Hex(x)", "NULL"),
        ("ConvertToUTF8Hex(x)", "NULL"),
        ("StringFromGuid(x)", "NULL"),
        ("StringFromSid(x)", "NULL"),
        ("CBin(x,1)", "NULL"),
        ("Thumbprint(x)", "NULL"),
        ("DateAdd(\"d\",1,x)", "NULL"),
        ("DateFromNum(x)", "NULL"),
        ("NumFromDate(x)", "NULL"),
        ("FormatDateTime(x,\"yyyy\")", "NULL"),
        ("DNComponent(x,1)", "NULL"),
        ("DNComponentRev(x,1)", "NULL"),
        ("EscapeDNComponent(x)", "NULL"),
        ("IsBitSet(x,1)", "False"),
        ("IsDate(x)", "False"),
        ("IsEmpty(x)", "False"),
        ("IsGuid(x)", "False"),
        ("IsNull(x)", "True"),
        ("IsNullOrEmpty(x)", "True"),
        ("IsNumeric(x)", "False"),
        ("IsPresent(x)", "False"),
        ("IsString(x)", "False"),
        ("BitAnd(x,1)", "NULL"),
        ("BitOr(x,1)", "NULL"),
        ("Contains(x,\"a\")", "0"),
        ("Count(x)", "0"),
        ("ItemOrNull(x,1)", "NULL"),
        ("Join(x)", "NULL"),
        ("RemoveDuplicates(x)", "NULL"),
        ("Split(x,\",\")", "NULL"),
        ("IIF(x,1,2)", "2"),
        ("Switch(x,1)", "NULL"),
        ("Select($i,x,$i)", "NULL"),
        ("Where($i,x,True)", "NULL"),
        ("InStr(x,\"a\")", "0"),
        ("InStrRev(x,\"a\")", "0"),
        ("LCase(x)", "\"\""),
        ("UCase(x)", "\"\""),
        ("Left(x,1)", "\"\""),
        ("Right(x,1)", "\"\""),
        ("Len(x)", "0"),
        ("Mid(x,1,1)", "\"\""),
        ("LTrim(x)", "NULL"),
        ("RTrim(x)", "NULL"),
        ("Trim(x)", "NULL"),
        ("PadLeft(x,3,\"0\")", "\"\""),
        ("PadRight(x,3,\"0\")", "\"\""),
        ("PCase(x)", "\"\""),
        ("Replace(x,\"a\",\"b\")", "\"\""),
        ("ReplaceChars(x,\"a:b\")", "\"\""),
        ("Word(x,1,\" \")", "\"\""),
    ] {
        check(&[(&call.replace("x)", "[missing])").replace("x,", "[missing],").replace("(x", "([missing]"), expected)]);
    }
}

#[test]
fn comparisons_between_types() {
    check(&[
        (r#"[alias] = "JOE""#, "True"),
        (r#"[alias] <> "JOE""#, "False"),
        (r#"[number] = "42""#, "True"),
        (r#"[number] > "5""#, "True"),
        (r"[numberText] < 10", "True"),
        (r#"[numberText] < "10""#, "False"),
        (r#"[flag] = "true""#, "True"),
        (r"[flag] = True", "True"),
        (r"[flag] = 1", "expression-type-mismatch…"),
        (r"[octets] = [objectSid]", "True"),
        (r#"[manager] = "cn=OBJECT 7,dc=example,dc=org""#, "True"),
    ]);
    let bench = Bench::new();
    let exact = compile(r#"[alias] = "JOE""#, &bench.resolve, Options { exact: true }).unwrap();
    let context = Context { source: &bench.object, run: &bench.run, connector: ConnectorId(1) };
    assert_eq!(exact.evaluate(&context).unwrap(), Val::One(Scalar::Boolean(false)));
}

#[test]
fn functions_and_operators_map_over_lists() {
    check(&[
        ("Left([otherPhone],2)", r#"{"1-", "3-", "6"}"#),
        (r#"[otherPhone] & "x""#, r#"{"1-2x", "3-4-5x", "6x"}"#),
        (r#"Word([proxyAddresses],1,"@") & "@contoso.com""#, r#"{"SMTP:john.doe@contoso.com", "smtp:jd@contoso.com"}"#),
        (r#"IIF(InStr([sips],"SIP:")=1,NULL,[sips])"#, r#"{"SMTP:b@x", "smtp:c@x"}"#),
        (r#"IIF(InStr([sips],"SIP:")=1 || InStr([sips],"smtp:")=1,NULL,[sips])"#, r#""SMTP:b@x""#),
        (r#"IIF(InStr([sips],"SIP:")=1,IgnoreThisFlow,[sips])"#, "expression-argument…"),
        ("[sips] & [sips]", r#"{"SIP:a@xSIP:a@x", "SMTP:b@xSMTP:b@x", "smtp:c@xsmtp:c@x"}"#),
        ("[sips] & [proxyAddresses]", "expression-argument: lists of 3 and 2 values cannot be combined value by value"),
        ("Left([sips], Len([proxyAddresses]))", "expression-argument…"),
        ("Left(Trim([large]), 5)", r#""xxxxx""#),
        ("Len([large])", "2002"),
        ("[large]", "large"),
    ]);
}

#[test]
fn parameters_stand_for_what_the_connector_says() {
    check(&[
        ("%Domain.FQDN%", r#""contoso.com""#),
        ("%Connector.ID%", r#""1""#),
        ("BitAnd([groupType], %ADS_GROUP_TYPE_SECURITY_ENABLED%) <> 0", "True"),
        ("%Forest.Netbios%", "NULL"),
    ]);
    let mut bench = Bench::new();
    bench.run.parameters.clear();
    assert_eq!(bench.show("%Domain.FQDN%"), r#""contoso.com""#, "from the object's own name");
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let bench = Bench::new();
    for (expression, line, column, message, hint) in [
        ("Lefft([alias],1)", 1, 1, "unknown function Lefft", Some("did you mean Left?")),
        ("left([alias],1)", 1, 1, "unknown function left", Some("did you mean Left?")),
        ("Trim([dispalyName])", 1, 6, "unknown attribute [dispalyName]", Some("did you mean [displayName]?")),
        ("%Domain.FQND%", 1, 1, "unknown parameter", Some("did you mean %Domain.FQDN%?")),
        ("\"a\" &\n  Trim(", 2, 8, "the expression ends where a value is expected", None),
        ("IIF(True, 1", 1, 4, "a bracket that is never closed", None),
        ("Left(\"a\")", 1, 1, "Left takes 2 arguments, here are 1", Some("Left(text, n)")),
        ("Trim(True)", 1, 6, "argument 1 of Trim takes text, this is a Boolean", None),
        ("Left(\"a\", \"b\")", 1, 11, "argument 2 of Left takes a number", None),
        ("\u{201c}a\u{201d}", 1, 1, "a typographic quotation mark", Some("straight")),
        ("'a'", 1, 1, "a single quotation mark", None),
        ("\"abc", 1, 1, "text without its closing quotation mark", None),
        ("[alias", 1, 1, "an attribute name without its closing bracket", None),
        ("1 == 2", 1, 3, "'=='", None),
        ("1 != 2", 1, 3, "'!='", None),
        ("alias", 1, 1, "the word alias has no meaning here", Some("[alias]")),
        ("Null", 1, 1, "the word Null has no meaning here", Some("did you mean NULL?")),
        ("Trim(IgnoreThisFlow)", 1, 6, "results of a whole flow", None),
        ("1 + AuthoritativeNull", 1, 5, "results of a whole flow", None),
        ("$x", 1, 1, "the variable $x is not bound here", None),
        ("With($x, 1, 2) & $x", 1, 18, "the variable $x is not bound here", None),
        ("With(1, 1, 2)", 1, 6, "the first argument of With is a variable", None),
        ("Switch(True, 1, False)", 1, 1, "Switch takes pairs", None),
        ("InStr(\"a\",\"b\",1,vbFooCompare)", 1, 17, "InStr knows no vbFooCompare here", None),
        ("ImportedValue([mail])", 1, 15, "takes the name of an attribute in quotation marks", None),
        ("99999999999999999999", 1, 1, "a number beyond 64 bits", None),
        ("1 2", 1, 3, "an operator is missing before this", None),
        ("(1))", 1, 4, "a closing bracket that nothing opened", None),
        ("IIF(\"a\",1,2)", 1, 5, "the condition of IIF must be True or False", None),
        ("[objectSid] & \"x\"", 1, 1, "octets has no text form", None),
        ("[objectSid] = 5", 1, 1, "octets cannot be compared with a number", None),
        ("#", 1, 1, "the character '#' has no meaning here", None),
    ] {
        let error = bench.compile(expression).expect_err(expression);
        assert!(error.message.contains(message), "{expression}: {}", error.message);
        assert_eq!((error.line, error.column), (line, column), "{expression}");
        if let Some(hint) = hint {
            assert!(error.hint.as_deref().unwrap_or("").contains(hint), "{expression}: {:?}", error.hint);
        }
    }
    let error = bench.compile("Trim([alias]) & Lefft([alias],1)").unwrap_err();
    assert_eq!(error.excerpt, "Trim([alias]) & Lefft([alias],1)\n                ^^^^^^^^^^^^^^^^");
    let outbound = Anything { names: Arc::clone(&bench.resolve.names), inbound: false };
    assert!(compile("ImportedValue(\"mail\")", &outbound, Options::default()).unwrap_err().message.contains("inbound"));
}

#[test]
fn a_fault_points_at_the_innermost_call() {
    let bench = Bench::new();
    let expression = bench.compile(r#""x" & Item([alias], 9)"#).unwrap();
    let context = Context { source: &bench.object, run: &bench.run, connector: ConnectorId(1) };
    let fault = expression.evaluate(&context).unwrap_err();
    assert_eq!(expression.point_at(&fault), "\"x\" & Item([alias], 9)\n      ^^^^^^^^^^^^^^^^");
}

#[test]
fn usual_forms_are_recognized() {
    let bench = Bench::new();
    let shape = |expression: &str| bench.compile(expression).unwrap().shape();
    let attribute = AttributeRef { id: bench.resolve.names.intern("alias"), kind: None };
    assert_eq!(shape("[alias]"), Shape::Direct(attribute));
    assert_eq!(shape("Trim( [alias] )"), Shape::Trim(attribute));
    assert_eq!(shape("Left(Trim([alias]),448)"), Shape::TrimCut(attribute));
    assert_eq!(shape("IIF(IsNullOrEmpty([alias]),NULL,Left(Trim(Item([alias],1)),448))"), Shape::FirstCut(attribute));
    for other in ["[dn]", "Trim([dn])", "Trim(Item([alias],1))", "Left(Trim([alias]),447)", "Trim(\"a\")", "Left([alias],448)"] {
        assert_eq!(shape(other), Shape::General, "{other}");
    }
    assert_eq!(
        shape("IIF(IsNullOrEmpty([mail]),NULL,Left(Trim(Item([alias],1)),448))"),
        Shape::General,
        "the test is of another attribute"
    );
}

#[test]
fn reads_and_volatility_are_known() {
    let bench = Bench::new();
    let expression = bench.compile(r#"IIF([a] = "x", ImportedValue("b"), Trim([a])) & Now()"#);
    assert!(expression.unwrap_err().message.contains("a date has no text form"));
    let expression = bench.compile(r#"IIF([a] = "x", ImportedValue("b"), Trim([a])) & Guid()"#).unwrap();
    assert_eq!(expression.reads().len(), 2);
    assert!(expression.is_volatile());
    assert!(bench.compile("1 + 2 * 3").unwrap().mixed_operators().is_some());
    assert!(bench.compile("1 + (2 * 3)").unwrap().mixed_operators().is_none());
    assert!(bench.compile("True && False || True").unwrap().mixed_operators().is_some());
    assert!(bench.compile("1 + 2 - 3").unwrap().mixed_operators().is_none());
}

#[test]
fn depth_and_length_are_bounded() {
    let bench = Bench::new();
    for deep in ["(".repeat(100_000), "-".repeat(60_000), "Trim(".repeat(13_000), "1+".repeat(20_000) + "1", "x".repeat(100_000)] {
        assert!(bench.compile(&deep).is_err());
    }
    assert!(bench.compile(&("(".repeat(100) + "1" + &")".repeat(100))).is_ok());
}

/// Text that looks like an expression, and text that does not.
fn expressions() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "IIF(",
        "Trim(",
        "Left(",
        "Switch(",
        "With(",
        "Item(",
        ")",
        ",",
        "[a]",
        "[b",
        "]",
        "%Domain.FQDN%",
        "%",
        "$x",
        "\"t\"",
        "\"",
        "1",
        "&HFF",
        "&",
        "&&",
        "||",
        "=",
        "<>",
        "<",
        "+",
        "-",
        "*",
        "/",
        " ",
        "\n",
        "True",
        "NULL",
        "IgnoreThisFlow",
        "ä",
        "\\",
        "“",
        "(",
        "0",
        "9223372036854775807",
        "Error(",
        "Split(",
        "CDate(",
        "FormatDateTime(",
    ]);
    prop_oneof![prop::collection::vec(pieces, 0..40).prop_map(|pieces| pieces.concat()), ".{0,60}", "[ -~äß\\n]{0,80}",]
}

/// Well-formed arithmetic and its value by the rule of the language: one priority, from left to right.
fn arithmetic() -> impl Strategy<Value = (String, Option<i64>)> {
    let leaf = (-50i64..50).prop_map(|number| (number.to_string(), Some(number)));
    leaf.prop_recursive(4, 24, 2, |inner| {
        (inner.clone(), prop::sample::select(vec!['+', '-', '*', '/']), inner).prop_map(|((left, l), operator, (right, r))| {
            let value = l.zip(r).and_then(|(l, r)| match operator {
                '+' => l.checked_add(r),
                '-' => l.checked_sub(r),
                '*' => l.checked_mul(r),
                _ => l.checked_div(r),
            });
            (format!("({left}{operator}{right})"), value)
        })
    })
}

proptest! {
    #[test]
    fn the_parser_never_panics_and_points_into_the_text(expression in expressions()) {
        let bench = Bench::new();
        match bench.compile(&expression) {
            Err(error) => prop_assert!(error.offset <= expression.len()),
            Ok(compiled) => {
                let context = Context { source: &bench.object, run: &bench.run, connector: ConnectorId(1) };
                if let Err(fault) = compiled.evaluate(&context) {
                    prop_assert!(!compiled.point_at(&fault).is_empty());
                }
            }
        }
    }

    #[test]
    fn arithmetic_is_what_it_says((expression, value) in arithmetic()) {
        let expected = value.map_or("expression-argument".to_owned(), |value| value.to_string());
        let shown = Bench::new().show(&expression);
        prop_assert!(if value.is_some() { shown == expected } else { shown.starts_with(&expected) }, "{} gave {}", expression, shown);
    }

    #[test]
    fn conversions_go_there_and_back(text in "[^\"\\\\]{0,40}") {
        let bench = Bench::new();
        for form in [
            format!("ConvertFromUTF8Hex(ConvertToUTF8Hex(\"{text}\"))"),
            format!("ConvertFromBase64(ConvertToBase64(\"{text}\"))"),
            format!("Join(Split(\"{text}\",\",\"),\",\")"),
        ] {
            prop_assert_eq!(bench.show(&form), format!("{text:?}"), "{}", form);
        }
    }

    #[test]
    fn dates_go_there_and_back(ticks in 0i64..2_650_467_743_999_999_999) {
        prop_assert_eq!(Bench::new().show(&format!("NumFromDate(DateFromNum({ticks}))")), ticks.to_string());
        let text = date::format(ticks, "yyyy-MM-ddTHH:mm:ss.fffffff");
        prop_assert_eq!(date::parse(&text), Some(ticks), "{}", text);
    }
}

const RSA: &str = include_str!("../../../fixtures/rules/certificate.base64");
const CURVE: &str = include_str!("../../../fixtures/rules/certificate-p256.base64");
const UPN: &str = "CertNameInfo(x, \"UpnName\", False)";

/// Certificate, call with `x` for it, and how the result begins.
const CERTIFICATES: &[(&str, &str, &str)] = &[
    (RSA, "IsCert(x)", "True"),
    (RSA, "CertThumbprint(x)", "\"4C64818C2BB60514943E3886B9305C2784F96C30\""),
    (RSA, "CertHashString(x)", "\"4C64818C2BB60514943E3886B9305C2784F96C30\""),
    (RSA, "CertSubject(x)", "\"CN=Ann Other, OU=Lab, O=\\\"Example, Inc.\\\", C=DE\""),
    (RSA, "CertSubjectNameDN(x)", "\"CN=Ann Other, OU=Lab, O=\\\"Example, Inc.\\\", C=DE\""),
    (RSA, "CertIssuer(x)", "\"CN=Ann Other, OU=Lab, O=\\\"Example, Inc.\\\", C=DE\""),
    (CURVE, "CertIssuerDN(x)", "\"CN=curve, DC=example, DC=org\""),
    (RSA, "CertIssuerOid(x)", "\"\""),
    (RSA, "CertSubjectNameOid(x)", "\"\""),
    (RSA, "CertSerialNumber(x)", "\"00C0FFEE\""),
    (RSA, "CertNotBefore(x)", "date 2026-11-21 04:09:57"),
    (RSA, "CertNotAfter(x)", "date 2126-10-28 04:09:57"),
    (RSA, "CertNotAfter(x) > Now()", "True"),
    (RSA, "CertVersion(x)", "\"3\""),
    (RSA, "CertFormat(x)", "\"X509\""),
    (RSA, "CertFriendlyName(x)", "\"\""),
    (RSA, "CertKeyAlgorithm(x)", "\"1.2.840.113549.1.1.1\""),
    (RSA, "CertKeyAlgorithmParams(x)", "\"0500\""),
    (CURVE, "CertKeyAlgorithmParams(x)", "\"06082A8648CE3D030107\""),
    (RSA, "CertPublicKeyOid(x)", "\"1.2.840.113549.1.1.1\""),
    (RSA, "CertPublicKeyParametersOid(x)", "\"1.2.840.113549.1.1.1\""),
    (CURVE, "CertPublicKeyParametersOid(x)", "\"1.2.840.10045.2.1\""),
    (RSA, "CertSignatureAlgorithmOid(x)", "\"1.2.840.113549.1.1.11\""),
    (RSA, "CertExtensionOids(x)", "{\"2.5.29.19\", \"2.5.29.15\"}"),
    (RSA, "CertNameInfo(x, \"SimpleName\", False)", "\"Ann Other\""),
    (RSA, "CertNameInfo(x, \"EmailName\", False)", "\"ann@example.org\""),
    (RSA, "CertNameInfo(x, \"DnsName\", False)", "\"ann.example.org\""),
    (RSA, "CertNameInfo(x, \"DnsFromAlternativeName\", False)", "\"ann.example.org\""),
    (RSA, "CertNameInfo(x, \"UrlName\", False)", "\"https://example.org/ann\""),
    (RSA, UPN, "\"ann@upn.example\""),
    (CURVE, UPN, "\"\""),
    (RSA, "CertNameInfo(x, \"EmailName\", True)", "\"\""),
    (RSA, "CertNameInfo(x, \"Name\", False)", "expression-argument"),
    ("AAAA", "CertSubject(x)", "expression-argument"),
    ("?", "CertSubject(x)", "expression-argument"),
    ("AAAA", "IsCert(x)", "False"),
    ("?", "IsCert(x)", "False"),
];

#[test]
fn certificates() {
    let bench = Bench::new();
    for (certificate, call, expected) in CERTIFICATES {
        let shown = bench.show(&call.replace("(x", &format!("(\"{certificate}\"")));
        assert!(shown.starts_with(expected), "{call}: {shown}");
    }
    check(&[("IsCert([octets])", "False"), ("IsCert([missing])", "False"), ("CertSubject([missing])", "NULL")]);
}

/// The index of the reference (specification: expression functions, section 5).
const INDEX: &str = "BitAnd BitOr CBin CBool CDate CertExtensionOids CertFormat CertFriendlyName CertHashString CertIssuer CertIssuerDN \
    CertIssuerOid CertKeyAlgorithm CertKeyAlgorithmParams CertNameInfo CertNotAfter CertNotBefore CertPublicKeyOid \
    CertPublicKeyParametersOid CertSerialNumber CertSignatureAlgorithmOid CertSubject CertSubjectNameDN CertSubjectNameOid \
    CertThumbprint CertVersion CGuid CNum Contains ConvertFromBase64 ConvertFromUTF8Hex ConvertToBase64 ConvertToUTF8Hex Count CRef \
    CStr DateAdd DateFromNum DNComponent DNComponentRev Error EscapeDNComponent FormatDateTime Guid IIF ImportedValue InStr InStrRev \
    IsBitSet IsCert IsDate IsEmpty IsGuid IsNull IsNullOrEmpty IsNumeric IsPresent IsString Item ItemOrNull Join LCase Left Len LTrim \
    Mid Now NumFromDate PadLeft PadRight PCase RandomNum RemoveDuplicates Replace ReplaceChars Right RTrim Select Split StringFromGuid \
    StringFromSid Switch Thumbprint Trim UCase ValueCount Where With Word";

#[test]
fn every_function_of_the_reference_has_cases() {
    let index: std::collections::BTreeSet<&str> = INDEX.split_whitespace().collect();
    assert_eq!(functions::names().collect::<std::collections::BTreeSet<_>>(), index, "the functions are those of the reference");
    assert_eq!((functions::names().count(), index.len()), (89, 89), "each once");
    let tables = [CONVERSION, DATE_AND_TIME, DIRECTORY, EVALUATION, MATH, MULTI_VALUED, PROGRAM_FLOW, TEXT];
    let cases = tables.into_iter().flatten().copied().chain(CERTIFICATES.iter().map(|(_, call, expected)| (*call, *expected)));
    let cases: Vec<Case> = cases.collect();
    let calls = |expression: &str, name: &str| {
        expression.match_indices(&format!("{name}(")).any(|(at, _)| !expression[..at].ends_with(|c: char| c.is_alphanumeric()))
    };
    // A case shows a function only when the function gives something; `Error` gives its error.
    let shows = |(expression, expected): &Case, name: &str| {
        calls(expression, name) && (name == "Error" || !["expression-", "dn-index"].iter().any(|error| expected.starts_with(error)))
    };
    let without: Vec<&str> = functions::names().filter(|name| !cases.iter().any(|case| shows(case, name))).collect();
    assert_eq!(without, Vec::<&str>::new(), "functions without a case");
}
