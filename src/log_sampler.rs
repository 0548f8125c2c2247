//! Which lines about calls without a known caller are logged: a few a second, and now and then a count of the others. Anybody
//! can make such calls without end, and must not fill the disk with them. Metrics count them all.

use std::{
    net::IpAddr,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};
use moka::{policy::EvictionPolicy, sync::Cache};

use crate::network;

/// The most lines a second about one address (IPv6: a /64 network), in each log; after a rest, as many at once.
const LINES_OF_AN_ADDRESS: u32 = 10;
/// The most lines a second about all addresses together, in each log; after a rest, as many at once.
const LINES_IN_ALL: u32 = 100;
/// The most addresses that are remembered. Beyond it, who was idle longest is forgotten; the bound of all addresses together
/// still holds.
const REMEMBERED: u64 = 10_000;
/// How long an idle address is remembered: longer than it takes until it is like a new one.
const MEMORY: Duration = Duration::from_secs(10);
/// How often the log says how many lines were left out, when there were some.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// Decides which lines about calls without a known caller are logged, and counts the others. One for a process.
#[derive(Debug)]
pub struct LogSampler<C: SharedClock = DefaultClock> {
    calls: Sample<C>,
    audit: Sample<C>,
}

/// A clock that every bucket can have a copy of.
pub trait SharedClock: Clock + Clone + Send + Sync + 'static {}

impl<C: Clock + Clone + Send + Sync + 'static> SharedClock for C {}

/// The logs, which are sampled apart: a flood of calls must not displace what the audit log says of wrong keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Log {
    /// One line a call, or a request of a gateway.
    Calls,
    /// The target `audit`.
    Audit,
}

type Limiter<C> = RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// What one log takes, and what it was spared.
#[derive(Debug)]
struct Sample<C: SharedClock> {
    clock: C,
    in_all: Limiter<C>,
    addresses: Cache<IpAddr, Arc<Limiter<C>>>,
    left_out: AtomicU64,
}

impl Default for LogSampler {
    fn default() -> Self {
        Self::with_clock(&DefaultClock::default())
    }
}

impl<C: SharedClock> LogSampler<C> {
    fn with_clock(clock: &C) -> Self {
        let [calls, audit] = [(); 2].map(|()| Sample::new(clock.clone()));
        Self { calls, audit }
    }

    /// Whether `log` takes another line about a caller at `address` whom nobody knows. A line that it does not take is
    /// counted. Without an address only the bound of all together holds.
    pub fn admits(&self, log: Log, address: Option<IpAddr>) -> bool {
        match log {
            Log::Calls => self.calls.admits(address),
            Log::Audit => self.audit.admits(address),
        }
    }

    /// Logs how many lines were left out since it was last told, if any were.
    pub fn tell(&self) {
        let lines = self.calls.take_left_out();
        if lines > 0 {
            tracing::info!(lines, "lines about calls without a known caller were left out");
        }
        let lines = self.audit.take_left_out();
        if lines > 0 {
            tracing::info!(target: "audit", event = "lines.left_out", lines, "audit");
        }
    }

    /// Tells without end, now and then. What is counted after the last time is left to whoever ends this.
    pub async fn keep_telling(&self) {
        loop {
            tokio::time::sleep(TELL_EVERY).await;
            self.tell();
        }
    }
}

impl<C: SharedClock> Sample<C> {
    fn new(clock: C) -> Self {
        let addresses = Cache::builder()
            .max_capacity(REMEMBERED)
            .eviction_policy(EvictionPolicy::lru())
            .time_to_idle(MEMORY)
            .build();
        Self {
            in_all: limiter(LINES_IN_ALL, &clock),
            clock,
            addresses,
            left_out: AtomicU64::new(0),
        }
    }

    fn admits(&self, address: Option<IpAddr>) -> bool {
        // The address first: what one has too much of must take nothing from the others.
        let has_room = address.is_none_or(|address| {
            let make = || Arc::new(limiter(LINES_OF_AN_ADDRESS, &self.clock));
            let address = self.addresses.get_with(network::of(address), make);
            address.check().is_ok()
        });
        let admits = has_room && self.in_all.check().is_ok();
        if !admits {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
        admits
    }

    fn take_left_out(&self) -> u64 {
        self.left_out.swap(0, Ordering::Relaxed)
    }
}

fn limiter<C: SharedClock>(lines_a_second: u32, clock: &C) -> Limiter<C> {
    let lines = NonZeroU32::new(lines_a_second).unwrap_or(NonZeroU32::MIN);
    RateLimiter::direct_with_clock(Quota::per_second(lines), clock.clone())
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use governor::clock::FakeRelativeClock;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn sampler() -> (LogSampler<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        (LogSampler::with_clock(&clock), clock)
    }

    fn v4(number: u32) -> Option<IpAddr> {
        Some(Ipv4Addr::from_bits(number).into())
    }

    /// How many of so many lines are taken.
    fn taken(sampler: &LogSampler<FakeRelativeClock>, address: Option<IpAddr>, lines: usize) -> usize {
        (0..lines).filter(|_| sampler.admits(Log::Calls, address)).count()
    }

    #[test]
    fn an_address_has_ten_lines_a_second() {
        let (sampler, clock) = sampler();
        for _ in 0..3 {
            assert_eq!(taken(&sampler, v4(1), 1_000), 10);
            clock.advance(SECOND);
        }
        clock.advance(SECOND / 10);
        assert_eq!(taken(&sampler, v4(1), 1_000), 10, "no more than that after a rest");
        assert_eq!(sampler.calls.take_left_out(), 4 * 990);
        assert_eq!(sampler.calls.take_left_out(), 0, "what was told is not told again");
    }

    #[test]
    fn all_addresses_together_have_a_hundred() {
        let (sampler, clock) = sampler();
        let sum = |sampler: &_| (0..50).map(|number| taken(sampler, v4(number), 10)).sum::<usize>();
        assert_eq!(sum(&sampler), 100);
        clock.advance(SECOND);
        assert_eq!(sum(&sampler), 100);
        assert_eq!(sampler.calls.take_left_out(), 800);
    }

    #[test]
    fn one_address_takes_nothing_from_the_others() {
        let (sampler, _) = sampler();
        assert_eq!(taken(&sampler, v4(1), 10_000), 10);
        for other in 2..=10 {
            assert_eq!(taken(&sampler, v4(other), 10), 10);
        }
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let (sampler, _) = sampler();
        let of_network = |network: u128| {
            let host = move |host| Some(Ipv6Addr::from_bits((network << 64) | host).into());
            (0..100)
                .filter(|number| sampler.admits(Log::Calls, host(*number)))
                .count()
        };
        assert_eq!([of_network(1), of_network(2)], [10, 10]);
    }

    #[test]
    fn without_an_address_the_bound_of_all_holds() {
        let (sampler, _) = sampler();
        assert_eq!(taken(&sampler, None, 1_000), 100);
    }

    #[test]
    fn each_log_has_its_own() {
        let (sampler, _) = sampler();
        assert_eq!(taken(&sampler, v4(1), 100), 10);
        assert!(sampler.admits(Log::Audit, v4(1)));
        assert_eq!(sampler.audit.take_left_out(), 0);
    }
}
