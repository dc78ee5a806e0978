//! What has to be done to the streams, or why nothing may be. Pure: found + wanted -> steps or refusals.

use crate::broker::nats::api::StreamInfo;
use crate::broker::nats::streams::{
    Desired, Difference, MESSAGE_OVERHEAD_BYTES, Repair, StreamConfig, differences,
};
use crate::config::Run;

/// The oldest release of the server whose promises are enough.
const MIN_SERVER: (u32, u32) = (2, 15);

/// What one stream needs.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    Create(Box<StreamConfig>),
    Update(Box<Update>),
    Keep,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    pub config: StreamConfig,
    pub repairs: Vec<Difference>,
    pub renews_epoch: bool,
}

/// What is asked for. The epoch of `streams` counts for streams that are created or renewed.
pub struct Wanted<'a> {
    pub desired: &'a Desired,
    /// One for each shard.
    pub streams: Vec<StreamConfig>,
    pub run: &'a Run,
}

impl<'a> Wanted<'a> {
    pub fn new(desired: &'a Desired, run: &'a Run, epoch: impl Fn() -> String) -> Self {
        let stream = |shard| StreamConfig::desired(desired, shard, &epoch());
        Self {
            desired,
            streams: (0..desired.shards).map(stream).collect(),
            run,
        }
    }

    /// The steps for all streams, in the order of shards.
    ///
    /// `found` has one entry for each shard, `others` is whatever else takes the subjects of publications.
    /// Errors: a sentence for each thing that stands against it; then nothing at all may be done.
    pub fn plan(
        &self,
        found: &[Option<StreamInfo>],
        others: &[StreamInfo],
    ) -> Result<Vec<Step>, Vec<String>> {
        // With another number of shards every other finding would only confuse.
        if let Some(refusal) = self.other_shard_count(found.iter().flatten().chain(others)) {
            return Err(vec![refusal]);
        }
        let mut refusals: Vec<_> = others
            .iter()
            .map(|other| {
                let (name, subjects) = (&other.config.name, other.config.subjects.join(", "));
                format!("{name}: is no stream of the nodes, but takes their subjects ({subjects}); remove it")
            })
            .collect();
        let used = found
            .iter()
            .flatten()
            .find(|stream| stream.state.last_seq > 0);
        let mut steps = Vec::new();
        for (wanted, found) in self.streams.iter().zip(found) {
            let step = match (found, used) {
                (None, Some(used)) if !self.run.recreate_missing => Err(vec![format!(
                    "{}: is missing, though {} has been used: it was deleted or lost; restore it, or accept \
                     with --recreate-missing that what it held is gone",
                    wanted.name, used.config.name
                )]),
                _ => self.step(wanted, found.as_ref()),
            };
            match step {
                Ok(step) => steps.push(step),
                Err(more) => refusals.extend(more),
            }
        }
        match refusals.is_empty() {
            true => Ok(steps),
            false => Err(refusals),
        }
    }

    /// What one stream needs, whatever the others are like.
    pub fn step(
        &self,
        wanted: &StreamConfig,
        found: Option<&StreamInfo>,
    ) -> Result<Step, Vec<String>> {
        let Some(found) = found else {
            return Ok(Step::Create(Box::new(wanted.clone())));
        };
        if found.config.shards().is_none() {
            return Err(vec![format!(
                "{}: was made by something else, as its metadata lacks natter.shards; remove it if nothing needs it",
                wanted.name
            )]);
        }
        let repairs = differences(&found.config, wanted);
        let refused = |difference: &&Difference| match difference.repair {
            Repair::Safe => false,
            Repair::DropsHistory => !self.run.shrink_history,
            Repair::Unsafe => true,
        };
        let refusals: Vec<_> = repairs
            .iter()
            .filter(refused)
            .map(|difference| refusal(&wanted.name, difference))
            .collect();
        if !refusals.is_empty() {
            return Err(refusals);
        }
        let renews_epoch = self.run.renew_epochs && !found.config.has_epoch_of(wanted);
        if repairs.is_empty() && !renews_epoch {
            return Ok(Step::Keep);
        }
        let mut config = found.config.repaired(wanted, &repairs);
        if renews_epoch {
            config.take_epoch_of(wanted);
        }
        Ok(Step::Update(Box::new(Update {
            config,
            repairs,
            renews_epoch,
        })))
    }

