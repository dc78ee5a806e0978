//! `POST /emulation`: commands of a client whose connection only carries what it is told. The answer says no more than
//! that they have arrived: replies come by that connection.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use prost::Message as _;
use tokio::sync::oneshot;

use crate::protocol::protobuf::wire::EmulationRequest;
use crate::worker::Event;
use crate::worker::emulated::{Address, Arrived};

use super::websocket::Front;
use super::{body, stream};

pub const PATH: &str = "/emulation";

const EXPECTED: &str = "expected {\"session\":…,\"node\":…,\"data\":…} in JSON, with session and node of the connect \
     reply and commands as data, or an EmulationRequest in Protobuf as application/octet-stream\n";

/// Beside its commands a body has a session, a node and the escapes that make them a JSON string.
const BESIDE_COMMANDS: usize = 2;

#[derive(serde::Deserialize)]
struct InJson {
    session: String,
    node: String,
    data: String,
}

pub async fn emulate(State(front): State<Front>, request: Request) -> Response {
    let in_protobuf = stream::is_octets(request.headers());
    let most = front.shared.live().limits.frame_bytes;
    let body = match body::read(request.into_body(), most * BESIDE_COMMANDS, &front.shared).await {
        Ok(body) => body,
        Err(refusal) => return *refusal,
    };
    let Some(request) = parse(body, in_protobuf).filter(|request| !request.data.is_empty()) else {
        return (StatusCode::BAD_REQUEST, EXPECTED).into_response();
    };
    if request.data.len() > most {
        let text = format!("expected at most {most} bytes of commands\n");
        return (StatusCode::PAYLOAD_TOO_LARGE, text).into_response();
    }
    match bring(&front, request).await {
        Arrived::Taken => StatusCode::NO_CONTENT.into_response(),
        // An SDK that is told so connects anew at once; it would wait for replies that never come otherwise.
        Arrived::Unknown => {
            let text = "this session is not here, or not any more: connect again\n";
            (StatusCode::NOT_FOUND, text).into_response()
        }
        Arrived::TooMuch => {
            let text = "too many commands of this session wait: send more when they are answered\n";
            (StatusCode::TOO_MANY_REQUESTS, text).into_response()
        }
    }
}

fn parse(body: Bytes, in_protobuf: bool) -> Option<EmulationRequest> {
    if in_protobuf {
        return EmulationRequest::decode(body).ok();
    }
    let InJson {
        session,
        node,
        data,
    } = serde_json::from_slice(&body).ok()?;
    Some(EmulationRequest {
        session,
        node,
        data: data.into(),
    })
}

/// Gives the commands to the worker that has the session.
async fn bring(front: &Front, request: EmulationRequest) -> Arrived {
    if request.node != front.shared.config.nats.node_name {
        return Arrived::Unknown;
    }
    deliver(front, &request.session, request.data).await
}

/// Gives commands to a session of this node.
pub async fn deliver(front: &Front, session: &str, commands: Bytes) -> Arrived {
    let address = Address::parse(session, &front.shared.emulation_key);
    let inbox = address
        .as_ref()
        .and_then(|address| front.inboxes.get(usize::from(address.worker)));
    let (Some(address), Some(inbox)) = (address, inbox) else {
        return Arrived::Unknown;
    };
    let (arrived, answer) = oneshot::channel();
    inbox.send(Event::Commands {
        connection: address.connection,
        commands,
        arrived,
    });
    answer.await.unwrap_or(Arrived::Unknown)
}
