//! Dates of the expression language: ticks of 100 ns since 1601-01-01 UTC, as Active Directory counts them,
//! in the proleptic Gregorian calendar. Reading and writing of the forms that the original knows.

/// Ticks of one second.
pub(super) const SECOND: i64 = 10_000_000;
/// Ticks of one day.
pub(super) const DAY: i64 = 86_400 * SECOND;
/// Seconds from 1601-01-01 to 1970-01-01.
const UNIX_EPOCH: i64 = 11_644_473_600;
/// Days from 0000-03-01 to 1601-01-01, for the calendar arithmetic below.
const DAYS_TO_1601: i64 = 584_694;

const MONTHS: [&str; 12] =
    ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// A point in time taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Civil {
    year: i64,
    month: i64,
    day: i64,
    /// Ticks since midnight.
    rest: i64,
}

impl Civil {
    /// Takes ticks apart.
    pub(super) fn of(ticks: i64) -> Self {
        let days = ticks.div_euclid(DAY);
        // Eras of 400 years, years beginning in March, so that the leap day is the last of its year.
        let shifted = days + DAYS_TO_1601;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Self { year, month, day, rest: ticks.rem_euclid(DAY) }
    }

    fn ticks(self) -> i64 {
        let year = self.year - i64::from(self.month <= 2);
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let shifted_month = if self.month > 2 { self.month - 3 } else { self.month + 9 };
        let day_of_year = (153 * shifted_month + 2) / 5 + self.day - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        (era * 146_097 + day_of_era - DAYS_TO_1601) * DAY + self.rest
    }

    /// Months later, cut to the last day of the month. `None` outside the years 1 to 9999.
    pub(super) fn add_months(self, months: i64) -> Option<i64> {
        let index = (self.year * 12 + self.month - 1).checked_add(months)?;
        let (year, month) = (index.div_euclid(12), index.rem_euclid(12) + 1);
        if !(1..=9999).contains(&year) {
            return None;
        }
        Some(Self { year, month, day: self.day.min(days_in(year, month)), rest: self.rest }.ticks())
    }
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// True between the years 1 and 9999.
pub(super) fn in_range(ticks: i64) -> bool {
    let first = Civil { year: 1, month: 1, day: 1, rest: 0 }.ticks();
    let last = Civil { year: 9999, month: 12, day: 31, rest: DAY - 1 }.ticks();
    (first..=last).contains(&ticks)
}

/// Microseconds since 1970 as ticks.
pub(super) fn from_unix_microseconds(microseconds: i64) -> i64 {
    microseconds.saturating_mul(10).saturating_add(UNIX_EPOCH * SECOND)
}

/// Reads a date: ISO forms, `M/d/yyyy`, generalized time of LDAP; a time of day, `AM`/`PM`, a zone as `Z`,
/// `+hh[:mm]` or a signed count of hours. Without a zone it is UTC. `None` when it is no date.
pub(super) fn parse(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Some(ticks) = parse_generalized(text) {
        return Some(ticks);
    }
    let mut cursor = Cursor { rest: text };
    let first = cursor.digits(1, 4)?;
    let (year, month, day) = if cursor.eat('-') {
        let month = cursor.digits(1, 2)?;
        cursor.expect('-')?;
        (first, month, cursor.digits(1, 2)?)
    } else {
        cursor.expect('/')?;
        let second = cursor.digits(1, 2)?;
        cursor.expect('/')?;
        let third = cursor.digits(1, 4)?;
        // 2007/12/25 is understood, too.
        if first > 31 { (first, second, third) } else { (third, first, second) }
    };
    if !(1..=9999).contains(&year) || !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) {
        return None;
    }
    let mut rest = 0;
    let separated = cursor.eat('T') || cursor.eat('t') || cursor.blanks();
    let mut zone = 0;
    if separated && cursor.rest.starts_with(|c: char| c.is_ascii_digit()) {
        let mut hour = cursor.digits(1, 2)?;
        cursor.expect(':')?;
        let minute = cursor.digits(2, 2)?;
        let (mut second, mut fraction) = (0, 0);
        if cursor.eat(':') {
            second = cursor.digits(2, 2)?;
            if cursor.eat('.') || cursor.eat(',') {
                fraction = cursor.fraction()?;
            }
        }
        cursor.blanks();
        if let Some(afternoon) = cursor.half_day() {
            if !(1..=12).contains(&hour) {
                return None;
            }
            hour = hour % 12 + if afternoon { 12 } else { 0 };
            cursor.blanks();
        }
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        rest = (hour * 3600 + minute * 60 + second) * SECOND + fraction;
    }
    if !cursor.rest.is_empty() {
        zone = cursor.zone()?;
    }
    if !cursor.rest.is_empty() {
        return None;
    }
    Civil { year, month, day, rest }.ticks().checked_sub(zone)
}

/// `20140905081453[.0]Z`, the form of LDAP attributes (RFC 4517 section 3.3.13).
fn parse_generalized(text: &str) -> Option<i64> {
    if text.len() < 14 || !text.bytes().take(14).all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number = |from: usize, to: usize| text[from..to].parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
    let (hour, minute, second) = (number(8, 10)?, number(10, 12)?, number(12, 14)?);
    if year < 1 || !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut cursor = Cursor { rest: &text[14..] };
    let fraction = if cursor.eat('.') || cursor.eat(',') { cursor.fraction()? } else { 0 };
    let zone = if cursor.rest.is_empty() { 0 } else { cursor.zone()? };
    if !cursor.rest.is_empty() {
        return None;
    }
    let rest = (hour * 3600 + minute * 60 + second) * SECOND + fraction;
    Civil { year, month, day, rest }.ticks().checked_sub(zone)
}

