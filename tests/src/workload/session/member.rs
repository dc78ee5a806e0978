//! A session in one room: its position, and its view for the checker.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::checker::{Name, Position, Publication, Segment, View};

use super::super::closer::Last;
use super::message;

pub(super) struct Member {
    pub room: Name,
    session: usize,
    /// How often it came back as somebody new.
    lives: usize,
    view: View,
    position: Option<Position>,
    /// On the connection of now.
    is_here: bool,
    /// When the session last had to begin without what was before.
    began: Duration,
}

impl Member {
    pub(super) fn new(session: usize, room: Name) -> Self {
        Self {
            view: view(session, 0, &room),
            room,
            session,
            lives: 0,
            position: None,
            is_here: false,
            began: Duration::ZERO,
        }
    }

    /// The parameters of a subscribe that goes on where the member was.
    pub(super) fn subscribe(&mut self) -> Value {
        self.is_here = false;
        match &self.position {
            None => json!({"channel": &*self.room}),
            Some(Position { offset, epoch }) => json!({
                "channel": &*self.room, "recover": true, "offset": offset, "epoch": &**epoch, "flag": 1
            }),
        }
    }

    /// Takes the reply to a subscribe.
    pub(super) fn join(
        &mut self,
        entrance: usize,
        now: Duration,
        reply: &Value,
    ) -> Result<(), String> {
        let wrong = |what: &str| format!("a subscribe reply without {what}: {reply:.200}");
        let offset = reply["offset"].as_u64().ok_or_else(|| wrong("offset"))?;
        let epoch = reply["epoch"].as_str().ok_or_else(|| wrong("epoch"))?;
        let recovered = reply["recovered"].as_bool();
        let recovered = recovered.ok_or_else(|| wrong("recovered"))?;
        let missed = reply["publications"].as_array().into_iter().flatten();
        let missed: Vec<_> = missed.map(publication).collect::<Result<_, _>>()?;
        let asked = self.position.take();
        let was_recovering = reply["was_recovering"].as_bool();
        if was_recovering != Some(asked.is_some()) {
            return Err(wrong("the right was_recovering"));
        }
        let epoch: Name = match &asked {
            Some(asked) if &*asked.epoch == epoch => asked.epoch.clone(),
            _ => epoch.into(),
        };
        if !recovered {
            self.began = now;
        }
        let position = Position { offset, epoch };
        self.position = Some(position.clone());
        self.is_here = true;
        self.view.segments.push(Segment {
            entrance,
            at: now,
            asked,
            recovered,
            position,
            missed,
            live: Vec::new(),
        });
        Ok(())
    }

    /// Takes a publication that was pushed.
    pub(super) fn hear(&mut self, pushed: &Value) -> Result<(), String> {
        let publication = publication(pushed)?;
        let room = &self.room;
        let too_early = || format!("a push to {room} without a subscribe: {pushed}");
        let segment = self.view.segments.last_mut().filter(|_| self.is_here);
        segment.ok_or_else(too_early)?.live.push(publication);
        if let Some(position) = &mut self.position {
            position.offset = publication.offset;
        }
        Ok(())
    }

    pub(super) fn leave(&mut self) {
        self.is_here = false;
    }

    pub(super) fn is_here(&self) -> bool {
        self.is_here
    }

    /// Has the room's last message come, or did the member begin when it was on its way?
    pub(super) fn has_all(&self, last: &HashMap<Name, Last>) -> bool {
        let Some(last) = last.get(&self.room) else {
            return false;
        };
        let began_later = self.is_here && self.began >= last.sent;
        let publications = self.view.segments.iter().rev();
        let mut publications = publications.flat_map(|it| it.live.iter().rev().chain(&it.missed));
        began_later || publications.any(|it| it.id == last.id)
    }

    /// Hands over the view of somebody who does not come back, and forgets it.
    pub(super) fn begin_anew(&mut self) -> View {
        self.lives += 1;
        self.position = None;
        self.is_here = false;
        let mut old = view(self.session, self.lives, &self.room);
        std::mem::swap(&mut old, &mut self.view);
        old.to_the_end = false;
        old
    }

    pub(super) fn into_view(self) -> View {
        self.view
    }

    /// Where the member is, for whoever wonders why it is stuck.
    pub(super) fn describe(&self) -> String {
        let offset = self.position.as_ref().map_or(0, |it| it.offset);
        let last = self.view.segments.last();
        let segment = last.map_or_else(
            || "never there".to_owned(),
            |it| {
                format!(
                    "entrance {} since {:.1?}, recovered {}",
                    it.entrance, it.at, it.recovered
                )
            },
        );
        format!("{} at {offset} ({segment})", self.room)
    }
}

fn view(session: usize, lives: usize, room: &Name) -> View {
    let session = match lives {
        0 => format!("s{session}"),
        _ => format!("s{session}.{lives}"),
    };
    View {
        session: session.into(),
        room: room.clone(),
        segments: Vec::new(),
        to_the_end: true,
    }
}

fn publication(value: &Value) -> Result<Publication, String> {
    let offset = value["offset"].as_u64();
    let publication = offset.zip(message(value));
    let (offset, id) = publication.ok_or_else(|| format!("no publication of ours: {value}"))?;
    Ok(Publication { offset, id })
}
