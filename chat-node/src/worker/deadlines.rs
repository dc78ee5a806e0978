//! What happens by itself as time passes: pings, missing pongs, connections that say nothing, members that lag.

use std::time::Instant;

use std::sync::atomic::Ordering::Relaxed;

use crate::protocol::CloseReason;
use crate::socket::ConnectionKey;

use super::Worker;
use super::connection::Life;
use super::timer_wheel::{TICK, Tick};

impl Worker {
    /// Runs once a tick of the timer wheel.
    pub(super) fn tick(&mut self) {
        let now = self.shared.now();
        self.load
            .alive_at_millis
            .store(now.as_millis() as u64, Relaxed);
        let mut due = Vec::new();
        self.timers.advance(now, &mut due);
        for (key, tick) in due {
            if self
                .connections
                .get(key)
                .is_some_and(|connection| connection.due == tick)
            {
                self.deadline(key, tick);
            }
        }
        self.expire();
        self.close_those_behind();
        self.close_interrupted();
        self.settle_down();
        self.show_members();
    }

    fn deadline(&mut self, key: ConnectionKey, tick: Tick) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let limits = &self.shared.config.limits;
        match connection.life {
            Life::Fresh if connection.session.is_refused() => {
                self.close(key, &CloseReason::CONNECTION_CLOSED);
            }
            Life::Fresh if connection.asking.is_none() => self.close(key, &CloseReason::STALE),
            Life::Fresh => {
                let again = self.shared.now() + TICK;
                self.schedule(key, again);
            }
            Life::Live { pinged_at } => {
                let next = TICK * pinged_at + limits.ping_interval;
                if TICK * tick < next {
                    self.schedule(key, next);
                    return;
                }
                let ping = connection.wire.ping();
                let due = if connection.wire.expects_pongs() {
                    connection.life = Life::Pinged { pinged_at: tick };
                    TICK * tick + limits.pong_timeout
                } else {
                    connection.life = Life::Live { pinged_at: tick };
                    TICK * tick + limits.ping_interval
                };
                self.send(key, &ping);
                self.schedule(key, due);
            }
            // Its pong may be among what is not read before the broker has answered or the client has read.
            Life::Pinged { .. } if connection.holds_input() => {
                let again = self.shared.now() + limits.pong_timeout;
                self.schedule(key, again);
            }
            Life::Pinged { .. } => self.close(key, &CloseReason::NO_PONG),
            Life::Leaving => self.leave(key),
            Life::Closing => self.remove(key),
        }
    }

    /// Closes connections that have not taken something for longer than the limit allows.
    fn close_those_behind(&mut self) {
        let now = Instant::now();
        let most = self.shared.live().limits.backlog_age;
        let mut blocked = std::mem::take(&mut self.blocked);
        blocked.retain(|&key| {
            let Some(connection) = self.connections.get_mut(key) else {
                return false;
            };
            if !connection.socket.is_blocked() || connection.is_closing() {
                connection.listed_as_blocked = false;
                return false;
            }
            let oldest = self.oldest_waiting(key);
            if oldest.is_some_and(|since| now.duration_since(since) > most) {
                self.close_slow(key);
            }
            true
        });
        // Closing may have put others on the list.
        blocked.append(&mut self.blocked);
        self.blocked = blocked;
    }

    /// Since when the oldest thing that waits for this connection has been waiting.
    fn oldest_waiting(&mut self, key: ConnectionKey) -> Option<Instant> {
        let queued = self.connections.get(key)?.socket.waiting_since();
        let rooms = &self.rooms;
        let in_rooms = rooms
            .places(key)
            .iter()
            .filter_map(|place| rooms.appended(*place));
        queued.into_iter().chain(in_rooms).min()
    }

    /// Closes a connection that reads too slowly. Its SDK reconnects and gets what it missed from history.
    pub(super) fn close_slow(&mut self, key: ConnectionKey) {
        self.shared.metrics.slow_clients.inc();
        self.close(key, &CloseReason::SLOW);
    }

    fn show_members(&mut self) {
        let members = self.rooms.members();
        let gauge = &self.shared.metrics.members;
        gauge.add(members as i64 - self.members_shown as i64);
        self.members_shown = members;
    }
}
