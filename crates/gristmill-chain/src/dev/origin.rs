//! Which web pages may use the port.
//!
//! Any page that a browser shows can send requests to loopback. Browsers name the page's origin in every request that
//! matters here (POST, and WebSocket upgrades), also after DNS rebinding, so refusing unknown origins keeps strangers' pages
//! out. Programs that are no browsers send no origin and are let in.

use axum::http::{HeaderMap, HeaderValue, Uri, header};

#[derive(Clone, Debug)]
pub(crate) struct Origins {
    allowed: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// No page: nothing to say about it in the answer.
    Program,
    /// A page that may; the answer has to repeat its origin.
    Page(HeaderValue),
    Refused,
}

impl Origins {
    /// `allowed` besides the pages served from this machine's loopback, on whatever port. `*` allows all.
    pub(crate) fn new(allowed: Vec<String>) -> Self {
        Self { allowed }
    }

    pub(crate) fn judge(&self, headers: &HeaderMap) -> Verdict {
        let mut origins = headers.get_all(header::ORIGIN).iter();
        match (origins.next(), origins.next()) {
            (None, _) => Verdict::Program,
            (Some(origin), None) if self.allows(origin) => Verdict::Page(origin.clone()),
            _ => Verdict::Refused,
        }
    }

    fn allows(&self, origin: &HeaderValue) -> bool {
        let Ok(origin) = origin.to_str() else { return false };
        self.allowed.iter().any(|allowed| allowed == "*" || allowed.trim_end_matches('/') == origin)
            || is_loopback(origin)
    }
}

fn is_loopback(origin: &str) -> bool {
    let Ok(uri) = origin.parse::<Uri>() else { return false };
    let known_scheme = matches!(uri.scheme_str(), Some("http" | "https"));
    let bare =
        uri.path() == "/" && uri.query().is_none() && uri.authority().is_some_and(|part| !part.as_str().contains('@'));
    known_scheme && bare && matches!(uri.host(), Some("localhost" | "127.0.0.1" | "[::1]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(origins: &[&'static str], allowed: &[&str]) -> Verdict {
        let mut headers = HeaderMap::new();
        for origin in origins {
            headers.append(header::ORIGIN, HeaderValue::from_static(origin));
        }
        Origins::new(allowed.iter().map(ToString::to_string).collect()).judge(&headers)
    }

    #[test]
    fn programs_and_pages_of_this_machine_are_let_in() {
        assert_eq!(judge(&[], &[]), Verdict::Program);
        for page in
            ["http://localhost", "http://localhost:8080", "http://127.0.0.1:1", "https://[::1]:9", "http://[::1]"]
        {
            assert_eq!(judge(&[page], &[]), Verdict::Page(HeaderValue::from_static(page)), "{page}");
        }
    }

    #[test]
    fn other_pages_are_refused() {
        for page in [
            "http://example.org",
            "http://localhost.example.org",
            "http://127.0.0.1.example.org:80",
            "http://localhost@example.org",
            "http://example.org@localhost",
            "http://localhost/path",
            "file://localhost",
            "null",
            "localhost",
            "",
        ] {
            assert_eq!(judge(&[page], &[]), Verdict::Refused, "{page}");
        }
        assert_eq!(judge(&["http://localhost", "http://example.org"], &[]), Verdict::Refused);
    }

    #[test]
    fn the_list_adds_origins() {
        let page = Verdict::Page(HeaderValue::from_static("https://example.org"));
        assert_eq!(judge(&["https://example.org"], &["https://example.org/"]), page);
        assert_eq!(judge(&["https://example.org"], &["*"]), page);
        assert_eq!(judge(&["https://example.org:81"], &["https://example.org"]), Verdict::Refused);
        assert_eq!(judge(&["http://example.org"], &["https://example.org"]), Verdict::Refused);
    }
}