struct Cursor<'t> {
    rest: &'t str,
}

impl Cursor<'_> {
    fn eat(&mut self, character: char) -> bool {
        let behind = self.rest.strip_prefix(character);
        self.rest = behind.unwrap_or(self.rest);
        behind.is_some()
    }

    fn expect(&mut self, character: char) -> Option<()> {
        self.eat(character).then_some(())
    }

    fn blanks(&mut self) -> bool {
        let before = self.rest.len();
        self.rest = self.rest.trim_start();
        self.rest.len() < before
    }

    fn digits(&mut self, least: usize, most: usize) -> Option<i64> {
        let count = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        if count < least || count > most {
            return None;
        }
        let (digits, rest) = self.rest.split_at(count);
        self.rest = rest;
        digits.parse().ok()
    }

    /// A fraction of a second in ticks; digits beyond the seventh are cut off.
    fn fraction(&mut self) -> Option<i64> {
        let count = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, rest) = self.rest.split_at(count);
        self.rest = rest;
        if digits.is_empty() {
            return None;
        }
        format!("{digits:0<7}").get(..7)?.parse().ok()
    }

    fn half_day(&mut self) -> Option<bool> {
        let word = self.rest.get(..2)?;
        let afternoon = if word.eq_ignore_ascii_case("AM") {
            false
        } else if word.eq_ignore_ascii_case("PM") {
            true
        } else {
            return None;
        };
        self.rest = &self.rest[2..];
        Some(afternoon)
    }

    /// The offset from UTC in ticks.
    fn zone(&mut self) -> Option<i64> {
        self.blanks();
        for name in ["Z", "z", "UTC", "GMT"] {
            if let Some(behind) = self.rest.strip_prefix(name)
                && behind.trim().is_empty()
            {
                self.rest = "";
                return Some(0);
            }
        }
        let sign = if self.eat('+') {
            1
        } else {
            self.expect('-')?;
            -1
        };
        let count = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        let (hours, minutes) = if count == 4 {
            let value = self.digits(4, 4)?;
            (value / 100, value % 100)
        } else {
            let hours = self.digits(1, 2)?;
            (hours, if self.eat(':') { self.digits(2, 2)? } else { 0 })
        };
        (hours <= 14 && minutes <= 59).then_some(sign * (hours * 3600 + minutes * 60) * SECOND)
    }
}

/// Writes a date by a custom format of .NET, English names, UTC.
pub(super) fn format(ticks: i64, format: &str) -> String {
    let civil = Civil::of(ticks);
    let weekday = usize::try_from((ticks.div_euclid(DAY) + 1).rem_euclid(7)).unwrap_or(0);
    let month = usize::try_from(civil.month - 1).unwrap_or(0);
    let (hour, minute, second) = (civil.rest / (3600 * SECOND), civil.rest / (60 * SECOND) % 60, civil.rest / SECOND % 60);
    let fraction = std::format!("{:07}", civil.rest % SECOND);
    let mut written = String::with_capacity(format.len() + 8);
    let characters: Vec<char> = format.chars().collect();
    let mut index = 0;
    while index < characters.len() {
        let character = characters[index];
        let run = characters[index..].iter().take_while(|other| **other == character).count();
        let padded = |value: i64, run: usize| std::format!("{value:0width$}", width = run.min(2));
        let text = match character {
            'y' if run <= 2 => padded(civil.year % 100, run),
            'y' => std::format!("{:0run$}", civil.year),
            'M' => match run {
                1 | 2 => padded(civil.month, run),
                3 => MONTHS[month][..3].to_owned(),
                _ => MONTHS[month].to_owned(),
            },
            'd' => match run {
                1 | 2 => padded(civil.day, run),
                3 => WEEKDAYS[weekday][..3].to_owned(),
                _ => WEEKDAYS[weekday].to_owned(),
            },
            'H' => padded(hour, run),
            'h' => padded((hour + 11) % 12 + 1, run),
            'm' => padded(minute, run),
            's' => padded(second, run),
            'f' => fraction[..run.min(7)].to_owned(),
            'F' => fraction[..run.min(7)].trim_end_matches('0').to_owned(),
            't' => (if hour < 12 { "AM" } else { "PM" })[..run.min(2)].to_owned(),
            'z' => match run {
                1 => "+0".to_owned(),
                2 => "+00".to_owned(),
                _ => "+00:00".to_owned(),
            },
            'K' => {
                index += 1;
                written.push('Z');
                continue;
            }
            '\'' | '"' => {
                let length = characters[index + 1..].iter().take_while(|other| **other != character).count();
                written.extend(&characters[index + 1..index + 1 + length]);
                index += length + 2;
                continue;
            }
            '\\' => {
                written.extend(characters.get(index + 1));
                index += 2;
                continue;
            }
            other => {
                written.push(other);
                index += 1;
                continue;
            }
        };
        written.push_str(&text);
        index += run;
    }
    written
}
