//! The head of a request, before any HTTP server has seen it: is it all there, and what does it ask for? No IO.

use axum::http::{HeaderName, HeaderValue, Method, Request, Version};

/// More than browsers and proxies send. A head with more of them is left to the HTTP server.
const MOST_HEADERS: usize = 64;

/// Whether nothing more has to come: an empty line ends a head in `bytes`, of which the first `known` were looked at
/// before, or they do not begin as a request does.
pub fn is_whole(bytes: &[u8], known: usize) -> bool {
    let begins = |byte: &u8| byte.is_ascii_alphabetic() || byte.is_ascii_whitespace();
    let unknown = &bytes[known.saturating_sub(2)..];
    !bytes.first().is_none_or(begins)
        || unknown.windows(2).any(|end| end == b"\n\n")
        || unknown.windows(3).any(|end| end == b"\n\r\n")
}

/// The request for `path` at the start of `bytes`, and the length of its head.
///
/// `None` for every other request, one with a body, and all that is not understood: the HTTP server knows what to say.
pub fn parse(bytes: &[u8], path: &str) -> Option<(Request<()>, usize)> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut head = httparse::Request::new(&mut headers);
    let length = match head.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) | Err(_) => return None,
    };
    if head.path?.split('?').next() != Some(path) {
        return None;
    }
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(head.method?.as_bytes()).ok()?;
    *request.version_mut() = match head.version? {
        1 => Version::HTTP_11,
        _ => Version::HTTP_10,
    };
    for header in head.headers.iter() {
        let is_for_body = ["content-length", "transfer-encoding"];
        if is_for_body
            .iter()
            .any(|name| header.name.eq_ignore_ascii_case(name))
        {
            return None;
        }
        let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
        let value = HeaderValue::from_bytes(header.value).ok()?;
        request.headers_mut().append(name, value);
    }
    Some((request, length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEAD: &str = "GET /here?x=1 HTTP/1.1\r\nHost: a\r\nX-Twice: 1\r\nx-twice: 2\r\n\r\n";

    #[test]
    fn a_request_for_the_path_is_read_up_to_its_end() {
        let (request, length) = parse(format!("{HEAD}more").as_bytes(), "/here").unwrap();
        assert_eq!((request.method(), length), (&Method::GET, HEAD.len()));
        assert_eq!(request.version(), Version::HTTP_11);
        let twice: Vec<_> = request.headers().get_all("x-twice").iter().collect();
        assert_eq!(twice, ["1", "2"]);
    }

    #[test]
    fn other_paths_bodies_and_nonsense_are_left_to_the_server() {
        assert!(parse(HEAD.as_bytes(), "/her").is_none());
        assert!(parse(HEAD.as_bytes(), "/here/").is_none());
        for line in [
            "Content-Length: 0",
            "transfer-encoding: chunked",
            "a b: c",
            ": c",
        ] {
            let head = HEAD.replace("Host: a", line);
            assert!(parse(head.as_bytes(), "/here").is_none(), "{line}");
        }
        let many = HEAD.replace("Host: a", &"A: b\r\n".repeat(MOST_HEADERS + 1));
        assert!(parse(many.as_bytes(), "/here").is_none());
        assert!(parse(b"\x16\x03\x01\x02\x00\x01\r\n\r\n", "/here").is_none());
    }

    #[test]
    fn what_is_no_http_need_not_be_waited_for() {
        assert!(is_whole(b"\x16\x03\x01", 0));
        assert!(!is_whole(b"", 0));
        assert!(!is_whole(b"\r\n", 0));
    }

    proptest! {
        #[test]
        fn a_head_is_whole_with_its_last_byte_however_it_came(cut in 0..HEAD.len(), bare in any::<bool>()) {
            let head = if bare { HEAD.replace('\r', "") } else { HEAD.to_owned() };
            let cut = cut.min(head.len() - 1);
            prop_assert!(!is_whole(&head.as_bytes()[..cut], 0));
            prop_assert!(is_whole(head.as_bytes(), cut));
            prop_assert!(parse(head.as_bytes(), "/here").is_some());
        }

        #[test]
        fn no_bytes_are_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..200), known in 0usize..200) {
            is_whole(&bytes, known.min(bytes.len()));
            parse(&bytes, "/here");
        }
    }
}
