//! From the kernel's monotonic time to what a clock on the wall says.

use std::{
    fmt, fs, mem,
    sync::OnceLock,
    time::{SystemTime, UNIX_EPOCH},
};

use nix::time::{ClockId, clock_gettime};

/// A moment, in nanoseconds since 1970 in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WallTime(u64);

/// How far `CLOCK_MONOTONIC` lags behind the wall clock. Taken anew for every batch of events: clocks are set, and
/// machines sleep.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    offset_ns: u64,
}

impl Clock {
    pub(crate) fn read() -> Self {
        Self { offset_ns: WallTime::now().0.saturating_sub(monotonic_ns()) }
    }

    /// Of a machine that was started at this second since 1970.
    #[cfg(test)]
    pub(crate) fn at_boot_of(seconds: u64) -> Self {
        Self { offset_ns: seconds * 1_000_000_000 }
    }

    pub(crate) fn wall_time(self, monotonic_ns: u64) -> WallTime {
        WallTime(self.offset_ns.saturating_add(monotonic_ns))
    }
}

/// `CLOCK_MONOTONIC` as the kernel itself reads it, for BPF and for perf: a time namespace has another one.
pub(crate) fn monotonic_ns() -> u64 {
    static OFFSET_NS: OnceLock<i64> = OnceLock::new();
    let offset_ns = OFFSET_NS.get_or_init(|| {
        fs::read_to_string("/proc/self/timens_offsets").ok().and_then(|text| monotonic_offset(&text)).unwrap_or(0)
    });
    read_ns(ClockId::CLOCK_MONOTONIC).saturating_add_signed(-offset_ns)
}

/// How far `CLOCK_BOOTTIME`, which /proc shows, is ahead of [`monotonic_ns`]: as long as the machine has been suspended, and
/// what a time namespace adds.
pub(crate) fn suspended_ns() -> u64 {
    // Whoever is interrupted between the two gets less.
    let ahead = || read_ns(ClockId::CLOCK_BOOTTIME).saturating_sub(monotonic_ns());
    ahead().max(ahead()).max(ahead())
}

/// Whether this process has the time namespace that /proc/self/timens_offsets is about: that of its children.
pub(crate) fn time_namespace_is_clear() -> bool {
    let [own, of_children] = ["time", "time_for_children"].map(|name| fs::read_link(format!("/proc/self/ns/{name}")));
    // Before Linux 5.6 there are none.
    own.ok() == of_children.ok()
}

/// What a time namespace adds to the kernel's monotonic clock: seconds and nanoseconds.
fn monotonic_offset(text: &str) -> Option<i64> {
    let mut words = text.lines().find_map(|line| line.strip_prefix("monotonic"))?.split_ascii_whitespace();
    let seconds: i64 = words.next()?.parse().ok()?;
    let ns: i64 = words.next()?.parse().ok()?;
    seconds.checked_mul(1_000_000_000)?.checked_add(ns)
}

fn read_ns(clock: ClockId) -> u64 {
    // Cannot fail for these clocks; 0 would only shift what is shown.
    clock_gettime(clock).map_or(0, |time| time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
}

impl WallTime {
    pub(crate) fn now() -> Self {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since_1970.as_nanos()).unwrap_or(u64::MAX))
    }

    fn seconds(self) -> u64 {
        self.0 / 1_000_000_000
    }

    /// RFC 3339 in UTC, always with microseconds: `2026-11-22T10:33:00.123456Z`.
    pub(crate) fn utc(self) -> impl fmt::Display {
        fmt::from_fn(move |f| {
            let (year, month, day) = date(self.seconds() / 86_400);
            let second = self.seconds() % 86_400;
            write!(
                f,
                "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:06}Z",
                second / 3600,
                second / 60 % 60,
                second % 60,
                self.0 / 1000 % 1_000_000
            )
        })
    }

    /// The time of day where this machine stands: `10:33:00.123`.
    pub(crate) fn local(self) -> impl fmt::Display {
        fmt::from_fn(move |f| {
            let (hour, minute, second) = local_time_of_day(self.seconds());
            write!(f, "{hour:02}:{minute:02}:{second:02}.{:03}", self.0 / 1_000_000 % 1000)
        })
    }
}

/// Year, month and day of a number of days since 1970-01-01, in the Gregorian calendar.
///
/// Counted from 1 March of the year 0, so that the leap day is the last of a year; 400 years have 146,097 days.
fn date(days_since_1970: u64) -> (u64, u64, u64) {
    let days = days_since_1970 + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // From March on, months of 31, 30, 31, 30, 31 days repeat: 153 days every five.
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

fn local_time_of_day(seconds: u64) -> (u64, u64, u64) {
    // A time_t, whose name libc deprecates on musl while its size there changes.
    let Ok(time) = seconds.try_into() else {
        return (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    };
    // SAFETY: all zeros is a valid tm; localtime_r reads `time` and writes `local`, both alive and ours alone.
    let local = unsafe {
        let mut local = mem::zeroed::<libc::tm>();
        libc::localtime_r(&time, &mut local);
        local
    };
    (local.tm_hour as u64, local.tm_min as u64, local.tm_sec as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utc_is_rfc_3339_with_microseconds() {
        for (ns, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_399_999_999_999, "2000-02-28T23:59:59.999999Z"),
            (951_782_400_000_001_999, "2000-02-29T00:00:00.000001Z"),
            (1_795_343_580_123_456_789, "2026-11-22T10:33:00.123456Z"),
            (4_107_542_400_000_000_000, "2100-03-01T00:00:00.000000Z"),
            (u64::MAX, "2554-07-21T23:34:33.709551Z"),
        ] {
            assert_eq!(WallTime(ns).utc().to_string(), text);
        }
    }

    #[test]
    fn this_machine_has_a_time() {
        assert_ne!(monotonic_ns(), 0);
        let clock = Clock::read();
        let [then, now] = [clock.wall_time(monotonic_ns()), WallTime::now()].map(WallTime::seconds);
        assert!(then.abs_diff(now) < 3600, "{then} {now}");
        // Time zones differ by quarters of an hour.
        let (hour, minute, second) = local_time_of_day(now);
        assert!(hour < 24 && minute % 15 == now / 60 % 15 && second == now % 60, "{hour}:{minute}:{second} at {now}");
    }

    #[test]
    fn a_time_namespace_is_taken_off() {
        assert_eq!(
            monotonic_offset("monotonic       86400         5\nboottime            0         0\n"),
            Some(86_400_000_000_005)
        );
        assert_eq!(monotonic_offset("monotonic          -1 500000000\n"), Some(-500_000_000));
        assert_eq!(monotonic_offset("boottime 0 0\n"), None);
        assert!(time_namespace_is_clear());
    }

    #[test]
    fn monotonic_time_is_moved_to_the_wall_clock() {
        assert_eq!(Clock { offset_ns: 5 }.wall_time(7), WallTime(12));
        assert_eq!(Clock { offset_ns: 5 }.wall_time(u64::MAX), WallTime(u64::MAX));
    }
}
