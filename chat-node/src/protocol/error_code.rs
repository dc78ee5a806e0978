//! Errors that answer one command: the table decides what an SDK does next.

use std::borrow::Cow;

/// The protocol's error codes that this node answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    Internal,
    Unauthorized,
    UnknownChannel,
    PermissionDenied,
    MethodNotFound,
    AlreadySubscribed,
    LimitExceeded,
    BadRequest,
    NotAvailable,
    TokenExpired,
    TooManyRequests,
    UnrecoverablePosition,
    /// What the backend has said.
    Application {
        code: u32,
        temporary: bool,
    },
}

impl ErrorCode {
    pub fn code(self) -> u32 {
        match self {
            Self::Internal => 100,
            Self::Unauthorized => 101,
            Self::UnknownChannel => 102,
            Self::PermissionDenied => 103,
            Self::MethodNotFound => 104,
            Self::AlreadySubscribed => 105,
            Self::LimitExceeded => 106,
            Self::BadRequest => 107,
            Self::NotAvailable => 108,
            Self::TokenExpired => 109,
            Self::TooManyRequests => 111,
            Self::UnrecoverablePosition => 112,
            Self::Application { code, .. } => code,
        }
    }

    /// Whether the SDK should try again by itself. The flag alone decides that, not the code.
    pub fn temporary(self) -> bool {
        // A token that expired under way is no reason to give up: with the flag SDKs come again with another one, also
        // from refreshes.
        match self {
            Self::Internal | Self::TokenExpired | Self::TooManyRequests => true,
            Self::Application { temporary, .. } => temporary,
            _ => false,
        }
    }

    /// The code as metrics count it: those of the backend as one, however many it has.
    pub fn counted(self) -> u32 {
        match self {
            Self::Application { .. } => 400,
            known => known.code(),
        }
    }

    /// The protocol's own words for the code.
    pub fn text(self) -> &'static str {
        match self {
            Self::Internal => "internal server error",
            Self::Unauthorized => "unauthorized",
            Self::UnknownChannel => "unknown channel",
            Self::PermissionDenied => "permission denied",
            Self::MethodNotFound => "method not found",
            Self::AlreadySubscribed => "already subscribed",
            Self::LimitExceeded => "limit exceeded",
            Self::BadRequest => "bad request",
            Self::NotAvailable => "not available",
            Self::TokenExpired => "token expired",
            Self::TooManyRequests => "too many requests",
            Self::UnrecoverablePosition => "unrecoverable position",
            Self::Application { .. } => "",
        }
    }
}

/// A command's answer when it is not done: the code, and a detail for the person who reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub code: ErrorCode,
    pub detail: Cow<'static, str>,
}

impl Refusal {
    pub fn new(code: ErrorCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            detail: detail.into(),
        }
    }

    /// The protocol's words first, so that people who search for them find them, then the detail.
    pub fn message(&self) -> Cow<'static, str> {
        match (self.code.text(), self.detail.as_ref()) {
            (text, "") => text.into(),
            // What a backend says has no words before it.
            ("", detail) => detail.to_owned().into(),
            (text, detail) => format!("{text}: {detail}").into(),
        }
    }
}
