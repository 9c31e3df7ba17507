//! Writes to the log what operations could not do with partitions that are led from here.
//!
//! The control plane says it again with every assignment; it is logged when it is news, and once more when it
//! comes back after it was gone.

use std::collections::BTreeSet;
use wire::control::Notice;

/// What was logged and still holds.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    logged: BTreeSet<(u64, u64, String)>,
}

impl Notices {
    /// Takes all that there is now; says how many were news.
    pub(crate) fn take(&mut self, notices: &[Notice]) -> usize {
        let key = |notice: &Notice| (notice.operation, notice.partition, notice.reason.clone());
        let mut news = 0;
        for notice in notices.iter().filter(|notice| !self.logged.contains(&key(notice))) {
            news += 1;
            tracing::warn!(
                operation = notice.operation,
                partition = notice.partition,
                reason = notice.reason,
                since = notice.since,
                detail = notice.detail,
                action = notice.action,
                "an operation left a partition over"
            );
        }
        self.logged = notices.iter().map(key).collect();
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_is_logged_once() {
        let notice = |partition, reason: &str| Notice {
            operation: 1,
            partition,
            reason: reason.into(),
            ..Notice::default()
        };
        let mut notices = Notices::default();
        assert_eq!(notices.take(&[notice(1, "LOCKED"), notice(2, "LOCKED")]), 2);
        assert_eq!(notices.take(&[notice(1, "LOCKED"), notice(2, "NO_TARGET")]), 1);
        assert_eq!(notices.take(&[]), 0);
        assert_eq!(notices.take(&[notice(1, "LOCKED")]), 1, "it came back");
    }
}
