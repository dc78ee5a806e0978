//! What is asked of the API server, for the metrics: verb and resource as roles name them, read off a request's method and path.

use http::{Method, Uri};

/// `("patch", "chatservices/status")`. The resource of a path that is about none is empty.
pub fn verb_and_resource(method: &Method, uri: &Uri) -> (&'static str, String) {
    let mut parts: Vec<_> = uri.path().split('/').filter(|it| !it.is_empty()).collect();
    // /api/v1/…, /apis/GROUP/VERSION/…, each with or without a namespace.
    let version = match parts.first() {
        Some(&"api") => 2,
        Some(&"apis") => 3,
        _ => parts.len(),
    };
    parts.drain(..version.min(parts.len()));
    if parts.first() == Some(&"namespaces") && parts.len() > 2 {
        parts.drain(..2);
    }
    let name = parts.get(1);
    let query = uri.query().unwrap_or_default();
    let is_watch = query
        .split('&')
        .any(|it| it == "watch=true" || it == "watch=1");
    let verb = match *method {
        Method::GET if is_watch => "watch",
        Method::GET if name.is_none() => "list",
        Method::GET => "get",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "other",
    };
    let resource = match parts[..] {
        [resource, _, part, ..] => format!("{resource}/{part}"),
        [resource, ..] => resource.to_owned(),
        [] => String::new(),
    };
    (verb, resource)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_named_as_roles_name_them() {
        let cases = [
            (
                "GET",
                "/api/v1/namespaces/chat/pods?labelSelector=a",
                "list pods",
            ),
            ("GET", "/api/v1/pods?limit=5", "list pods"),
            (
                "GET",
                "/api/v1/secrets?watch=true&timeoutSeconds=290",
                "watch secrets",
            ),
            (
                "GET",
                "/api/v1/namespaces/chat/secrets/keys?",
                "get secrets",
            ),
            ("GET", "/api/v1/namespaces/chat", "get namespaces"),
            (
                "PATCH",
                "/apis/apps/v1/namespaces/chat/deployments/a?force=true",
                "patch deployments",
            ),
            (
                "PATCH",
                "/apis/natter.dev/v1alpha1/namespaces/chat/chatservices/lobby/status",
                "patch chatservices/status",
            ),
            (
                "PUT",
                "/apis/coordination.k8s.io/v1/namespaces/a/leases/b",
                "update leases",
            ),
            (
                "POST",
                "/apis/events.k8s.io/v1/namespaces/a/events",
                "create events",
            ),
            ("DELETE", "/api/v1/namespaces/chat/pods/a", "delete pods"),
            ("GET", "/version", "list "),
            ("GET", "/api", "list "),
        ];
        for (method, uri, expected) in cases {
            let (verb, resource) =
                verb_and_resource(&method.parse().unwrap(), &uri.parse().unwrap());
            assert_eq!(format!("{verb} {resource}"), expected, "{method} {uri}");
        }
    }
}
