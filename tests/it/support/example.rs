//! The clients in `examples/`, as their README says to run them.

use std::{
    env,
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::{process::Command, sync::OnceCell};

use super::{
    Api, Program,
    program::{finish, is_on_path, stderr},
};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
const PROTOS: [&str; 2] = [
    "telemetron/device_assignment/v1/device_assignment.proto",
    "telemetron/device_assignment/v1/changes.proto",
];
/// Where the modules are that Python has of the proto.
const PYTHON_MODULES: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/examples-python");

/// A client.
#[derive(Debug, Clone, Copy)]
pub struct Example {
    pub name: &'static str,
    /// Which api it calls.
    pub api: Api,
    /// What it is run with.
    runner: Runner,
    /// Where it is, in `examples/`.
    file: &'static str,
}

#[derive(Debug, Clone, Copy)]
enum Runner {
    /// A script that calls this program, and jq.
    Bash(&'static str),
    Python,
    Node,
    Cargo,
}

const fn example(name: &'static str, api: Api, runner: Runner, file: &'static str) -> Example {
    Example {
        name,
        api,
        runner,
        file,
    }
}

/// The clients for everyday tasks.
pub const TASKS: [Example; 4] = [
    example("curl", Api::Rest, Runner::Bash("curl"), "curl/tasks.sh"),
    example("node_rest", Api::Rest, Runner::Node, "node/tasks_rest.js"),
    example("python_rest", Api::Rest, Runner::Python, "python/tasks_rest.py"),
    example("rust", Api::Grpc, Runner::Cargo, "rust/tasks.rs"),
];

/// The clients that assign devices.
pub const EXAMPLES: [Example; 8] = [
    example("buf", Api::Grpc, Runner::Bash("buf"), "buf/assign.sh"),
    example("curl", Api::Rest, Runner::Bash("curl"), "curl/assign.sh"),
    example("grpcurl", Api::Grpc, Runner::Bash("grpcurl"), "grpcurl/assign.sh"),
    example("node_grpc", Api::Grpc, Runner::Node, "node/assign_grpc.js"),
    example("node_rest", Api::Rest, Runner::Node, "node/assign_rest.js"),
    example("python_grpc", Api::Grpc, Runner::Python, "python/assign_grpc.py"),
    example("python_rest", Api::Rest, Runner::Python, "python/assign_rest.py"),
    example("rust", Api::Grpc, Runner::Cargo, "rust/assign.rs"),
];

/// The clients that keep a copy of the owners, and answer from it: an identifier a line.
pub const CACHES: [Example; 2] = [
    example("node_cache", Api::Rest, Runner::Node, "node/cache_rest.js"),
    example("python_cache", Api::Grpc, Runner::Python, "python/cache_grpc.py"),
];

impl Example {
    /// What is not there that it needs.
    pub fn missing(&self) -> Option<String> {
        let on_path = |program: &str| (!is_on_path(program)).then(|| format!("{program} is not on the PATH"));
        let installed = |path: &Path| (!path.exists()).then(|| format!("there is no {}", path.display()));
        match self.runner {
            Runner::Bash(program) => on_path(program).or_else(|| on_path("jq")),
            Runner::Python => installed(&python()),
            Runner::Node => on_path("node").or_else(|| installed(&Path::new(FOLDER).join("node/node_modules"))),
            Runner::Cargo => installed(&self.built()),
        }
    }

    /// It, as a caller with `key` of the service at `server` runs it.
    pub async fn command(&self, server: &Program, key: &str, arguments: &[&str]) -> Command {
        let file = Path::new(FOLDER).join(self.file);
        let mut command = match self.runner {
            Runner::Bash(_) => clean(&file),
            Runner::Node => clean("node"),
            Runner::Python => clean(python()),
            Runner::Cargo => clean(self.built()),
        };
        match self.runner {
            Runner::Bash(_) | Runner::Cargo => {}
            Runner::Node => drop(command.arg(file)),
            Runner::Python => {
                command.arg(file).env("PYTHONPATH", modules().await);
            }
        }
        let (variable, address) = match self.api {
            Api::Grpc => ("DEVICE_ASSIGNMENT_SERVER", server.grpc),
            Api::Rest | Api::RemoteRest => ("DEVICE_ASSIGNMENT_REST", server.rest),
        };
        command
            .args(arguments)
            .env(variable, format!("http://{address}"))
            .env("DEVICE_ASSIGNMENT_API_KEY", key);
        command
    }

    /// The program that cargo has built of it, beside the program of this project.
    fn built(&self) -> PathBuf {
        let program = Path::new(env!("CARGO_BIN_EXE_device-assignment"));
        let name = Path::new(self.file).file_stem().unwrap_or_default();
        program.with_file_name("examples").join(name)
    }

    /// It, with as many identifiers as there are lines in the file `list`. They are more than the arguments of a program may
    /// have by default, so a shell with more room for them calls it.
    pub async fn command_with_list(&self, server: &Program, key: &str, email: &str, list: &Path) -> Command {
        const SCRIPT: &str =
            r#"ulimit -s unlimited && mapfile -t identifiers <"$1" && exec "${@:2}" "${identifiers[@]}""#;
        let called = self.command(server, key, &[email]).await;
        let called = called.as_std();
        let mut shell = clean("bash");
        shell
            .args(["-c", SCRIPT, "bash"])
            .arg(list)
            .arg(called.get_program())
            .args(called.get_args())
            .envs(called.get_envs().filter_map(|(name, value)| Some((name, value?))));
        shell
    }
}

/// A script in `examples/`, for the service at `server`.
pub fn script(file: &str, server: &Program) -> Command {
    let mut command = clean(Path::new(FOLDER).join(file));
    command.env("DEVICE_ASSIGNMENT_SERVER", format!("http://{}", server.grpc));
    command
}

/// A program with nothing of the environment but where programs are, and no proxy.
pub fn clean(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", env::var_os("PATH").unwrap_or_default())
        .env("NO_PROXY", "*")
        // Where buf keeps what it needs not keep.
        .env("HOME", env!("CARGO_TARGET_TMPDIR"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .kill_on_drop(true)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// The Python of the examples.
pub fn python() -> PathBuf {
    Path::new(FOLDER).join("python/.venv/bin/python")
}

/// Makes Python's modules of the proto, once.
async fn modules() -> &'static str {
    static MADE: OnceCell<()> = OnceCell::const_new();
    MADE.get_or_init(async || {
        std::fs::create_dir_all(PYTHON_MODULES).expect("a folder");
        let mut command = clean(python());
        let proto = concat!(env!("CARGO_MANIFEST_DIR"), "/proto");
        command.args(["-m", "grpc_tools.protoc", "-I", proto]).args(PROTOS);
        for option in ["--python_out", "--grpc_python_out"] {
            command.arg(format!("{option}={PYTHON_MODULES}"));
        }
        let made = finish(command).await;
        assert!(made.status.success(), "{}", stderr(&made));
    })
    .await;
    PYTHON_MODULES
}
