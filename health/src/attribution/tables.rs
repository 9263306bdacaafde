//! Ready tables. Which codes exist follows the documents and sources of the proxies; whose fault each is, is a judgement:
//! what a proxy causes and suffers alike (a reset, a time-out) is ambiguous, and only comparing the arms tells.

use super::Meaning;
use super::Meaning::{Consequence, Fault, NotAnError};
use crate::FaultClass::{Ambiguous, Business, Client, Config, Infrastructure, Own, Policy};

/// Nothing happened, or it follows from something else.
const NOTE: u8 = 0;
/// What the caller does.
const CALLER: u8 = 1;
/// What the component decides by itself.
const HERE: u8 = 2;
/// On the way to the peer, and at it.
const PEER: u8 = 3;

/// Short flag, long flag, meaning, depth: all thirty core flags of Envoy.
pub(super) const ENVOY: [(&str, &str, Meaning, u8); 30] = [
    ("LR", "LocalReset", Fault(Own), PEER),
    ("OM", "OverloadManagerTerminated", Fault(Own), HERE),
    // The health check is of the application beside the proxy.
    ("LH", "FailedLocalHealthCheck", Fault(Business), HERE),
    ("UPE", "UpstreamProtocolError", Fault(Ambiguous), PEER),
    ("DPE", "DownstreamProtocolError", Fault(Ambiguous), CALLER),
    ("UC", "UpstreamConnectionTermination", Fault(Ambiguous), PEER),
    ("UR", "UpstreamRemoteReset", Fault(Ambiguous), PEER),
    ("UT", "UpstreamRequestTimeout", Fault(Ambiguous), PEER),
    ("UMSDR", "UpstreamMaxStreamDurationReached", Fault(Ambiguous), PEER),
    ("UO", "UpstreamOverflow", Fault(Ambiguous), PEER),
    ("URX", "UpstreamRetryLimitExceeded", Consequence, NOTE),
    ("SI", "StreamIdleTimeout", Fault(Client), CALLER),
    ("DT", "DurationTimeout", Fault(Client), CALLER),
    ("UF", "UpstreamConnectionFailure", Fault(Infrastructure), PEER),
    ("UH", "NoHealthyUpstream", Fault(Infrastructure), PEER),
    ("DF", "DnsResolutionFailed", Fault(Infrastructure), PEER),
    ("RLSE", "RateLimitServiceError", Fault(Infrastructure), HERE),
    ("NR", "NoRouteFound", Fault(Config), HERE),
    ("NC", "NoClusterFound", Fault(Config), HERE),
    ("NFCF", "NoFilterConfigFound", Fault(Config), HERE),
    ("IH", "InvalidEnvoyRequestHeaders", Fault(Client), CALLER),
    ("DC", "DownstreamConnectionTermination", Fault(Client), CALLER),
    ("DR", "DownstreamRemoteReset", Fault(Client), CALLER),
    ("UAEX", "UnauthorizedExternalService", Fault(Policy), HERE),
    ("RL", "RateLimited", Fault(Policy), HERE),
    ("DI", "DelayInjected", Fault(Policy), HERE),
    ("FI", "FaultInjected", Fault(Policy), HERE),
    ("DO", "DropOverload", Fault(Policy), HERE),
    ("UDO", "UnconditionalDropOverload", Fault(Policy), HERE),
    ("RFCF", "ResponseFromCacheFilter", NotAnError, NOTE),
];

/// MOSN's thirteen flags, its transcoder, and the codec exceptions of its x-protocol.
pub(super) const MOSN: [(&str, Meaning, u8); 17] = [
    ("NoHealthyUpstream", Fault(Infrastructure), PEER),
    ("UpstreamRequestTimeout", Fault(Ambiguous), PEER),
    ("UpstreamLocalReset", Fault(Own), PEER),
    ("UpstreamRemoteReset", Fault(Ambiguous), PEER),
    ("UpstreamConnectionFailure", Fault(Infrastructure), PEER),
    ("UpstreamConnectionTermination", Fault(Ambiguous), PEER),
    ("UpstreamOverflow", Fault(Ambiguous), PEER),
    ("NoRouteFound", Fault(Config), HERE),
    ("DelayInjected", Fault(Policy), HERE),
    ("FaultInjected", Fault(Policy), HERE),
    ("RateLimited", Fault(Policy), HERE),
    ("ReqEntityTooLarge", Fault(Policy), HERE),
    ("DownStreamTerminate", Fault(Client), CALLER),
    ("RequestTranscodeFail", Fault(Own), HERE),
    ("codec:0", Fault(Ambiguous), PEER),
    ("codec:2", Fault(Ambiguous), PEER),
    ("codec:3", Fault(Ambiguous), PEER),
];

pub(super) const COMPONENT: [(&str, Meaning, u8); 18] = [
    ("panic", Fault(Own), HERE),
    ("assertion", Fault(Own), HERE),
    ("deadlock", Fault(Own), HERE),
    ("own_timeout", Fault(Own), HERE),
    ("resource_exhausted", Fault(Own), HERE),
    ("self_check", Fault(Own), HERE),
    ("codec", Fault(Ambiguous), PEER),
    ("connect", Fault(Infrastructure), PEER),
    ("dns", Fault(Infrastructure), PEER),
    ("tls", Fault(Infrastructure), PEER),
    ("io", Fault(Infrastructure), PEER),
    // Its own certificate and configuration, given to it by the control plane.
    ("certificate", Fault(Config), HERE),
    ("config", Fault(Config), HERE),
    ("http_4xx", Fault(Business), PEER),
    ("http_5xx", Fault(Business), PEER),
    ("application_error", Fault(Business), PEER),
    ("client_gone", Fault(Client), CALLER),
    ("rate_limited", Fault(Policy), HERE),
];
