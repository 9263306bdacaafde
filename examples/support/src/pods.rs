//! What `kubectl get pods -A -o json` prints, one pod in memory at a time.

mod app;
mod health;
mod labels;
mod wire;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::io::{BufReader, Read};
use std::sync::Arc;

use regex_lite::Regex;
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::builder::{Ids, Names, room};
use crate::guard::Watch;
use crate::jsonl::reason;
use crate::text::{count, counted, listed, shortened};
use crate::{Field, InputError, Inventory, Labels, Place, Spot, State, Target};
use app::Rule;
use wire::Pod;

/// The containers that are the sidecar: those whose whole name the pattern matches.
#[derive(Debug)]
pub(crate) struct Chosen {
    given: String,
    whole: Regex,
}

impl Chosen {
    pub(crate) fn compile(given: &str) -> Result<Self, InputError> {
        let wrong = |why: String| InputError::Container {
            given: given.to_owned(),
            why,
        };
        if given.is_empty() {
            return Err(wrong("is empty".to_owned()));
        }
        // Alone first: what closes a group that it did not open must not pass by way of the group around it.
        Regex::new(given).map_err(|error| wrong(error.to_string()))?;
        let whole = Regex::new(&format!("^(?:{given})$")).map_err(|error| wrong(error.to_string()))?;
        Ok(Self {
            given: given.to_owned(),
            whole,
        })
    }
}

pub(crate) fn read(
    file: &Arc<str>,
    bytes: impl Read,
    watch: &Watch,
    chosen: Option<&Chosen>,
) -> Result<Inventory, InputError> {
    let mut scan = Scan::new(file, watch, chosen);
    let mut json = serde_json::Deserializer::from_reader(BufReader::with_capacity(64 << 10, bytes));
    let outcome = Document { scan: &mut scan }.deserialize(&mut json);
    let outcome = outcome.and_then(|()| {
        scan.document_done = true;
        json.end()
    });
    if let Err(error) = outcome {
        return Err(scan.failure(&error));
    }
    scan.finish()
}

/// One target before all pods are known, and with them the names of applications and labels.
struct Row {
    id: Arc<str>,
    namespace: Arc<str>,
    app: Arc<str>,
    labels: Labels,
    state: State,
}

/// Everything that is kept while pods pass by.
struct Scan<'a> {
    file: &'a Arc<str>,
    watch: &'a Watch,
    chosen: Option<&'a Chosen>,
    names: Names,
    ids: Ids,
    rows: Vec<Row>,
    pairs: Vec<(Arc<str>, Arc<str>)>,
    namespaces: BTreeSet<Arc<str>>,
    containers: BTreeMap<String, usize>,
    labels_left_out: labels::LeftOut,
    /// Keys of labels that say something else than the application for at least one target.
    telling: BTreeSet<Arc<str>>,
    items: u64,
    last: Option<Arc<str>>,
    in_items: bool,
    document_done: bool,
    terminating: usize,
    finished: usize,
    without: usize,
    by_rule: [usize; 3],
    unknown: usize,
    first_unknown: Option<Arc<str>>,
    fault: Option<InputError>,
}

impl<'a> Scan<'a> {
    fn new(file: &'a Arc<str>, watch: &'a Watch, chosen: Option<&'a Chosen>) -> Self {
        Self {
            file,
            watch,
            chosen,
            names: Names::default(),
            ids: Ids::default(),
            rows: Vec::new(),
            pairs: Vec::new(),
            namespaces: BTreeSet::new(),
            containers: BTreeMap::new(),
            labels_left_out: labels::LeftOut::default(),
            telling: BTreeSet::new(),
            items: 0,
            last: None,
            in_items: false,
            document_done: false,
            terminating: 0,
            finished: 0,
            without: 0,
            by_rule: [0; 3],
            unknown: 0,
            first_unknown: None,
            fault: None,
        }
    }

    fn place(&self, pod: Option<&Arc<str>>) -> Place {
        Place {
            file: Arc::clone(self.file),
            spot: Spot::Item {
                number: self.items,
                pod: pod.cloned(),
            },
        }
    }

