//! No link is dead: neither in the Markdown files nor on the pages that the service serves.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use reqwest::Url;

use super::markdown::documents;
use crate::support::{Api, Kind, TestDatabase, TestServer};

/// Allowed external links. They are not followed, because the tests run without a network.
const EXTERNAL: [&str; 3] = [
    "https://keepachangelog.com/",
    "https://semver.org/",
    "https://www.standardwebhooks.com",
];

pub async fn of_documents() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = root.canonicalize().expect("a folder");
    let documents = documents();
    let anchors = documents
        .iter()
        .map(|document| (root.join(&document.name), &document.anchors));
    let anchors: BTreeMap<PathBuf, &Vec<String>> = anchors.collect();
    let mut dead = Vec::new();
    let mut followed = 0;
    for document in &documents {
        for link in &document.links {
            followed += 1;
            if link.contains("://") {
                if !EXTERNAL.iter().any(|known| link.starts_with(known)) {
                    dead.push(format!("{}: {link} is not an allowed external link", document.name));
                }
                continue;
            }
            let (path, fragment) = link.split_once('#').unwrap_or((link, ""));
            let file = root.join(&document.name);
            let target = match path {
                "" => Ok(file),
                path => file.with_file_name(path).canonicalize(),
            };
            let is_there = target.is_ok_and(|target| {
                let is_inside = target.starts_with(&root);
                let has = |anchors: &&Vec<String>| anchors.iter().any(|anchor| anchor == fragment);
                is_inside && (fragment.is_empty() || anchors.get(&target).is_some_and(has))
            });
            if !is_there {
                dead.push(format!("{}: {link}", document.name));
            }
        }
    }
    assert!(dead.is_empty(), "dead links: {dead:#?}");
    assert!(followed > 20, "only {followed} links");
}

pub async fn of_pages() {
    let database = TestDatabase::create(Kind::Sqlite).await;
    let server = TestServer::start(&database).await;
    let origin = format!("http://{}", server.client(Api::Rest, "").address());
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let start = Url::parse(&origin).expect("a URL");
    let mut found: BTreeMap<Url, String> = BTreeMap::new();
    let mut links: BTreeSet<(Url, Url)> = BTreeSet::from([(start.clone(), start)]);
    let mut fragments = Vec::new();
    while let Some((page, link)) = links.pop_first() {
        if !link.as_str().starts_with(&origin) {
            assert!(
                EXTERNAL.iter().any(|known| link.as_str().starts_with(known)),
                "{page}: {link}"
            );
            continue;
        }
        let mut target = link.clone();
        target.set_fragment(None);
        if link.fragment().is_some() {
            fragments.push((page.clone(), link));
        }
        if found.contains_key(&target) {
            continue;
        }
        let response = http.get(target.clone()).send().await.expect("an answer");
        assert_eq!(response.status(), 200, "{page} links to {target}");
        let is_page = response.headers()["content-type"]
            .to_str()
            .expect("text")
            .starts_with("text/html");
        let text = response.text().await.expect("text");
        if is_page {
            let attributes = ["href=\"", "src=\""]
                .into_iter()
                .flat_map(|name| text.split(name).skip(1));
            let values = attributes.filter_map(|rest| rest.split('"').next());
            links.extend(values.map(|value| (target.clone(), target.join(value).expect("a link"))));
        }
        found.insert(target, text);
    }
    for (page, link) in &fragments {
        let id = format!("id=\"{}\"", link.fragment().expect("a fragment"));
        let mut target = link.clone();
        target.set_fragment(None);
        assert!(found[&target].contains(&id), "{page} links to {link}");
    }
    let pages: Vec<&str> = found
        .keys()
        .filter_map(|url| url.path().strip_prefix("/guides/"))
        .collect();
    assert_eq!(
        pages,
        [
            "api",
            "changelog",
            "changes",
            "command-line",
            "errors",
            "grpc",
            "rest",
            "tasks"
        ]
    );
    assert!(fragments.len() > 3, "{fragments:?}");
    server.stop().await;
    database.remove().await;
}
