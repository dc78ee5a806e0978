//! A question to all nodes, this one included.

use std::time::Duration;

use crate::broker::peers::{CallError, Peer as _, Request, Response};
use crate::protocol::{ErrorCode, Refusal};

use super::Api;

/// How long the nodes may take together.
const PATIENCE: Duration = Duration::from_secs(4);
/// Names of nodes that an error has room for.
const MOST_NAMES: usize = 16;

impl Api {
    /// Every node's name and answer, once all have answered.
    ///
    /// Errors: temporary, with the nodes that did not do it or of which nobody knows; the others did.
    pub async fn everywhere(&self, request: Request) -> Result<Vec<(String, Response)>, Refusal> {
        let own = self.shared.config.nats.node_name.as_str();
        let (answer, gathered) = tokio::join!(
            tokio::time::timeout(PATIENCE, self.peer.answer(own, request.clone())),
            self.shared.broker.call_others(request, PATIENCE)
        );
        let (mut answers, mut missing) = (Vec::new(), Vec::new());
        match answer {
            Ok(Response::Failure(failure)) => missing.push(format!("{own} ({})", failure.text)),
            Ok(response) => answers.push((own.to_owned(), response)),
            Err(_) => missing.push(format!("{own} (no answer)")),
        }
        for (node, answer) in gathered.answers {
            match answer {
                Ok(response) => answers.push((node, response)),
                Err(CallError::Refused(text)) => missing.push(format!("{node} ({text})")),
                Err(error) => missing.push(format!("{node} ({error})")),
            }
        }
        let silent = gathered.silent.into_iter();
        missing.extend(silent.map(|node| format!("{node} (no answer)")));
        if missing.is_empty() {
            return Ok(answers);
        }
        let others = missing.len().saturating_sub(MOST_NAMES);
        missing.truncate(MOST_NAMES);
        let mut detail = format!("not done by all nodes, try again: {}", missing.join(", "));
        if others > 0 {
            detail.push_str(&format!(" and {others} more"));
        }
        Err(Refusal::new(ErrorCode::Internal, detail))
    }
}