    fn kind(&self, kind: &str) -> Result<(), InputError> {
        if kind == "List" || kind == "PodList" {
            return Ok(());
        }
        Err(InputError::WrongFormat {
            place: Place {
                file: Arc::clone(self.file),
                spot: Spot::Whole,
            },
            what: format!("holds a `{}`", shortened(kind)),
            fix: "list pods: `kubectl get pods -A -o json`",
        })
    }

    fn take(&mut self, pod: &Pod) -> Result<(), InputError> {
        self.items += 1;
        let metadata = pod.metadata.as_ref();
        let Some((metadata, name)) = metadata.and_then(|metadata| {
            let name = metadata.name.as_deref().filter(|name| !name.is_empty())?;
            Some((metadata, name))
        }) else {
            return Err(InputError::Nameless {
                place: self.place(None),
            });
        };
        let namespace = metadata
            .namespace
            .as_deref()
            .filter(|namespace| !namespace.is_empty())
            .unwrap_or("default");
        let id: Arc<str> = format!("{namespace}/{name}").into();
        self.last = Some(Arc::clone(&id));
        if let Some(kind) = pod.kind.as_deref().filter(|kind| *kind != "Pod") {
            return Err(InputError::WrongFormat {
                place: self.place(Some(&id)),
                what: format!("is a `{}`, not a pod", shortened(kind)),
                fix: "list pods alone: `kubectl get pods -A -o json`",
            });
        }
        let namespace = self.names.text(namespace);
        if !self.namespaces.contains(&namespace) {
            self.namespaces.insert(Arc::clone(&namespace));
        }
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        if metadata.deletion_timestamp.is_some() {
            self.terminating += 1;
            return Ok(());
        }
        if matches!(phase, Some("Succeeded" | "Failed")) {
            self.finished += 1;
            return Ok(());
        }
        let Some(sidecar) = self.sidecar(pod, &id)? else {
            self.without += 1;
            return Ok(());
        };
        room(self.rows.len(), || self.place(Some(&id)))?;
        let rows = &self.rows;
        if let Some(first) = self.ids.second(&id, self.items, |at| &rows[at].id) {
            return Err(InputError::Duplicate {
                place: self.place(Some(&id)),
                field: Field::Json("metadata.name".into()),
                id,
                first: format!("item {first}"),
            });
        }
        let (app, rule) = app::application(metadata, name);
        self.by_rule[match rule {
            Rule::Label => 0,
            Rule::Owner => 1,
            Rule::OwnName => 2,
        }] += 1;
        let (state, unknown) = health::state(pod.status.as_ref(), sidecar);
        if unknown {
            self.unknown += 1;
            self.first_unknown.get_or_insert_with(|| Arc::clone(&id));
        }
        let app = self.names.text(app);
        labels::whole(
            metadata.labels.as_ref(),
            &namespace,
            &mut self.names,
            &mut self.labels_left_out,
            &mut self.pairs,
        );
        for (key, value) in &self.pairs {
            if (*value != app || labels::is_settled(key)) && !self.telling.contains(key) {
                self.telling.insert(Arc::clone(key));
            }
        }
        let labels = self.names.set(&mut self.pairs);
        self.rows.push(Row {
            id,
            namespace,
            app,
            labels,
            state,
        });
        Ok(())
    }

