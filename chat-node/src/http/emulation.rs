//! `POST /emulation`: commands of a client whose connection only carries what it is told. The answer says no more than
//! that they have arrived: replies come by that connection.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use prost::Message as _;

use crate::broker::peers::{self, CallError, Emulate, Request};
use crate::protocol::protobuf::wire::EmulationRequest;
use crate::worker::emulated::{Arrived, deliver};

use super::websocket::Front;
use super::{body, stream};

pub const PATH: &str = "/emulation";

/// How long another node may take: SDKs give a command up after 5 s.
const PATIENCE: Duration = Duration::from_secs(4);

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

pub async fn emulate(State(front): State<Front>, request: axum::extract::Request) -> Response {
    let in_protobuf = stream::is_octets(request.headers());
    let most = front.shared.live().limits.frame_bytes;
    let patience = front.shared.config.limits.handshake_timeout;
    let body = match body::read(request.into_body(), most * BESIDE_COMMANDS, patience).await {
        Ok(body) => body,
        Err(unread) => return unread.into_response(),
    };
    let Some(request) = parse(body, in_protobuf).filter(|request| !request.data.is_empty()) else {
        return (StatusCode::BAD_REQUEST, EXPECTED).into_response();
    };
    if request.data.len() > most {
        let text = format!("expected at most {most} bytes of commands\n");
        return (StatusCode::PAYLOAD_TOO_LARGE, text).into_response();
    }
    let arrived = match bring(&front, request).await {
        Ok(arrived) => arrived,
        Err(TooLarge) => {
            let text =
                "these are more commands at once than can go to this session's node: send fewer\n";
            return (StatusCode::PAYLOAD_TOO_LARGE, text).into_response();
        }
    };
    match arrived {
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

/// What nodes send each other has a limit of its own.
struct TooLarge;

/// Gives the commands to the worker that has the session, on this node or another one.
async fn bring(front: &Front, request: EmulationRequest) -> Result<Arrived, TooLarge> {
    let EmulationRequest {
        session,
        node,
        data,
    } = request;
    let shared = &front.shared;
    if node == shared.config.nats.node_name {
        return Ok(deliver(&front.inboxes, &shared.emulation_key, &session, data).await);
    }
    let emulate = Request::Emulate(Emulate {
        session,
        commands: data,
    });
    Ok(match shared.broker.call(&node, emulate, PATIENCE).await {
        Ok(peers::Response::Emulated(emulated)) => emulated.arrival().into(),
        // Who began anew would send the same again.
        Err(CallError::TooLarge) => return Err(TooLarge),
        // Whether the commands have arrived is not known: the client has to begin anew either way.
        Ok(_) | Err(_) => Arrived::Unknown,
    })
}
