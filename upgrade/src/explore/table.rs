//! The transition table of a mode, as the machine was seen to take it, in Markdown and dot.
use std::collections::BTreeSet;
use std::fmt::Write;

use crate::{Mode, Step, Timing};

/// Steps and what follows them, as an exploration met them: what stands here is what the shipped machine does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Table {
    /// Whose.
    pub mode: Mode,
    edges: BTreeSet<(Step, Result<Step, &'static str>)>,
}

impl Table {
    pub(super) const fn new(mode: Mode, edges: BTreeSet<(Step, Result<Step, &'static str>)>) -> Self {
        Self { mode, edges }
    }

    fn steps(&self) -> BTreeSet<Step> {
        self.edges.iter().map(|(from, _)| *from).collect()
    }

    fn after(&self, step: Step) -> impl Iterator<Item = Result<Step, &'static str>> + '_ {
        let mine = self.edges.iter().filter(move |(from, _)| *from == step);
        mine.map(|(_, to)| *to).filter(move |to| *to != Ok(step))
    }

    /// As a table of Markdown, a line a step. Ends are in bold.
    pub fn markdown(&self) -> String {
        let timing = Timing::default();
        let mut text = String::from("| step | order | leaves when it sees | budget | may lead to |\n");
        text.push_str("| --- | --- | --- | --- | --- |\n");
        for step in self.steps() {
            let next: Vec<String> = self
                .after(step)
                .map(|to| match to {
                    Ok(step) => step.name().to_owned(),
                    Err(end) => format!("**{end}**"),
                })
                .collect();
            let (order, waits) = words(step, self.mode);
            let budget = in_words(timing.budget_ms(step, self.mode));
            // Writing to a string does not fail.
            let _ = writeln!(
                text,
                "| `{step}` | {order} | {waits} | {budget} | {} |",
                next.join(", ")
            );
        }
        text
    }

    /// As a graph for Graphviz. The way back is dashed, ends are boxes.
    pub fn dot(&self) -> String {
        let mut text = format!("digraph {} {{\n  rankdir=LR;\n  node [shape=ellipse];\n", self.mode);
        let ends: BTreeSet<&str> = self.edges.iter().filter_map(|(_, to)| to.err()).collect();
        for end in ends {
            let _ = writeln!(text, "  {end} [shape=box];");
        }
        for step in self.steps() {
            for to in self.after(step) {
                let back = matches!(to, Ok(to) if super::world::is_backward(to) && to != Step::Recovering);
                let style = if back { " [style=dashed]" } else { "" };
                let _ = writeln!(text, "  {step} -> {}{style};", to.map_or_else(|end| end, Step::name));
            }
        }
        text.push_str("}\n");
        text
    }
}

fn in_words(ms: u64) -> String {
    match ms {
        ms if ms % 60_000 == 0 => format!("{} min", ms / 60_000),
        ms => format!("{} s", ms / 1_000),
    }
}

/// What a step orders, and what it waits for.
const fn words(step: Step, mode: Mode) -> (&'static str, &'static str) {
    match step {
        Step::Planned => ("–", "what the target runs"),
        Step::Prefetching => ("`prefetch`", "the order taken"),
        Step::Closing | Step::Reclosing => ("`ingress` close", "ingress closed"),
        Step::Draining | Step::Redraining => ("–", "no connection, or the deadline"),
        Step::Replacing => match mode {
            Mode::Hot => ("`spawn` new", "the new instance running again"),
            Mode::Warm => ("`replace_in_place` new", "the new version running"),
            Mode::Cold | Mode::Config => ("`replace` new", "the new version running"),
        },
        Step::Restoring => match mode {
            Mode::Hot => ("`spawn` old", "the old instance running again"),
            Mode::Warm => ("`replace_in_place` old", "the old version running"),
            Mode::Cold | Mode::Config => ("`replace` old", "the old version running"),
        },
        Step::Verifying => ("–", "good looks in a row at one new instance"),
        Step::VerifyingOld => ("–", "good looks in a row at one old instance"),
        Step::Opening | Step::Reopening => ("`ingress` open", "ingress open"),
        Step::Probation => ("–", "a quiet time"),
        Step::Recovering => ("`fence`", "whatever there is: it decides"),
        Step::Spawning => ("`spawn` new", "the new instance running"),
        Step::Offering => (
            "`hand_over` offer",
            "all listeners claimed, the new one ready, the session up",
        ),
        Step::Joining => ("`hand_over` accept", "the new instance polling"),
        Step::Proving => ("–", "good looks in a row, and connections accepted"),
        Step::Quiescing => ("`hand_over` quiesce", "the old instance not polling"),
        Step::Migrating => ("`hand_over` migrate", "no connection at the old one, or the deadline"),
        Step::Committing => (
            "`hand_over` commit",
            "the new instance committed, and good at this look",
        ),
        Step::Retiring => ("`hand_over` retire", "the old instance gone or passive"),
        Step::Stopping => ("`stop` old", "the old instance gone, or the deadline"),
        Step::Resetting => ("`reset` old", "the old slot empty"),
        Step::Returning => (
            "`hand_over` return",
            "the old one polling and everything back, or the deadline",
        ),
        Step::Clearing => ("`reset` new", "the new slot empty"),
        Step::Pushing => ("`apply_config` new", "the new configuration acknowledged"),
        Step::Reverting => ("`apply_config` old", "the old configuration acknowledged"),
    }
}

/// The page of the guide that shows the tables of these modes.
pub fn tables(explored: &[super::Explored]) -> String {
    let mut text = String::from(
        "<!-- Printed by `cargo run --release -p unattended-upgrade --example explore -- --markdown`; a test compares. -->\n\n\
         # How one target changes: the tables\n\n\
         What the machine did in an exhaustive exploration with up to three faults, not a description of it. In the graphs,\n\
         dashed edges lead to the way back, and ends are boxes. A step that runs out of its budget leads to the way back, or on\n\
         where that is the safe thing. Budgets are the defaults of `Timing`.\n",
    );
    for one in explored {
        let (mode, table) = (one.mode, &one.table);
        let _ = write!(
            text,
            "\n## {mode}\n\n{}\n```dot\n{}```\n",
            table.markdown(),
            table.dot()
        );
    }
    text
}