    /// The one chosen container of a pod. Counts all of them, for the message that helps to choose.
    fn sidecar<'p>(&mut self, pod: &'p Pod, id: &Arc<str>) -> Result<Option<&'p str>, InputError> {
        let mut matching = Vec::new();
        for name in pod.spec.iter().flat_map(wire::Spec::lasting) {
            if let Some(pods) = self.containers.get_mut(name) {
                *pods += 1;
            } else {
                self.containers.insert(name.to_owned(), 1);
            }
            if self.chosen.is_some_and(|chosen| chosen.whole.is_match(name)) {
                matching.push(name);
            }
        }
        match matching[..] {
            [] => Ok(None),
            [one] => Ok(Some(one)),
            _ => Err(InputError::SeveralContainers {
                place: self.place(Some(id)),
                pattern: self
                    .chosen
                    .map(|chosen| shortened(&chosen.given))
                    .unwrap_or_default()
                    .into(),
                containers: listed(matching, 10).into(),
            }),
        }
    }

    /// The first cause of a failed parse: the guard, this code, or the JSON.
    fn failure(mut self, error: &serde_json::Error) -> InputError {
        let line = u64::try_from(error.line()).unwrap_or(u64::MAX).max(1);
        let inside = self.in_items && !self.document_done;
        let next = Spot::Item {
            number: self.items + 1,
            pod: None,
        };
        let spot = if inside { next } else { Spot::Line(line) };
        if let Some(cause) = self.watch.cause(self.file, spot.clone(), "pod") {
            return cause;
        }
        if let Some(fault) = self.fault.take() {
            return fault;
        }
        let after = self
            .last
            .as_ref()
            .filter(|_| inside)
            .map(|pod| format!(", after pod `{pod}`"))
            .unwrap_or_default();
        let at = if inside {
            format!("in line {line}{after} ")
        } else {
            String::new()
        };
        let (what, fix) = if error.is_eof() {
            (
                "the JSON breaks off".to_owned(),
                "print the list again and see that the command ends without an error",
            )
        } else if self.document_done {
            (
                "more text follows the list".to_owned(),
                "give one list in one file: `kubectl get pods -A -o json`",
            )
        } else {
            (
                format!("is not what Kubernetes prints: {}", reason(error)),
                "list pods as `kubectl get pods -A -o json` prints them",
            )
        };
        InputError::BrokenJson {
            place: Place {
                file: Arc::clone(self.file),
                spot,
            },
            why: format!("{at}{what}"),
            fix,
        }
    }

    fn seen(&self) -> Box<str> {
        let mut names: Vec<(&String, &usize)> = self.containers.iter().collect();
        names.sort_by_key(|(name, pods)| (std::cmp::Reverse(**pods), *name));
        if names.is_empty() {
            return "none, since no pod that lives has a container".into();
        }
        let shown: Vec<String> = names
            .iter()
            .take(10)
            .map(|(name, pods)| format!("`{}` in {}", shortened(name), counted(**pods, "pod")))
            .collect();
        let more = names.len().saturating_sub(shown.len());
        let end = if more > 0 {
            format!(" and {} more", count(more))
        } else {
            String::new()
        };
        format!("{}{end}", shown.join(", ")).into()
    }

    fn finish(mut self) -> Result<Inventory, InputError> {
        let file = Arc::clone(self.file);
        if self.items == 0 {
            let why = "the list has no pods: check the context and the namespace, and list with -A".to_owned();
            return Err(InputError::NoTargets { file, why });
        }
        let Some(chosen) = self.chosen else {
            return Err(InputError::NoContainerChosen {
                file,
                seen: self.seen(),
            });
        };
        if self.rows.is_empty() {
            if self.without == 0 {
                let why = format!(
                    "all {} are terminating or finished: list the pods again later",
                    counted(usize::try_from(self.items).unwrap_or(usize::MAX), "pod")
                );
                return Err(InputError::NoTargets { file, why });
            }
            let pattern = shortened(&chosen.given).into();
            return Err(InputError::NoMatch {
                file,
                pattern,
                seen: self.seen(),
            });
        }
        let whole = self.names.keys();
        for key in &whole {
            if !self.telling.contains(key.as_str()) {
                self.labels_left_out.add(key);
            }
        }
        let notes = self.notes(&whole);
        let telling = &self.telling;
        let short = labels::short(&whole);
        let several = self.namespaces.len() > 1;
        let mut names = Names::default();
        // Keyed by address, which stays taken: `self.names` holds every one of the old sets to the end.
        let mut renamed: HashMap<usize, Labels, BuildHasherDefault<DefaultHasher>> = HashMap::default();
        let mut pairs = std::mem::take(&mut self.pairs);
        let rows = std::mem::take(&mut self.rows);
        let targets =
            rows.into_iter()
                .map(|row| {
                    let labels =
                        renamed.entry(Arc::as_ptr(&row.labels).addr()).or_insert_with(|| {
                            pairs.extend(row.labels.iter().filter(|(key, _)| telling.contains(key)).map(
                                |(key, value)| (names.text(short.get(&**key).unwrap_or(&&**key)), Arc::clone(value)),
                            ));
                            names.set(&mut pairs)
                        });
                    Target {
                        id: row.id,
                        app: if several {
                            names.text(&format!("{}/{}", row.namespace, row.app))
                        } else {
                            row.app
                        },
                        labels: Arc::clone(labels),
                        state: row.state,
                        born_s: None,
                        died_s: None,
                    }
                })
                .collect();
        Ok(Inventory {
            targets,
            notes,
            keys: names.keys(),
        })
    }

    fn notes(&self, whole: &[String]) -> Vec<String> {
        let mut notes = Vec::new();
        let left_out = self.terminating + self.finished + self.without;
        notes.push(format!(
            "{} of {} from {}; left out: {} terminating, {} finished, {} without the container",
            counted(self.rows.len(), "target"),
            counted(self.rows.len() + left_out, "pod"),
            counted(self.namespaces.len(), "namespace"),
            count(self.terminating),
            count(self.finished),
            count(self.without),
        ));
        let [label, owner, own] = self.by_rule.map(count);
        notes.push(format!(
            "application of {label} pods from the label {}, {owner} from the owner, {own} from the pod's own name{}",
            app::NAME_LABEL,
            if self.namespaces.len() > 1 {
                ", with the namespace before it"
            } else {
                ""
            },
        ));
        let states = [
            State::Healthy,
            State::AppUnready,
            State::SidecarCrashing,
            State::Pending,
        ]
        .map(|state| count(self.rows.iter().filter(|row| row.state == state).count()));
        let [healthy, unready, crashing, pending] = states;
        notes.push(format!(
            "{healthy} healthy, {unready} not ready, {crashing} with a crashing sidecar, {pending} pending"
        ));
        if let Some(first) = &self.first_unknown {
            notes.push(format!(
                "{} in a phase that says nothing, taken as not ready; the first is `{first}`",
                counted(self.unknown, "pod")
            ));
        }
        for place in ["zone", "region"] {
            if whole.binary_search_by(|key| key.as_str().cmp(place)).is_err() {
                notes.push(format!(
                    "no {place}: no pod has the label topology.kubernetes.io/{place} (nodes have it; newer versions of \
                     Kubernetes copy it to pods)"
                ));
            }
        }
        let mut keys = self.labels_left_out.keys().peekable();
        if keys.peek().is_some() {
            notes.push(format!(
                "labels left out, since controllers set them or they repeat the application: {}",
                listed(keys, 10)
            ));
        }
        notes
    }
}

/// The whole document: an object with `items` in it.
struct Document<'s, 'a> {
    scan: &'s mut Scan<'a>,
}

impl<'de> DeserializeSeed<'de> for Document<'_, '_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Document<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of pods")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "items" => map.next_value_seed(Items { scan: self.scan })?,
                "kind" => {
                    let kind = map.next_value::<String>()?;
                    if let Err(fault) = self.scan.kind(&kind) {
                        self.scan.fault = Some(fault);
                        return Err(A::Error::custom("stopped"));
                    }
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// The pods, one after the other.
struct Items<'s, 'a> {
    scan: &'s mut Scan<'a>,
}

impl<'de> DeserializeSeed<'de> for Items<'_, '_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Items<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of pods")
    }

    /// An empty list of a Go program may print as null.
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut pods: A) -> Result<(), A::Error> {
        self.scan.in_items = true;
        while let Some(pod) = pods.next_element::<Pod>()? {
            self.scan.watch.record_done();
            if let Err(fault) = self.scan.take(&pod) {
                self.scan.fault = Some(fault);
                return Err(A::Error::custom("stopped"));
            }
        }
        self.scan.in_items = false;
        Ok(())
    }
}
