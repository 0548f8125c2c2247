//! Registers tests: each becomes one trial for each database that it runs on.

use std::{env, future::Future};

use libtest_mimic::{Completion, Trial};

use super::{
    browser::{browser_missing, browser_required},
    citus,
    database::{Kind, TestDatabase, postgres_missing, postgres_required},
    example::Example,
    program::is_on_path,
};

/// The tests to run.
#[derive(Default)]
pub struct Suite {
    pub trials: Vec<Trial>,
}

impl Suite {
    /// A test without a database, or with one that it creates itself.
    pub fn test<F: Future<Output = ()>>(&mut self, name: &str, test: impl FnOnce() -> F + Send + 'static) {
        self.trials.push(Trial::test(name, move || {
            run(test());
            Ok(())
        }));
    }

    /// A test that needs PostgreSQL's programs and creates its own databases.
    pub fn with_postgres<F: Future<Output = ()>>(&mut self, name: &str, test: impl FnOnce() -> F + Send + 'static) {
        let left_out = citus::left_out(name);
        self.trials
            .push(Trial::ignorable_test(name, move || match postgres_missing() {
                _ if left_out.is_some() => Ok(Completion::ignored_with(left_out.unwrap_or_default())),
                Some(reason) if postgres_required() => Err(reason.into()),
                Some(reason) => Ok(Completion::ignored_with(reason)),
                None => {
                    run(test());
                    Ok(Completion::Completed)
                }
            }));
    }

    /// A test that calls grpcurl.
    pub fn with_grpcurl<F: Future<Output = ()>>(&mut self, name: &str, test: impl FnOnce() -> F + Send + 'static) {
        self.with_programs(name, &["grpcurl"], false, test);
    }

    /// A test that calls other programs, and may need PostgreSQL. `REQUIRE_GRPCURL=1` makes it a failure that one of the
    /// programs is not there, `REQUIRE_POSTGRES=1` that PostgreSQL is not.
    pub fn with_programs<F: Future<Output = ()>>(
        &mut self,
        name: &str,
        programs: &'static [&'static str],
        postgres: bool,
        test: impl FnOnce() -> F + Send + 'static,
    ) {
        self.trials.push(Trial::ignorable_test(name, move || {
            let program = programs.iter().find(|program| !is_on_path(program));
            let program = program.map(|program| (format!("{program} is not on the PATH"), programs_required()));
            let server = postgres_missing().filter(|_| postgres);
            let server = server.map(|reason| (reason.to_owned(), postgres_required()));
            match program.or(server) {
                Some((reason, true)) => Err(reason.into()),
                Some((reason, false)) => Ok(Completion::ignored_with(reason)),
                None => {
                    run(test());
                    Ok(Completion::Completed)
                }
            }
        }));
    }

    /// A test of a client in `examples/`; `REQUIRE_EXAMPLES=1` makes it a failure that something is missing for that.
    pub fn with_example<F: Future<Output = ()>>(
        &mut self,
        example: Example,
        kind: Kind,
        name: &str,
        test: impl FnOnce(&'static TestDatabase) -> F + Send + 'static,
    ) {
        self.trials.push(Trial::ignorable_test(name, move || {
            let no_database = (kind == Kind::Postgres).then(postgres_missing).flatten();
            match (example.missing(), no_database) {
                (Some(reason), _) if examples_required() => Err(reason.into()),
                (Some(reason), _) => Ok(Completion::ignored_with(reason)),
                (None, Some(reason)) if postgres_required() => Err(reason.into()),
                (None, Some(reason)) => Ok(Completion::ignored_with(reason)),
                (None, None) => {
                    run(on_database(kind, test));
                    Ok(Completion::Completed)
                }
            }
        }));
    }

    /// A test on SQLite that needs tools which `missing` looks for; `REQUIRE_EXAMPLES=1` makes it a failure that one is missing.
    pub fn with_tools<F: Future<Output = ()>>(
        &mut self,
        name: &str,
        missing: fn() -> Option<String>,
        test: impl FnOnce(&'static TestDatabase) -> F + Send + 'static,
    ) {
        self.trials.push(Trial::ignorable_test(name, move || match missing() {
            Some(reason) if examples_required() => Err(reason.into()),
            Some(reason) => Ok(Completion::ignored_with(reason)),
            None => {
                run(on_database(Kind::Sqlite, test));
                Ok(Completion::Completed)
            }
        }));
    }

    /// A test that needs a browser, on SQLite: pages do not depend on the database.
    pub fn with_browser<F: Future<Output = ()>>(
        &mut self,
        name: &str,
        test: impl FnOnce(&'static TestDatabase) -> F + Send + 'static,
    ) {
        self.trials
            .push(Trial::ignorable_test(name, move || match browser_missing() {
                Some(reason) if browser_required() => Err(reason.into()),
                Some(reason) => Ok(Completion::ignored_with(reason)),
                None => {
                    run(on_database(Kind::Sqlite, test));
                    Ok(Completion::Completed)
                }
            }));
    }

    /// A test of one database.
    pub fn on<F: Future<Output = ()>>(
        &mut self,
        kind: Kind,
        name: &str,
        test: impl FnOnce(&'static TestDatabase) -> F + Send + 'static,
    ) {
        let with_database = async move || on_database(kind, test).await;
        match kind {
            Kind::Sqlite => self.test(&format!("{name}::sqlite"), with_database),
            Kind::Postgres => self.with_postgres(&format!("{name}::postgres"), with_database),
        }
    }

    /// A test on SQLite that needs a feature of the machine; ignored with a reason if `missing` returns one.
    pub fn on_sqlite_unless<F: Future<Output = ()>>(
        &mut self,
        name: &str,
        missing: impl FnOnce() -> Option<String> + Send + 'static,
        test: impl FnOnce(&'static TestDatabase) -> F + Send + 'static,
    ) {
        self.trials
            .push(Trial::ignorable_test(format!("{name}::sqlite"), move || {
                if let Some(reason) = missing() {
                    return Ok(Completion::ignored_with(reason));
                }
                run(on_database(Kind::Sqlite, test));
                Ok(Completion::Completed)
            }));
    }

    /// A test that runs on each database.
    pub fn on_each<F: Future<Output = ()>>(
        &mut self,
        name: &str,
        test: impl FnOnce(&'static TestDatabase) -> F + Clone + Send + 'static,
    ) {
        self.on(Kind::Sqlite, name, test.clone());
        self.on(Kind::Postgres, name, test);
    }
}

/// Whether a missing program that tests call is a failure.
fn programs_required() -> bool {
    env::var("REQUIRE_GRPCURL").is_ok_and(|value| value == "1")
}

/// Whether a tool that is missing for an example or a generated client is a failure.
fn examples_required() -> bool {
    env::var("REQUIRE_EXAMPLES").is_ok_and(|value| value == "1")
}

/// Runs a test on a database of its own.
async fn on_database<F: Future<Output = ()>>(kind: Kind, test: impl FnOnce(&'static TestDatabase) -> F) {
    // Leaked, so that a test can share it with any task. It is a few hundred bytes.
    let database: &'static TestDatabase = Box::leak(Box::new(TestDatabase::create(kind).await));
    test(database).await;
    database.remove().await;
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(test);
}
