//! Gives a running change a command, or asks how it stands.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use unattended::{Actor, Command, Order};
use unattended_control::{Answer, Request, ask};

/// Gives a running change a command over its socket, or asks how it stands.
///
/// Exit codes: 0 it was taken, or answered; 1 the change refused it; 2 bad input, or nobody listens.
#[derive(Debug, Parser)]
#[command(name = "unattended-tell", disable_version_flag = true, max_term_width = 100)]
struct Options {
    /// The socket of the change
    socket: PathBuf,
    /// Who says it; asked for where something is to be done
    #[arg(long, value_name = "NAME", global = true)]
    by: Option<String>,
    /// By what authority, or on what occasion: an incident, a ticket
    #[arg(long, value_name = "OCCASION", default_value = "", global = true)]
    via: String,
    /// Why; asked for where something is to be done
    #[arg(long, value_name = "TEXT", global = true)]
    reason: Option<String>,
    /// It is a program that says it, and no person
    #[arg(long, global = true)]
    program: bool,
    /// The number of the question that it answers: resume, approve, roll back and abort are refused where another is open by then
    #[arg(long, value_name = "NUMBER", global = true)]
    question: Option<u64>,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// No new effect from now on
    Freeze,
    /// Nothing more goes forward; what is under way comes to its end
    Pause,
    /// Go on
    Resume,
    /// Yes, to the open question
    Approve,
    /// Roll the whole change back
    RollBack,
    /// End here and leave everything as it is
    Abort,
    /// Leave an application out
    Skip {
        /// Its name
        app: String,
    },
    /// Leave a target as it is
    Pin {
        /// Its name
        target: String,
    },
    /// Somebody knows of a matter
    Acknowledge {
        /// Its key
        key: String,
    },
    /// How it stands, as JSON
    Summary,
    /// What people were told and is still so, as JSON
    Notices,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match run(options) {
        Ok(code) => code,
        Err(text) => {
            eprintln!("error: {text}");
            ExitCode::from(2)
        }
    }
}

fn run(options: Options) -> Result<ExitCode, String> {
    let request = match options.what {
        What::Summary => Request::Summary,
        What::Notices => Request::Notices,
        What::Freeze => order(&options, Command::Freeze)?,
        What::Pause => order(&options, Command::Pause)?,
        What::Resume => order(&options, Command::Resume)?,
        What::Approve => order(&options, Command::Approve)?,
        What::RollBack => order(&options, Command::RollBack)?,
        What::Abort => order(&options, Command::Abort)?,
        What::Skip { ref app } => order(&options, Command::Skip { app: app.clone() })?,
        What::Pin { ref target } => order(&options, Command::Pin { target: target.clone() })?,
        What::Acknowledge { ref key } => order(&options, Command::Acknowledge { key: key.clone() })?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
    let answer = runtime
        .block_on(ask(&options.socket, &request))
        .map_err(|error| error.to_string())?;
    let shown = match &answer {
        Answer::Taken(_) => return Ok(ExitCode::SUCCESS),
        Answer::Refused(why) => {
            eprintln!("refused: {why}");
            return Ok(ExitCode::from(1));
        }
        Answer::Summary(summary) => serde_json::to_string_pretty(summary),
        Answer::Notices(notices) => serde_json::to_string_pretty(notices),
        other => serde_json::to_string_pretty(other),
    };
    println!("{}", shown.map_err(|error| error.to_string())?);
    Ok(ExitCode::SUCCESS)
}

fn order(options: &Options, command: Command) -> Result<Request, String> {
    let missing = |option: &str| format!("a command needs `{option}`: it is in the journal with it");
    let by = options.by.clone().ok_or_else(|| missing("--by NAME"))?;
    let reason = options.reason.clone().ok_or_else(|| missing("--reason TEXT"))?;
    let actor = if options.program {
        Actor::program(by, options.via.clone())
    } else {
        Actor::person(by, options.via.clone())
    };
    Ok(Request::Order(Order {
        command,
        actor,
        reason,
        question: options.question,
    }))
}
