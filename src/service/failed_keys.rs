//! Limits invalid keys per address. Over the limit, only keys that are known to exist are looked up.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use moka::{policy::EvictionPolicy, sync::Cache};

use super::limits::{Bucket, LONGEST_MEMORY, Limit, REMEMBERED};
use crate::{domain::Error, duration::ceil_to_seconds, network};

/// How often the audit log reports one address that sent too many invalid keys.
const REPORT_EVERY: Duration = Duration::from_secs(60);

/// An invalid key, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FailedAttempt {
    /// It is within the limit.
    Counted,
    /// It reached the limit, which has to be reported.
    Last,
    /// It is over the limit.
    OverLimit {
        /// How long until another one is allowed, in whole seconds.
        retry_after: Duration,
    },
}

/// The invalid keys of each address.
#[derive(Debug)]
pub(super) struct FailedKeys {
    limit: Option<Limit>,
    addresses: Cache<IpAddr, Arc<Address>>,
}

#[derive(Debug)]
struct Address {
    /// Invalid keys.
    failures: Bucket,
    /// Look-ups of keys that had not worked before. They are counted before the look-up: otherwise many at once would start
    /// before the first one fails.
    look_ups: Bucket,
    lockout: Mutex<Lockout>,
}

/// Until when keys of an address are rejected without a look-up.
#[derive(Debug, Default)]
struct Lockout {
    until: Option<Instant>,
    reported: Option<Instant>,
}

impl FailedKeys {
    pub(super) fn new(limit: Option<Limit>) -> Self {
        let memory = limit.map(|limit| limit.window()).unwrap_or_default();
        let addresses = Cache::builder()
            .max_capacity(REMEMBERED)
            .eviction_policy(EvictionPolicy::lru())
            .time_to_idle(memory.max(REPORT_EVERY).min(LONGEST_MEMORY))
            .build();
        Self { limit, addresses }
    }

    /// Whether a key from this address may be looked up if it is not known to exist.
    ///
    /// # Errors
    /// [`Error::TooManyFailedKeys`].
    pub(super) fn admit(&self, address: Option<IpAddr>) -> Result<(), Error> {
        let known = address.and_then(|address| self.addresses.get(&network::of(address)));
        let until = known.and_then(|known| known.lockout().until);
        let wait = until.and_then(|until| until.checked_duration_since(Instant::now()));
        match wait {
            Some(wait) if !wait.is_zero() => Err(Error::TooManyFailedKeys {
                retry_after: ceil_to_seconds(wait),
            }),
            _ => Ok(()),
        }
    }

    /// Like [`admit`](Self::admit), and counts a look-up.
    ///
    /// # Errors
    /// [`Error::TooManyFailedKeys`].
    pub(super) fn admit_look_up(&self, address: Option<IpAddr>) -> Result<(), Error> {
        self.admit(address)?;
        let Some((address, _)) = self.address(address) else {
            return Ok(());
        };
        let counted = address.look_ups.take(1);
        counted.map(drop).map_err(|shortage| Error::TooManyFailedKeys {
            retry_after: ceil_to_seconds(shortage.wait),
        })
    }

    /// Counts an invalid key from this address. An unknown address has no limit.
    pub(super) fn count(&self, address: Option<IpAddr>) -> FailedAttempt {
        let Some((address, limit)) = self.address(address) else {
            return FailedAttempt::Counted;
        };
        match address.failures.take(1) {
            Ok(0) => {
                if address.lock_out(limit.interval()) {
                    FailedAttempt::Last
                } else {
                    FailedAttempt::Counted
                }
            }
            Ok(_left) => FailedAttempt::Counted,
            Err(shortage) => {
                address.lock_out(shortage.wait);
                let retry_after = ceil_to_seconds(shortage.wait);
                FailedAttempt::OverLimit { retry_after }
            }
        }
    }

    /// The state of an address and its limit, if there is one.
    fn address(&self, address: Option<IpAddr>) -> Option<(Arc<Address>, Limit)> {
        let (address, limit) = (address?, self.limit?);
        let address = self.addresses.get_with(network::of(address), || {
            Arc::new(Address {
                failures: Bucket::new(limit),
                look_ups: Bucket::new(limit),
                lockout: Mutex::default(),
            })
        });
        Some((address, limit))
    }
}

impl Address {
    /// Locks the address out for `wait`, and returns whether that has to be reported.
    fn lock_out(&self, wait: Duration) -> bool {
        let now = Instant::now();
        let mut lockout = self.lockout();
        lockout.until = now.checked_add(wait);
        let is_due = lockout
            .reported
            .is_none_or(|reported| now.duration_since(reported) >= REPORT_EVERY);
        if is_due {
            lockout.reported = Some(now);
        }
        is_due
    }

    fn lockout(&self) -> MutexGuard<'_, Lockout> {
        // Nothing panics while it holds the lock.
        self.lockout.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed_keys(burst: u32) -> FailedKeys {
        FailedKeys::new(Limit::new(Duration::from_secs(3_600), burst))
    }

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().expect("an address"))
    }

    #[test]
    fn an_address_is_locked_out_at_its_limit() {
        let failed = failed_keys(2);
        let peer = address("192.0.2.1");
        assert!(failed.admit(peer).is_ok());
        assert_eq!(failed.count(peer), FailedAttempt::Counted);
        assert!(failed.admit(peer).is_ok());
        assert_eq!(failed.count(peer), FailedAttempt::Last);
        assert!(failed.admit(peer).is_err());
        // A key that was being looked up already.
        assert!(matches!(failed.count(peer), FailedAttempt::OverLimit { .. }));
        assert!(failed.admit(address("192.0.2.2")).is_ok());
    }

    #[test]
    fn look_ups_are_counted_before_they_fail() {
        let failed = failed_keys(2);
        let peer = address("192.0.2.1");
        assert!(failed.admit_look_up(peer).is_ok());
        assert!(failed.admit_look_up(peer).is_ok());
        assert!(failed.admit_look_up(peer).is_err());
        assert!(failed.admit_look_up(address("192.0.2.2")).is_ok());
        // None of them has failed yet.
        assert!(failed.admit(peer).is_ok());
        assert_eq!(failed.count(peer), FailedAttempt::Counted);
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let failed = failed_keys(1);
        assert_eq!(failed.count(address("2001:db8::1")), FailedAttempt::Last);
        assert!(failed.admit(address("2001:db8::ffff:ffff:ffff:ffff")).is_err());
        assert!(failed.admit(address("2001:db8:0:1::1")).is_ok());
    }

    #[test]
    fn without_an_address_or_a_limit_nothing_is_counted() {
        for (failed, peer) in [(failed_keys(1), None), (FailedKeys::new(None), address("192.0.2.1"))] {
            for _ in 0..3 {
                assert_eq!(failed.count(peer), FailedAttempt::Counted);
                assert!(failed.admit_look_up(peer).is_ok());
            }
        }
    }

    #[test]
    fn a_lockout_ends_when_a_token_is_back() {
        let failed = FailedKeys::new(Limit::new(Duration::from_millis(1), 1));
        let peer = address("192.0.2.1");
        assert_eq!(failed.count(peer), FailedAttempt::Last);
        let start = Instant::now();
        while failed.admit(peer).is_err() {
            assert!(start.elapsed() < Duration::from_secs(10));
        }
        // It was reported a moment ago.
        assert_eq!(failed.count(peer), FailedAttempt::Counted);
    }
}
