//! The configuration of one Envoy, and the small file of clusters by which it is held back and closed.
use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

use crate::program::Place;

/// The cluster that a started Envoy waits for before it polls. It never comes: the gate opens when it is taken away.
const GATE: &str = "unattended_gate";
/// The cluster that gives [`GATE`] its endpoints, and has none.
const NOBODY: &str = "unattended_nobody";
/// The health endpoint answers with 503 while this cluster is missing.
const OPEN: &str = "unattended_open";

/// The path at which a listener for HTTP says who serves it.
pub(super) const IDENTITY: &str = "/unattended/identity";
/// The path that balancers ask.
pub(super) const HEALTH: &str = "/healthz";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http,
    Tcp,
}

/// One listener, its addresses filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listener {
    pub(super) protocol: Protocol,
    pub(super) listen: SocketAddr,
    pub(super) upstream: SocketAddr,
}

/// Files of one start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Files<'a> {
    pub(super) clusters: &'a Path,
    pub(super) access_log: &'a Path,
}

/// The whole configuration: the listeners, then the version's patch, then what the adapter cannot do without.
pub(super) fn bootstrap(place: &Place, listeners: &[Listener], patch: Option<&Value>, files: Files<'_>) -> Value {
    let mut whole = json!({
        "static_resources": {
            "listeners": listeners.iter().enumerate().map(|(at, of)| listener(at, of, place, files)).collect::<Vec<_>>(),
            "clusters": listeners.iter().enumerate().map(|(at, of)| {
                cluster(&upstream_name(at), Some(of.upstream))
            }).collect::<Vec<_>>(),
        },
    });
    if let Some(patch) = patch {
        merge(&mut whole, patch);
    }
    let ours = json!({
        "node": {"id": place.target.to_string(), "cluster": "unattended"},
        "admin": {"address": {"pipe": {"path": place.admin(), "mode": 0o600}}},
        "dynamic_resources": {"cds_config": {
            "path_config_source": {"path": files.clusters},
            "resource_api_version": "V3",
            "initial_fetch_timeout": "0s",
        }},
    });
    merge(&mut whole, &ours);
    if let Some(clusters) = whole
        .pointer_mut("/static_resources/clusters")
        .and_then(Value::as_array_mut)
    {
        clusters.push(cluster(NOBODY, None));
    }
    whole
}

/// The file of clusters, for an Envoy that waits or not, and is open to new traffic or not.
pub(super) fn clusters(waits: bool, open: bool) -> Value {
    const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
    let mut resources = Vec::new();
    if waits {
        resources.push(json!({
            "@type": CLUSTER,
            "name": GATE,
            "type": "EDS",
            "connect_timeout": "1s",
            "eds_cluster_config": {"eds_config": {
                "api_config_source": {
                    "api_type": "REST",
                    "transport_api_version": "V3",
                    "cluster_names": [NOBODY],
                    "refresh_delay": "86400s",
                    "request_timeout": "1s",
                },
                "resource_api_version": "V3",
                "initial_fetch_timeout": "0s",
            }},
        }));
    }
    if open {
        // Nothing is ever sent there: an endpoint counts as healthy until somebody checks it.
        let mut open = cluster(OPEN, Some(SocketAddr::from(([127, 0, 0, 1], 1))));
        open["@type"] = CLUSTER.into();
        resources.push(open);
    }
    json!({"version_info": format!("waits={waits} open={open}"), "resources": resources})
}

/// What a file of clusters says: whether it waits, and whether it is open.
pub(super) fn read_clusters(text: &[u8]) -> Option<(bool, bool)> {
    let value: Value = serde_json::from_slice(text).ok()?;
    let resources = value.get("resources")?.as_array()?;
    let has = |name: &str| resources.iter().any(|cluster| cluster["name"] == name);
    Some((has(GATE), has(OPEN)))
}

/// RFC 7396: objects are merged, `null` takes away, everything else replaces.
fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    let Some(into) = into.as_object_mut() else { return };
    for (key, value) in patch {
        if value.is_null() {
            into.remove(key);
        } else {
            merge(into.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

/// The name of the cluster behind the listener at a place of the list.
fn upstream_name(at: usize) -> String {
    format!("upstream_{at}")
}

/// The name under which Envoy counts what comes in at a listener.
pub(super) fn front_name(at: usize) -> String {
    format!("front_{at}")
}

fn cluster(name: &str, endpoint: Option<SocketAddr>) -> Value {
    let endpoints: Vec<_> = endpoint
        .iter()
        .map(|endpoint| json!({"lb_endpoints": [{"endpoint": {"address": address(*endpoint)}}]}))
        .collect();
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": endpoints},
    })
}

fn address(of: SocketAddr) -> Value {
    json!({"socket_address": {"address": of.ip().to_string(), "port_value": of.port()}})
}

fn listener(at: usize, of: &Listener, place: &Place, files: Files<'_>) -> Value {
    let filter = match of.protocol {
        Protocol::Http => http(at, place, files),
        Protocol::Tcp => json!({"name": "envoy.filters.network.tcp_proxy", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": front_name(at),
            "cluster": upstream_name(at),
            "access_log": [access_log(&json!({"protocol": "tcp", "instance": place.instance.0.to_string()}), files, None)],
        }}),
    };
    json!({
        "name": front_name(at),
        "stat_prefix": front_name(at),
        "address": address(of.listen),
        "filter_chains": [{"filters": [filter]}],
    })
}

