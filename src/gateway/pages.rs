//! What people see who open the REST face in a browser: what this is, the description, a page to try it on, the guides.
//! All of it is in the program; the browser may fetch nothing from elsewhere.

use std::{borrow::Cow, sync::Arc};

use axum::{
    Router,
    body::Bytes,
    extract::{Path, Request, rejection::PathRejection},
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get},
};
use utoipa_swagger_ui::Config;

use super::{GatewaySettings, openapi, problem::Problem};

/// Where the description is, seen from the page that shows it.
const DESCRIPTION: &str = "../openapi.json";

/// The guides: page, title and HTML of each.
const GUIDES: &[(&str, &str, &str)] = include!(concat!(env!("OUT_DIR"), "/guides.rs"));

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";

/// Each page, and what it must not do.
const HEADERS: [(HeaderName, &str); 3] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
];

/// The pages' routes.
pub(super) fn routes<S: Clone + Send + Sync + 'static>(settings: &GatewaySettings) -> Router<S> {
    let landing = include_str!("pages/index.html").replace("{version}", env!("CARGO_PKG_VERSION"));
    let description = openapi::document(settings).to_string();
    let swagger_ui = Arc::new(
        Config::from(DESCRIPTION)
            .use_base_layout()
            .try_it_out_enabled(true)
            .display_request_duration(true)
            // No, the description shall not be sent to a validator on the web.
            .validator_url("none"),
    );
    let mut router = Router::new();
    for (page, title, html) in GUIDES {
        router = router.route(&format!("/guides/{page}"), file(HTML, guide(page, title, html)));
    }
    router
        .route("/", file(HTML, landing))
        .route("/style.css", file(CSS, include_str!("pages/style.css")))
        .route("/openapi.json", file("application/json", description))
        .route(
            "/docs",
            only_get(get(async || {
                (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, "docs/")])
            })),
        )
        .route("/docs/", file(HTML, include_str!("pages/docs.html")))
        .route(
            "/docs/{file}",
            only_get(get(async move |name: Result<Path<String>, PathRejection>| match name {
                Ok(Path(name)) => swagger_ui_file(&name, swagger_ui),
                Err(_not_utf_8) => Problem::not_found().into_response(),
            })),
        )
        .layer(from_fn(guard))
}

/// The page of a guide, with links to the others.
fn guide(page: &str, title: &str, html: &str) -> String {
    let links = GUIDES.iter().map(|(other, title, _)| match *other == page {
        true => format!("<a href=\"{other}\" aria-current=\"page\">{title}</a>"),
        false => format!("<a href=\"{other}\">{title}</a>"),
    });
    include_str!("pages/guide.html")
        .replace("{title}", title)
        .replace("{links}", &links.collect::<Vec<_>>().join(" "))
        .replace("{guide}", html)
}

fn file<S: Clone + Send + Sync + 'static>(content_type: &'static str, text: impl Into<String>) -> MethodRouter<S> {
    // Shared by all who read it, however slowly.
    let text = Bytes::from(text.into());
    only_get(get(async move || ([(header::CONTENT_TYPE, content_type)], text)))
}

fn only_get<S: Clone + Send + Sync + 'static>(methods: MethodRouter<S>) -> MethodRouter<S> {
    methods.fallback(async || Problem::method_not_allowed(&[Method::GET, Method::HEAD]))
}

/// A file of Swagger UI.
fn swagger_ui_file(name: &str, config: Arc<Config<'static>>) -> Response {
    let Ok(Some(file)) = utoipa_swagger_ui::serve(name, config) else {
        return Problem::not_found().into_response();
    };
    let bytes = match file.bytes {
        Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        Cow::Owned(bytes) => bytes.into(),
    };
    let mut response = ([(header::CONTENT_TYPE, file.content_type)], bytes).into_response();
    if file.gzpipped {
        let gzip = HeaderValue::from_static("gzip");
        response.headers_mut().insert(header::CONTENT_ENCODING, gzip);
    }
    response
}

async fn guard(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
