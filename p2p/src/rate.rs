//! How often somebody may do something: token buckets per key, bounded in number.
//!
//! Pure: time is an argument.

use std::collections::BTreeMap;

/// How often, and how much at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// So many at once, after a quiet time.
    pub burst: u32,
    /// One more each so many milliseconds.
    pub every_ms: u64,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// When the bucket will be full again; `now` or earlier means it is.
    full_at_ms: u64,
}

/// Limits each key to a [`Rate`].
#[derive(Debug)]
pub struct RateLimiter<K> {
    rate: Rate,
    keys_max: usize,
    buckets: BTreeMap<K, Bucket>,
}

impl<K: Ord + Clone> RateLimiter<K> {
    /// A limiter that remembers at most `keys_max` keys. When all are in use a new key is refused: a flood of
    /// identities must not wash out the memory of the busy ones.
    pub fn new(rate: Rate, keys_max: usize) -> Self {
        Self { rate, keys_max, buckets: BTreeMap::new() }
    }

    /// Takes one from the key's bucket; false when it is empty.
    pub fn allow(&mut self, now_ms: u64, key: &K) -> bool {
        if !self.buckets.contains_key(key) && self.buckets.len() >= self.keys_max {
            self.buckets.retain(|_, bucket| bucket.full_at_ms > now_ms);
            if self.buckets.len() >= self.keys_max {
                return false;
            }
        }
        let bucket = self.buckets.entry(key.clone()).or_insert(Bucket { full_at_ms: now_ms });
        let full_at_ms = bucket.full_at_ms.max(now_ms).saturating_add(self.rate.every_ms);
        let capacity_ms = self.rate.every_ms.saturating_mul(u64::from(self.rate.burst));
        if full_at_ms.saturating_sub(now_ms) > capacity_ms {
            return false;
        }
        bucket.full_at_ms = full_at_ms;
        true
    }

    /// Keys remembered.
    pub fn len(&self) -> usize {
        self.buckets.len()
    }

    /// Whether nobody is remembered.
    pub fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RATE: Rate = Rate { burst: 3, every_ms: 100 };

    #[test]
    fn a_burst_then_one_each_interval() {
        let mut limiter = RateLimiter::new(RATE, 10);
        assert_eq!((0..5).map(|_| limiter.allow(0, &'a')).collect::<Vec<_>>(), [true, true, true, false, false]);
        assert!(!limiter.allow(99, &'a') && limiter.allow(100, &'a') && !limiter.allow(100, &'a'));
        assert!(limiter.allow(100, &'b'));
    }

    #[test]
    fn a_flood_of_keys_is_refused_and_quiet_keys_make_room() {
        let mut limiter = RateLimiter::new(RATE, 2);
        assert!(limiter.is_empty());
        assert!(limiter.allow(0, &1) && limiter.allow(0, &2) && !limiter.allow(0, &3));
        assert!(limiter.allow(0, &1), "a key that is known is not new");
        assert_eq!((limiter.len(), limiter.is_empty()), (2, false));
        assert!(limiter.allow(100, &3), "the second key is quiet again");
        assert_eq!(limiter.len(), 2);
        assert!(!limiter.allow(100, &2), "and the first is not");
    }

    proptest! {
        #[test]
        fn no_window_lets_more_through_than_burst_and_rate(mut times in prop::collection::vec(0u64..2000, 1..200)) {
            times.sort_unstable();
            let mut limiter = RateLimiter::new(RATE, 1);
            let passed: Vec<u64> = times.into_iter().filter(|now| limiter.allow(*now, &())).collect();
            for (i, from) in passed.iter().enumerate() {
                for (j, to) in passed.iter().enumerate().skip(i) {
                    prop_assert!((j - i + 1) as u64 <= u64::from(RATE.burst) + (to - from) / RATE.every_ms);
                }
            }
        }
    }
}
