//! Limits the log lines about unauthenticated calls to a few per second, and logs how many were left out. Anybody can send
//! such calls without end, and must not fill the disk. Metrics count all of them.

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

/// The most lines per second about one address (IPv6: a /64 network), in each log. This is also the burst size.
const LINES_PER_ADDRESS: u32 = 10;
/// The most lines per second about all addresses together, in each log. This is also the burst size.
const LINES_IN_TOTAL: u32 = 100;
/// The most addresses that are remembered. Beyond it, the one that was idle longest is forgotten; the total limit still
/// applies.
const REMEMBERED: u64 = 10_000;
/// How long an idle address is remembered. By then its burst is full again.
const MEMORY: Duration = Duration::from_secs(10);
/// How often the number of lines left out is logged.
const LOG_EVERY: Duration = Duration::from_secs(5);

/// Decides which lines about unauthenticated calls are logged, and counts the others. There is one in a process.
#[derive(Debug)]
pub struct LogSampler<C: SharedClock = DefaultClock> {
    calls: Sample<C>,
    audit: Sample<C>,
}

/// A clock that every limiter has a copy of.
pub trait SharedClock: Clock + Clone + Send + Sync + 'static {}

impl<C: Clock + Clone + Send + Sync + 'static> SharedClock for C {}

/// The logs. Each has limits of its own: a flood of calls must not displace audit lines about invalid keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Log {
    /// One line for each call, or for each request of a gateway.
    Calls,
    /// The target `audit`.
    Audit,
}

type Limiter<C> = RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// The limits of one log, and the number of lines left out.
#[derive(Debug)]
struct Sample<C: SharedClock> {
    clock: C,
    total: Limiter<C>,
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

    /// Whether `log` takes another line about an unauthenticated call from `address`. If not, the line is counted. Without an
    /// address only the total limit applies.
    pub fn admits(&self, log: Log, address: Option<IpAddr>) -> bool {
        match log {
            Log::Calls => self.calls.admits(address),
            Log::Audit => self.audit.admits(address),
        }
    }

    /// Logs how many lines were left out since the last time, if any.
    pub fn log_left_out(&self) {
        let lines = self.calls.take_left_out();
        if lines > 0 {
            tracing::info!(lines, "lines about unauthenticated calls were left out");
        }
        let lines = self.audit.take_left_out();
        if lines > 0 {
            tracing::info!(target: "audit", event = "lines.left_out", lines, "audit");
        }
    }

    /// Calls [`log_left_out`](Self::log_left_out) at an interval. Never returns.
    pub async fn keep_logging(&self) {
        loop {
            tokio::time::sleep(LOG_EVERY).await;
            self.log_left_out();
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
            total: limiter(LINES_IN_TOTAL, &clock),
            clock,
            addresses,
            left_out: AtomicU64::new(0),
        }
    }

    fn admits(&self, address: Option<IpAddr>) -> bool {
        // The address first: lines above its limit must not count toward the total.
        let has_room = address.is_none_or(|address| {
            let make = || Arc::new(limiter(LINES_PER_ADDRESS, &self.clock));
            let address = self.addresses.get_with(network::of(address), make);
            address.check().is_ok()
        });
        let admits = has_room && self.total.check().is_ok();
        if !admits {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
        admits
    }

    fn take_left_out(&self) -> u64 {
        self.left_out.swap(0, Ordering::Relaxed)
    }
}

fn limiter<C: SharedClock>(lines_per_second: u32, clock: &C) -> Limiter<C> {
    let lines = NonZeroU32::new(lines_per_second).unwrap_or(NonZeroU32::MIN);
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

    /// How many of `lines` are taken.
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
        assert_eq!(
            taken(&sampler, v4(1), 1_000),
            10,
            "the burst is no larger after a pause"
        );
        assert_eq!(sampler.calls.take_left_out(), 4 * 990);
        assert_eq!(sampler.calls.take_left_out(), 0, "lines are counted once");
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
