//! Dates and times as people write them (ISO 8601), for every number a file may hold.

const DAY_MICROS: i64 = 86_400_000_000;

/// `2020-01-31` for days since 1970-01-01, in the Gregorian calendar before it too.
pub(super) fn date(days: i64) -> String {
    // Shift to 0000-03-01, so that the leap day ends a year; eras of 400 years are all alike
    // (H. Hinnant, "chrono-compatible low-level date algorithms").
    let shifted = days.saturating_add(719_468);
    let (era, day) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, (month + 2) % 12 + 1);
    let year = year + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// `23:59:59.5` for microseconds since midnight.
pub(super) fn clock(micros: i64) -> String {
    let (seconds, fraction) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let whole = format!("{hours:02}:{minutes:02}:{seconds:02}");
    if fraction == 0 {
        return whole;
    }
    format!("{whole}.{}", format!("{fraction:06}").trim_end_matches('0'))
}

/// `2020-01-31T23:59:59.5Z` for microseconds since 1970.
pub(super) fn instant(micros: i64) -> String {
    let (days, rest) = (micros.div_euclid(DAY_MICROS), micros.rem_euclid(DAY_MICROS));
    format!("{}T{}Z", date(days), clock(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_the_calendar() {
        let cases = [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (59, "1970-03-01"),
            (11_016, "2000-02-29"),
            (18_262, "2020-01-01"),
            (18_321, "2020-02-29"),
            (-719_528, "0000-01-01"),
            (2_932_896, "9999-12-31"),
        ];
        for (days, expected) in cases {
            assert_eq!(date(days), expected);
        }
        let far = [i64::MAX, i64::MIN, i64::from(i32::MAX)].map(date);
        assert!(far.iter().all(|date| date.len() < 32));
    }

    #[test]
    fn times_of_the_day_and_instants() {
        assert_eq!(clock(0), "00:00:00");
        assert_eq!(clock(86_399_500_000), "23:59:59.5");
        assert_eq!(instant(1), "1970-01-01T00:00:00.000001Z");
        assert_eq!(instant(-1), "1969-12-31T23:59:59.999999Z");
        assert_eq!(instant(1_577_836_800_000_000), "2020-01-01T00:00:00Z");
        assert!(instant(i64::MIN).ends_with('Z') && instant(i64::MAX).ends_with('Z'));
    }
}
