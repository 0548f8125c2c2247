//! The pages that the REST API serves to browsers: the start page, the console, the OpenAPI description, a page to try calls, the
//! guides.
//! All files are part of the program; the browser may load nothing from other servers.

use std::{
    borrow::Cow,
    sync::{Arc, LazyLock},
};

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

use super::{GatewaySettings, console, openapi, problem::Problem};

/// The address of the description, relative to the page that shows it.
const DESCRIPTION: &str = "../openapi.json";

/// A guide, as `build/guides.rs` makes it.
struct Guide {
    /// Its name in addresses.
    page: &'static str,
    /// Its name in the navigation.
    title: &'static str,
    /// The HTML of its first heading, of its table of contents, and of the rest.
    heading: &'static str,
    contents: &'static str,
    body: &'static str,
}

const GUIDES: &[Guide] = include!(concat!(env!("OUT_DIR"), "/guides.rs"));

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The page to try calls.
const TRY_IT: Page = Page {
    path: "/docs/",
    title: "Try it",
};
/// The console.
const CONSOLE: Page = Page {
    path: "/console/",
    title: "Console",
};
/// The console, on the start page.
const CONSOLE_CARD: &str =
    "        <li><a href=\"console/\">Console</a><br>Look up, assign and transfer devices by hand.</li>\n";

/// A page that is not a guide, as the navigation names it.
struct Page {
    path: &'static str,
    title: &'static str,
}

/// The headers of every page.
const HEADERS: [(HeaderName, &str); 4] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    // The pages change only with the version.
    (header::CACHE_CONTROL, "max-age=300"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
];

/// The pages' routes.
pub(super) fn routes<S: Clone + Send + Sync + 'static>(settings: &GatewaySettings) -> Router<S> {
    let has_console = settings.console;
    let landing = move || {
        include_str!("pages/index.html")
            .replace("{version}", env!("CARGO_PKG_VERSION"))
            .replace("{console}", if has_console { CONSOLE_CARD } else { "" })
            .replace("{navigation}", &navigation("./", "", has_console))
    };
    let try_it =
        move || include_str!("pages/docs.html").replace("{navigation}", &navigation("../", TRY_IT.path, has_console));
    let settings = settings.clone();
    let description = move || format!("{}\n", openapi::document(&settings));
    let swagger_ui = Arc::new(
        Config::from(DESCRIPTION)
            .use_base_layout()
            .try_it_out_enabled(true)
            .display_request_duration(true)
            // Otherwise the page would send the description to a validator on the web.
            .validator_url("none"),
    );
    let mut router = Router::new();
    for guide in GUIDES {
        router = router.route(&guide.path(), file(HTML, move || guide.html(has_console)));
    }
    if has_console {
        router = router.merge(console_routes());
    }
    router
        .route("/", file(HTML, landing))
        .route("/style.css", file(CSS, || include_str!("pages/style.css").to_owned()))
        .route("/page.js", file(SCRIPT, || include_str!("pages/page.js").to_owned()))
        .route("/openapi.json", file("application/json", description))
        .route("/docs", redirect("docs/"))
        .route(TRY_IT.path, file(HTML, try_it))
        .route(
            "/docs/{file}",
            only_get(get(
                async move |name: Result<Path<String>, PathRejection>, request: Request| {
                    let file = name.ok().and_then(|Path(name)| swagger_ui_file(&name, swagger_ui));
                    file.unwrap_or_else(|| not_found(&request, has_console))
                },
            )),
        )
        .layer(from_fn(guard))
}

/// The routes of the console.
fn console_routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let page = || console::PAGE.replace("{navigation}", &navigation("../", CONSOLE.path, true));
    let mut router = Router::new()
        .route("/console", redirect("console/"))
        .route(CONSOLE.path, file(HTML, page))
        .route("/console/console.css", file(CSS, || console::STYLE.to_owned()));
    for (name, text) in console::SCRIPTS {
        router = router.route(&format!("/console/{name}"), file(SCRIPT, || text.to_owned()));
    }
    router
}