    fn other_shard_count<'b>(
        &self,
        mut found: impl Iterator<Item = &'b StreamInfo>,
    ) -> Option<String> {
        let (name, shards) = found.find_map(|stream| {
            let shards = stream.config.shards()?;
            (shards != self.desired.shards).then(|| (stream.config.name.clone(), shards))
        })?;
        Some(format!(
            "history.shards (--shards) is {}, but {name} is one of {shards} streams; their number cannot change, \
             as it decides in which stream a room lies: run with --shards {shards}",
            self.desired.shards
        ))
    }
}

fn refusal(stream: &str, difference: &Difference) -> String {
    let advice = match difference.repair {
        Repair::DropsHistory => {
            "a change would delete what is stored beyond it; --shrink-history does so"
        }
        _ if difference.field == "num_replicas" => "copies are not taken away",
        _ if difference.field == "metadata.natter.version" => {
            "a later release made the stream; use that one"
        }
        _ if difference.field.starts_with("metadata.") => {
            "the stream was made by something else, or its metadata was taken away"
        }
        _ => "this cannot be changed in a stream that exists",
    };
    format!("{stream}: {difference}; {advice}")
}

/// Says why a server will not do, by what it tells of itself.
pub fn check_server(version: &str, max_payload: usize, desired: &Desired) -> Result<(), String> {
    let (major, minor) = MIN_SERVER;
    if parse_version(version).is_none_or(|version| version < MIN_SERVER) {
        return Err(format!(
            "the server is nats-server {version}, and {major}.{minor} or later is needed: earlier ones \
             acknowledge messages that a power failure can take back"
        ));
    }
    let needed = desired.message_bytes + MESSAGE_OVERHEAD_BYTES;
    if max_payload < needed {
        return Err(format!(
            "max_payload of the server is {max_payload}, and {needed} are needed for messages of {} bytes with \
             their headers",
            desired.message_bytes
        ));
    }
    Ok(())
}

/// `2.15.1-RC.1` -> (2, 15).
fn parse_version(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.trim_start_matches('v').split(['.', '-']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// What the operator should know of a configuration that is valid.
pub fn warning(desired: &Desired) -> Option<String> {
    (desired.replicas < 3).then(|| {
        format!(
            "replicas is {}: a lost server takes acknowledged messages with it; use 3 in production",
            desired.replicas
        )
    })
}

/// What was done, or what would be.
pub fn said(name: &str, step: &Step, dry_run: bool) -> String {
    let would = if dry_run { "would be " } else { "" };
    match step {
        Step::Create(_) => format!("{name}: {would}created"),
        Step::Keep => format!("{name}: as it should be"),
        Step::Update(update) => {
            let changes = update.repairs.iter().map(|repair| {
                let Difference {
                    field,
                    expected,
                    found,
                    ..
                } = repair;
                format!("{field} from {found} to {expected}")
            });
            let epoch = update.renews_epoch.then(|| "a new epoch".to_owned());
            let changes: Vec<_> = changes.chain(epoch).collect();
            format!("{name}: {would}updated: {}", changes.join(", "))
        }
    }
}

/// The last line.
pub fn summary(steps: &[Step], dry_run: bool) -> String {
    let count = |is: fn(&Step) -> bool| steps.iter().filter(|step| is(step)).count();
    let created = count(|step| matches!(step, Step::Create(_)));
    let updated = count(|step| matches!(step, Step::Update(_)));
    let kept = count(|step| matches!(step, Step::Keep));
    let counts = format!("{created} created, {updated} updated, {kept} kept");
    match dry_run {
        true => format!("dry run, nothing done; streams that would be: {counts}"),
        false => format!("streams ready: {counts}"),
    }
}

#[cfg(test)]
mod tests;
