//! The second half of a run: all trouble is over, and the partition must come back by itself.

use super::check::{Verdict, Violation};
use super::clients::NOT_A_WRITE;
use super::world::{HEALING_NS_MAX, Happening, MS, World};
use partition::replica::Event;

/// Tokens of the requests that show that the partition serves again.
const PROBE_READ: u64 = NOT_A_WRITE | 2;
const PROBE_FLUSH: u64 = NOT_A_WRITE | 4;

/// What was shown to work since healing began.
#[derive(Debug, Default)]
pub(super) struct Health {
    deadline: u64,
    probe: Option<u64>,
    written: bool,
    read: bool,
    flushed: bool,
}

impl Health {
    pub(super) fn on_written(&mut self, token: u64) {
        self.written |= self.probe == Some(token);
    }

    pub(super) fn on_read(&mut self, token: u64) {
        self.read |= token == PROBE_READ;
    }

    pub(super) fn on_flushed(&mut self, token: u64) {
        self.flushed |= token == PROBE_FLUSH;
    }
}

impl World {
    /// Mends everything. Disks that failed are seen to by a restart of their process.
    pub(super) fn heal(&mut self) -> Verdict {
        self.healing = true;
        self.health.deadline = self.now + HEALING_NS_MAX;
        if self.trace.keeps() {
            self.trace.line(format!("{:>12.6} HEALING", self.now as f64 / 1e9));
        }
        self.clear_weather();
        self.control.gone_until = 0;
        for machine in 0..self.machines.len() {
            let host = &mut self.machines[machine];
            host.paused_until = 0;
            host.append_fails_until = 0;
            host.sync_fails_until = 0;
            host.sync_slow_until = 0;
            host.persist_fails_until = 0;
            self.start(machine)?;
            self.free_space(machine)?;
        }
        self.after(500 * MS, Happening::HealthCheck);
        Ok(())
    }

    /// A process whose disk failed is started anew.
    fn restart_failed(&mut self) -> Verdict {
        for machine in 0..self.machines.len() {
            let host = &mut self.machines[machine];
            let moment = host.moment(self.now);
            let failed = host.replica.as_ref().is_some_and(|replica| {
                replica.status(moment).failure == Some(partition::replica::Failure::Io)
            });
            if failed {
                host.kill(&mut self.dice);
                self.note_loss()?;
                self.start(machine)?;
            }
        }
        Ok(())
    }

    /// Looks whether everything works again; that it does not in time is a violation too.
    pub(super) fn check_health(&mut self) -> Verdict {
        if let Some(missing) = self.unhealthy()? {
            if self.now > self.health.deadline {
                let what = format!(
                    "{missing}, {} s after all trouble ended",
                    HEALING_NS_MAX / 1_000_000_000
                );
                return Err(Violation { invariant: "what is mended works again", what });
            }
            self.after(100 * MS, Happening::HealthCheck);
            self.restart_failed()?;
            return self.probe();
        }
        self.finish();
        Ok(())
    }

    /// What does not work yet.
    fn unhealthy(&mut self) -> Result<Option<String>, Violation> {
        let configuration = &self.control.configuration;
        if configuration.in_sync.len() < self.machines.len() {
            return Ok(Some(format!("in sync are only {:?}", configuration.in_sync)));
        }
        let health = &self.health;
        if !(health.written && health.read && health.flushed) {
            return Ok(Some(format!("probes went unanswered: {health:?}")));
        }
        let behind = self.machines.iter().find(|m| m.applied < self.oracle.committed_end());
        if let Some(machine) = behind {
            return Ok(Some(format!("{:?} has applied {:?}", machine.id, machine.applied)));
        }
        for machine in &self.machines {
            self.oracle.check_complete(machine.id, &machine.disk)?;
        }
        Ok(None)
    }

    /// Asks the leader for one of each.
    fn probe(&mut self) -> Verdict {
        let Some(leader) = self.control.configuration.leader else { return Ok(()) };
        let Some(machine) = self.host(leader) else { return Ok(()) };
        if !self.machines[machine].replica.as_ref().is_some_and(|replica| replica.leads()) {
            return Ok(());
        }
        if !self.health.written {
            let event = self.write(0);
            if let Event::Submit { token, .. } = &event {
                self.health.probe = Some(*token);
            }
            self.ask(machine, event)?;
        }
        if !self.health.read {
            self.ask(machine, Event::Read { token: PROBE_READ })?;
        }
        if !self.health.flushed {
            self.ask(machine, Event::Flush { token: PROBE_FLUSH })?;
        }
        Ok(())
    }
}