fn http(at: usize, place: &Place, files: Files<'_>) -> Value {
    let exactly = |path: &str| json!([{"name": ":path", "string_match": {"exact": path}}]);
    let identity = json!({
        "instance": place.instance.0,
        "version": place.version.as_str(),
        "target": place.target.to_string(),
    });
    // What the adapter and balancers ask is nobody's request.
    let counted = json!({"and_filter": {"filters": [
        {"not_health_check_filter": {}},
        {"header_filter": {"header": {"name": ":path", "string_match": {"exact": IDENTITY}, "invert_match": true}}},
    ]}});
    let format = json!({
        "protocol": "http",
        "instance": place.instance.0.to_string(),
        "status": "%RESPONSE_CODE%",
        "details": "%RESPONSE_CODE_DETAILS%",
        "duration_ms": "%DURATION%",
        "upstream_ms": "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%",
    });
    json!({"name": "envoy.filters.network.http_connection_manager", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": front_name(at),
        "access_log": [access_log(&format, files, Some(counted))],
        "http_filters": [
            {"name": "envoy.filters.http.health_check", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.health_check.v3.HealthCheck",
                "pass_through_mode": false,
                "headers": exactly(HEALTH),
                "cluster_min_healthy_percentages": {OPEN: {"value": 100.0}},
            }},
            {"name": "envoy.filters.http.router", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
            }},
        ],
        "route_config": {
            "response_headers_to_add": [
                {"header": {"key": "x-unattended-instance", "value": place.instance.0.to_string()}},
            ],
            "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
                {"match": {"path": IDENTITY}, "direct_response": {
                    "status": 200,
                    "body": {"inline_string": identity.to_string()},
                }},
                {"match": {"prefix": "/"}, "route": {"cluster": upstream_name(at), "timeout": "15s"}},
            ]}],
        },
    }})
}

/// One line of JSON for each request or connection; `format` is completed by the flags.
fn access_log(format: &Value, files: Files<'_>, filter: Option<Value>) -> Value {
    let mut format = format.clone();
    format["flags"] = "%RESPONSE_FLAGS%".into();
    let mut log = json!({"name": "envoy.access_loggers.file", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
        "path": files.access_log,
        "log_format": {"json_format": format},
    }});
    if let Some(filter) = filter {
        log["filter"] = filter;
    }
    log
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use serde_json::{Value, json};
    use unattended_upgrade::InstanceId;

    use super::{Files, Listener, Protocol, bootstrap, clusters, merge, read_clusters};
    use crate::program::Place;

    #[test]
    fn a_patch_is_merged_as_its_document_says() {
        // The examples of RFC 7396, appendix A.
        for (original, patch, result) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (
                json!({"a": {"b": "c"}}),
                json!({"a": {"b": "d", "c": null}}),
                json!({"a": {"b": "d"}}),
            ),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!(["a"]), json!({"a": "b", "c": null}), json!({"a": "b"})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ] {
            let mut merged = original.clone();
            merge(&mut merged, &patch);
            assert_eq!(merged, result, "{original} with {patch}");
        }
    }

    #[test]
    fn a_file_of_clusters_says_what_it_was_made_for() {
        for waits in [false, true] {
            for open in [false, true] {
                let text = clusters(waits, open).to_string();
                assert_eq!(read_clusters(text.as_bytes()), Some((waits, open)), "{text}");
            }
        }
        assert_eq!(read_clusters(b"{}"), None);
        assert_eq!(read_clusters(b"{\"resources\": [}"), None);
    }

    #[test]
    fn a_patch_cannot_take_away_what_the_adapter_needs() {
        let place = Place {
            target: "t".into(),
            version: "1".into(),
            instance: InstanceId(7),
            slot: 1,
            epoch: 0,
            directory: "/d".into(),
            passive: false,
            parameters: Arc::default(),
            pid: None,
        };
        let listeners = [Listener {
            protocol: Protocol::Http,
            listen: "127.0.0.1:80".parse().unwrap(),
            upstream: "127.0.0.1:81".parse().unwrap(),
        }];
        let files = Files {
            clusters: Path::new("/d/c"),
            access_log: Path::new("/d/l"),
        };
        let patch =
            json!({"admin": null, "node": {"id": "x"}, "overload_manager": {}, "static_resources": {"clusters": []}});
        let whole = bootstrap(&place, &listeners, Some(&patch), files);
        let at = |pointer: &str| whole.pointer(pointer).cloned().unwrap_or(Value::Null);
        assert_eq!(at("/admin/address/pipe/path"), "/d/b7.sock");
        assert_eq!(at("/node/id"), "t");
        assert_eq!(at("/overload_manager"), json!({}));
        assert_eq!(at("/static_resources/clusters/0/name"), "unattended_nobody");
        assert_eq!(at("/static_resources/clusters/1"), Value::Null);
        assert_eq!(
            at("/static_resources/listeners/0/address/socket_address/port_value"),
            80
        );
    }
}
