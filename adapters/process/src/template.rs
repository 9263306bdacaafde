use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::fill::fill;
use crate::program::{Able, Filled, Place, Program};
use crate::{Envoy, Foreign, Sidecar, TemplateError};

/// A command line, in which `{name}` stands for a value.
///
/// Every text may name `{target}`, `{version}`, `{instance}`, `{slot}` (`a` or `b`), `{epoch}`, `{dir}` (the target's
/// directory), `{admin}` (a path for a Unix socket that no other instance is given), and the parameters of its
/// [`Target`](crate::Target). `{{` and `}}` stand for braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    program: String,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Start {
    /// A program: a path, or a name that is looked up in `PATH`.
    pub fn new(program: impl Into<String>) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
        }
    }

    /// With more arguments.
    #[must_use]
    pub fn arguments<T: Into<String>>(mut self, arguments: impl IntoIterator<Item = T>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// With one more variable of the environment, beside those of the adapter's own process.
    #[must_use]
    pub fn environment(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// The command at a place.
    pub(crate) fn fill(&self, place: &Place) -> Result<Filled, TemplateError> {
        let values = place.values();
        let program = fill("program", &self.program, &values)?;
        let program = find("program", &program)?;
        let arguments = self.arguments.iter().enumerate();
        let arguments = arguments.map(|(at, text)| fill(&format!("arguments[{at}]"), text, &values));
        let environment = self.environment.iter().map(|(name, text)| {
            let field = format!("environment.{name}");
            if name.is_empty() || name.contains(['=', '\0']) {
                let fix = "give a name without `=`";
                return Err(TemplateError::new(field, "not a name of a variable", fix));
            }
            fill(&field, text, &values).map(|value| (name.clone(), value))
        });
        Ok(Filled {
            program,
            arguments: arguments.collect::<Result<_, _>>()?,
            environment: environment.collect::<Result<_, _>>()?,
        })
    }
}

/// The file that a program's name means, if it can be run.
pub(crate) fn find(field: &str, program: &str) -> Result<String, TemplateError> {
    let runs = |path: &Path| path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok();
    if program.contains('/') {
        let path = PathBuf::from(program);
        if runs(&path) {
            return Ok(program.to_owned());
        }
        let problem = if path.exists() { "cannot be run" } else { "is not there" };
        let problem = format!("`{program}` {problem}");
        return Err(TemplateError::new(
            field,
            problem,
            "give the path of an executable file",
        ));
    }
    let directories = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&directories)
        .map(|directory| directory.join(program))
        .find(|path| runs(path));
    found.map(|path| path.display().to_string()).ok_or_else(|| {
        let problem = format!("`{program}` is in no directory of PATH");
        TemplateError::new(field, problem, "give its whole path, or install it")
    })
}

/// How the processes of a target are started, asked, closed, opened and ended.
#[derive(Clone, Debug)]
pub struct Template {
    pub(crate) program: Arc<dyn Program>,
    pub(crate) application: Option<Start>,
    pub(crate) grace_ms: u64,
    pub(crate) balancers_ms: u64,
    pub(crate) log_bytes: u64,
    pub(crate) log_files: u32,
}

impl Template {
    fn new(program: Arc<dyn Program>) -> Self {
        Self {
            program,
            application: None,
            grace_ms: 10_000,
            balancers_ms: 0,
            log_bytes: 16 << 20,
            log_files: 2,
        }
    }

    /// Processes of a sidecar that speaks this adapter's own protocol: it hands connections over, and opens a closed way
    /// by itself.
    pub fn sidecar(sidecar: Sidecar) -> Self {
        Self::new(Arc::new(sidecar))
    }

    pub(crate) fn able(&self) -> Able {
        let able = self.program.able();
        Able {
            barrier: able.ingress && self.balancers_ms > 0,
            ..able
        }
    }

    /// Envoys.
    pub fn envoy(envoy: Envoy) -> Self {
        Self::new(Arc::new(envoy))
    }

    /// Processes of any other program.
    pub fn foreign(foreign: Foreign) -> Self {
        Self::new(Arc::new(foreign))
    }

    /// With an application beside the sidecar: a cold replacement restarts it too, a warm or hot one leaves it alone.
    #[must_use]
    pub fn application(mut self, start: Start) -> Self {
        self.application = Some(start);
        self
    }

    /// Sets how long a process that was told to end may take before it is killed, in milliseconds. Default 10 s.
    #[must_use]
    pub const fn grace_ms(mut self, grace_ms: u64) -> Self {
        self.grace_ms = grace_ms;
        self
    }

    /// Sets how long balancers may go on leading traffic to a target whose way was closed, in milliseconds: more than the time
    /// between two of their questions. The platform then has a [barrier](unattended_upgrade::Capabilities::barrier), and
    /// nothing is replaced before they have heard, and two quiet seconds more. Stay below
    /// [`Timing::close_ms`](unattended_upgrade::Timing::close_ms), 10 s, by more than those two seconds, or raise that: a way that is not
    /// known to be closed by then turns the attempt back. So does a proxy that does not speak: replace that one cold. Default 0: it has none, and what it shows as closed is believed. The platform has it if every target has.
    #[must_use]
    pub const fn balancers_ms(mut self, balancers_ms: u64) -> Self {
        self.balancers_ms = balancers_ms;
        self
    }

    /// Sets how long a log may grow, in bytes, and how many full ones are kept beside it. Default 16 MiB and 2.
    #[must_use]
    pub const fn logs(mut self, bytes: u64, files: u32) -> Self {
        self.log_bytes = bytes;
        self.log_files = files;
        self
    }
}
