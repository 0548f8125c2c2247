//! Wrong keys from one address: so many in a while, and then only keys that are known to exist are looked up.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use moka::{policy::EvictionPolicy, sync::Cache};

use super::limits::{Bucket, LONGEST_MEMORY, Limit, REMEMBERED};
use crate::{domain::Error, duration::ceil_to_seconds, network};

/// How often it is told of one address that it has shown too many wrong keys.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// What was taken by a wrong key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strike {
    /// One of those that are allowed.
    Counted,
    /// The last of those: it has to be told.
    Last,
    /// One more than that.
    Beyond {
        /// How long it takes until another one is allowed, in whole seconds.
        retry_after: Duration,
    },
}

/// The wrong keys of each address.
#[derive(Debug)]
pub(super) struct FailedKeys {
    limit: Option<Limit>,
    addresses: Cache<IpAddr, Arc<Address>>,
}

#[derive(Debug)]
struct Address {
    /// Keys that turned out wrong.
    bucket: Bucket,
    /// Keys that were looked up and had not worked before. Counted before the look-up: many at once would all begin before
    /// the first turns out wrong.
    look_ups: Bucket,
    shut: Mutex<Shut>,
}

/// Until when an address is not listened to.
#[derive(Debug, Default)]
struct Shut {
    until: Option<Instant>,
    told: Option<Instant>,
}

impl FailedKeys {
    pub(super) fn new(limit: Option<Limit>) -> Self {
        let memory = limit.map(|limit| limit.window()).unwrap_or_default();
        let addresses = Cache::builder()
            .max_capacity(REMEMBERED)
            .eviction_policy(EvictionPolicy::lru())
            .time_to_idle(memory.max(TELL_EVERY).min(LONGEST_MEMORY))
            .build();
        Self { limit, addresses }
    }

    /// Whether a key from this address may be judged that is not known to exist.
    ///
    /// # Errors
    /// [`Error::TooManyFailedKeys`].
    pub(super) fn admit(&self, address: Option<IpAddr>) -> Result<(), Error> {
        let known = address.and_then(|address| self.addresses.get(&network::of(address)));
        let until = known.and_then(|known| known.shut().until);
        let wait = until.and_then(|until| until.checked_duration_since(Instant::now()));
        match wait {
            Some(wait) if !wait.is_zero() => Err(Error::TooManyFailedKeys {
                retry_after: ceil_to_seconds(wait),
            }),
            _ => Ok(()),
        }
    }

    /// As [`admit`](Self::admit), for a key that has to be looked up: counts the look-up.
    ///
    /// # Errors
    /// [`Error::TooManyFailedKeys`].
    pub(super) fn admit_look_up(&self, address: Option<IpAddr>) -> Result<(), Error> {
        self.admit(address)?;
        let Some((address, _)) = self.address(address) else {
            return Ok(());
        };
        let counted = address.look_ups.take(1);
        counted.map(drop).map_err(|short| Error::TooManyFailedKeys {
            retry_after: ceil_to_seconds(short.wait),
        })
    }

    /// Counts a wrong key from this address. An address that is not known has no limit.
    pub(super) fn strike(&self, address: Option<IpAddr>) -> Strike {
        let Some((address, limit)) = self.address(address) else {
            return Strike::Counted;
        };
        match address.bucket.take(1) {
            Ok(0) => {
                if address.shut_for(limit.interval()) {
                    Strike::Last
                } else {
                    Strike::Counted
                }
            }
            Ok(_left) => Strike::Counted,
            Err(short) => {
                address.shut_for(short.wait);
                let retry_after = ceil_to_seconds(short.wait);
                Strike::Beyond { retry_after }
            }
        }
    }

    /// What is known of an address that has a limit, and that limit.
    fn address(&self, address: Option<IpAddr>) -> Option<(Arc<Address>, Limit)> {
        let (address, limit) = (address?, self.limit?);
        let address = self.addresses.get_with(network::of(address), || {
            Arc::new(Address {
                bucket: Bucket::new(limit),
                look_ups: Bucket::new(limit),
                shut: Mutex::default(),
            })
        });
        Some((address, limit))
    }
}

impl Address {
    /// Listens to it no more for a while, and says whether that has to be told.
    fn shut_for(&self, wait: Duration) -> bool {
        let now = Instant::now();
        let mut shut = self.shut();
        shut.until = now.checked_add(wait);
        let is_news = shut.told.is_none_or(|told| now.duration_since(told) >= TELL_EVERY);
        if is_news {
            shut.told = Some(now);
        }
        is_news
    }

    fn shut(&self) -> MutexGuard<'_, Shut> {
        // Nothing panics while it holds the lock.
        self.shut.lock().unwrap_or_else(PoisonError::into_inner)
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
    fn an_address_is_shut_when_nothing_is_left() {
        let failed = failed_keys(2);
        let peer = address("192.0.2.1");
        assert!(failed.admit(peer).is_ok());
        assert_eq!(failed.strike(peer), Strike::Counted);
        assert!(failed.admit(peer).is_ok());
        assert_eq!(failed.strike(peer), Strike::Last);
        assert!(failed.admit(peer).is_err());
        // One that was on its way already.
        assert!(matches!(failed.strike(peer), Strike::Beyond { .. }));
        assert!(failed.admit(address("192.0.2.2")).is_ok());
    }

    #[test]
    fn look_ups_are_counted_before_the_keys_turn_out_wrong() {
        let failed = failed_keys(2);
        let peer = address("192.0.2.1");
        assert!(failed.admit_look_up(peer).is_ok());
        assert!(failed.admit_look_up(peer).is_ok());
        assert!(failed.admit_look_up(peer).is_err());
        assert!(failed.admit_look_up(address("192.0.2.2")).is_ok());
        // None of them has turned out wrong yet.
        assert!(failed.admit(peer).is_ok());
        assert_eq!(failed.strike(peer), Strike::Counted);
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let failed = failed_keys(1);
        assert_eq!(failed.strike(address("2001:db8::1")), Strike::Last);
        assert!(failed.admit(address("2001:db8::ffff:ffff:ffff:ffff")).is_err());
        assert!(failed.admit(address("2001:db8:0:1::1")).is_ok());
    }

    #[test]
    fn without_an_address_or_a_limit_nothing_is_counted() {
        for (failed, peer) in [(failed_keys(1), None), (FailedKeys::new(None), address("192.0.2.1"))] {
            for _ in 0..3 {
                assert_eq!(failed.strike(peer), Strike::Counted);
                assert!(failed.admit_look_up(peer).is_ok());
            }
        }
    }

    #[test]
    fn a_token_that_comes_back_opens_the_address_again() {
        let failed = FailedKeys::new(Limit::new(Duration::from_millis(1), 1));
        let peer = address("192.0.2.1");
        assert_eq!(failed.strike(peer), Strike::Last);
        let start = Instant::now();
        while failed.admit(peer).is_err() {
            assert!(start.elapsed() < Duration::from_secs(10));
        }
        // It was told a moment ago.
        assert_eq!(failed.strike(peer), Strike::Counted);
    }
}