/// Answers a request for an unknown path: a page for browsers, the JSON of an error for programs. A path of the API is for
/// programs alone, since some HTTP libraries accept HTML by default.
pub(super) fn not_found(request: &Request, has_console: bool) -> Response {
    let path = request.uri().path();
    let accepted = request.headers().get_all(header::ACCEPT).into_iter();
    let mut accepted = accepted.flat_map(|value| value.to_str().unwrap_or_default().split(','));
    let is_browser = accepted.any(|range| range.trim().starts_with("text/html"));
    if path.starts_with("/api/") || !is_browser {
        return Problem::not_found().into_response();
    }
    // Links are relative: a proxy may serve the pages below a path of its own.
    let root = format!("./{}", "../".repeat(path.matches('/').count().saturating_sub(1)));
    let page = include_str!("pages/not-found.html")
        .replace("{navigation}", &navigation(&root, "", has_console))
        .replace("{root}", &root);
    with_page_headers((StatusCode::NOT_FOUND, [(header::CONTENT_TYPE, HTML)], page).into_response())
}

impl Guide {
    fn path(&self) -> String {
        format!("/guides/{}", self.page)
    }

    fn html(&self, has_console: bool) -> String {
        include_str!("pages/guide.html")
            .replace("{title}", self.title)
            .replace("{navigation}", &navigation("../", &self.path(), has_console))
            .replace("{heading}", self.heading)
            .replace("{contents}", self.contents)
            .replace("{body}", self.body)
    }
}

/// The links to all pages, from the page at the path `current`, from which `root` leads to the start page.
fn navigation(root: &str, current: &str, has_console: bool) -> String {
    let guides = GUIDES.iter().map(|guide| (guide.path(), guide.title));
    let pages = has_console.then_some(CONSOLE).into_iter().chain([TRY_IT]);
    let links = pages.map(|page| (page.path.to_owned(), page.title)).chain(guides);
    let links = links.map(|(path, title)| {
        let mark = if path == current { " aria-current=\"page\"" } else { "" };
        format!(" <a href=\"{root}{}\"{mark}>{title}</a>", path.trim_start_matches('/'))
    });
    let links: String = links.collect();
    format!("    <nav class=\"bar\"><a href=\"{root}\">Device assignment</a>{links}</nav>")
}

/// A file that is made for its first request, so that a start does not wait for what nobody may ask for.
fn file<S: Clone + Send + Sync + 'static>(
    content_type: &'static str,
    make: impl FnOnce() -> String + Send + 'static,
) -> MethodRouter<S> {
    // All requests share the same bytes.
    let text = Arc::new(LazyLock::new(|| Bytes::from(make())));
    only_get(get(async move || {
        ([(header::CONTENT_TYPE, content_type)], Bytes::clone(&text))
    }))
}

/// A permanent redirect to a relative address.
fn redirect<S: Clone + Send + Sync + 'static>(to: &'static str) -> MethodRouter<S> {
    only_get(get(async move || {
        (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, to)])
    }))
}

fn only_get<S: Clone + Send + Sync + 'static>(methods: MethodRouter<S>) -> MethodRouter<S> {
    methods.fallback(async || Problem::method_not_allowed(&[Method::GET, Method::HEAD]))
}

/// A file of Swagger UI, if there is one of this name.
fn swagger_ui_file(name: &str, config: Arc<Config<'static>>) -> Option<Response> {
    let file = utoipa_swagger_ui::serve(name, config).ok()??;
    let bytes = match file.bytes {
        Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        Cow::Owned(bytes) => bytes.into(),
    };
    let mut response = ([(header::CONTENT_TYPE, file.content_type)], bytes).into_response();
    if file.gzpipped {
        let gzip = HeaderValue::from_static("gzip");
        response.headers_mut().insert(header::CONTENT_ENCODING, gzip);
    }
    Some(response)
}

async fn guard(request: Request, next: Next) -> Response {
    with_page_headers(next.run(request).await)
}

fn with_page_headers(mut response: Response) -> Response {
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
