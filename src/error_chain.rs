//! The text of an error with its sources. Errors of TLS handshakes are explained (`tls.rs`).

mod tls;

use std::{error::Error, io, iter};

use tokio_rustls::rustls;

type DynError = dyn Error + 'static;

/// The error and its sources, each of them once.
pub fn error_chain(error: &DynError) -> String {
    let text = sources(error).fold(String::new(), |text, error| {
        let more = error.to_string();
        if text.is_empty() {
            more
        // Many errors print their source themselves.
        } else if text.contains(&more) {
            text
        } else {
            format!("{text}: {more}")
        }
    });
    match tls_error(error) {
        Some((original, explanation)) => text.replace(&original, &explanation),
        None => text,
    }
}

/// The innermost source alone: what happened, without the layers that report it.
pub fn root_cause(error: &DynError) -> String {
    match tls_error(error) {
        Some((_, explanation)) => explanation,
        None => sources(error).last().unwrap_or(error).to_string(),
    }
}

/// The text of the TLS error among the sources, and its explanation.
fn tls_error(error: &DynError) -> Option<(String, String)> {
    let error = sources(error).find_map(|error| error.downcast_ref::<rustls::Error>())?;
    Some((error.to_string(), tls::explain(error)?))
}

fn sources(error: &DynError) -> impl Iterator<Item = &DynError> {
    iter::successors(Some(error), |&error| source(error))
}

fn source(error: &DynError) -> Option<&DynError> {
    // The source of an I/O error skips the error that it was made from.
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        source: Option<Box<dyn Error + Send + Sync>>,
    }

    fn layer(text: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Layer {
        let source = Some(source.into());
        Layer { text, source }
    }

    fn end(text: &'static str) -> Layer {
        Layer { text, source: None }
    }

    #[test]
    fn each_source_is_printed_once() {
        assert_eq!(error_chain(&end("a")), "a");
        assert_eq!(error_chain(&layer("a", layer("b", end("c")))), "a: b: c");
        assert_eq!(
            error_chain(&layer(
                "cannot connect: refused",
                layer("cannot connect", end("refused"))
            )),
            "cannot connect: refused"
        );
    }

    #[test]
    fn the_error_within_an_io_error_is_a_source() {
        let error = layer("a", io::Error::other(layer("b", end("c"))));
        assert_eq!(error_chain(&error), "a: b: c");
        assert_eq!(root_cause(&error), "c");
    }
}
