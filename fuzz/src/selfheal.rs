use unattended_selfheal::{Bulletin, Center, CenterSettings, Event, HostId, Member, NodeId, Report, ServiceId, ZoneId};

/// Any bytes as the report of a member: they are refused with a reason, or taken; nothing in between.
pub fn report(data: &[u8]) {
    let mut center = Center::new(CenterSettings::default(), 1).expect("the defaults are in range");
    for node in 0..6 {
        let (id, service) = (NodeId(node), (node >= 3).then_some(ServiceId(1)));
        let member = Member { node: id, host: HostId(node), zone: ZoneId(node % 2), service, capacity_per_second: None };
        center.on(Event::Member(member)).expect("there is room for six");
    }
    let read = Report::decode(data);
    let received = center.receive(NodeId(0), data);
    assert_eq!(read.is_ok(), received.is_ok(), "what can be read is taken, and nothing else");
    let counts = center.report_counts();
    assert_eq!(counts.refused, u64::from(read.is_err()));
    for now_ms in [250, 500, 200_000] {
        center.tick(now_ms);
    }
    assert_eq!(center.report_counts().taken, u64::from(read.is_ok()));
    if let Ok(report) = read {
        let again = report.encode().expect("what was read can be written");
        assert_eq!(Report::decode(&again).as_ref(), Ok(&report));
        assert!(again.len() <= Report::MAX_BYTES);
    }
}

/// Any bytes as a bulletin.
pub fn bulletin(data: &[u8]) {
    if let Ok(bulletin) = Bulletin::decode(data) {
        let again = bulletin.encode().expect("what was read can be written");
        assert_eq!(Bulletin::decode(&again).as_ref(), Ok(&bulletin));
        let mut follower = unattended_selfheal::Follower::new(NodeId(1), ZoneId(1));
        follower.apply(bulletin, 5).expect("the first is always new");
        for node in [0, 1, 7, u32::MAX] {
            let _ = follower.word(NodeId(node), 6);
        }
        let _ = (follower.avoids(ZoneId(0), 6), follower.distrusted(6), follower.may_isolate(ServiceId(1), 6));
    }
}
