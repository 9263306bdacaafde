//! What is wrong is said with field and remedy, before anything has happened.
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use unattended_process::{Ask, Foreign, OpenError, ProcessPlatform, Settings, Sidecar, Start, Target, Template};
use unattended_upgrade::{EffectOutcome, Platform as _, TargetId};

use crate::programs::target;
use crate::support::{key, living, run, runs, starts, until};

fn foreign(start: Start, ready: &str) -> Foreign {
    Foreign::new(start, Ask::new(ready))
}

fn shell() -> Start {
    Start::new("/bin/sh").arguments(["-c", "sleep 1"])
}

fn one(foreign: Foreign) -> Target {
    Target::new("a", "1", Template::foreign(foreign))
}

async fn refused(root: &Path, target: Target, says: &[&str]) {
    let told = ProcessPlatform::open(root, [target]).await.unwrap_err().to_string();
    for says in says {
        assert!(told.contains(says), "{told:?} does not say {says:?}");
    }
    assert_eq!(living(root), [], "{told}");
    assert!(!root.join("t/a/state.json").exists(), "{told}");
}

#[test]
fn templates_that_cannot_be_carried_out_are_refused_by_field() {
    run(async |root| {
        let ready = "unix:{admin}:/ready";
        let odd = [
            (
                one(foreign(Start::new("/no/such/program"), ready)),
                ["`program`", "is not there", "executable"],
            ),
            (
                one(foreign(Start::new("no-such-program"), ready)),
                ["`program`", "in no directory of PATH", "install it"],
            ),
            (
                one(foreign(Start::new("/etc/passwd"), ready)),
                ["`program`", "cannot be run", "executable"],
            ),
            (
                one(foreign(shell().arguments(["{prot}"]), ready)),
                ["`arguments[2]`", "`{prot}`", "use one of admin, dir"],
            ),
            (
                one(foreign(shell().environment("A=B", ""), ready)),
                ["`environment.A=B`", "not a name", "without `=`"],
            ),
            (
                one(foreign(shell(), "ftp://x/")),
                ["`ready`", "neither with `http://`", "write `GET"],
            ),
            (
                one(foreign(shell(), "http://example.org/")),
                ["`ready`", "`example.org` is no address", "write `GET"],
            ),
            (
                one(foreign(shell(), "unix:{admin}")),
                ["`ready`", "no socket and path", "write `GET"],
            ),
            (
                one(foreign(shell(), "HEAD http://127.0.0.1:1/")),
                ["`ready`", "`HEAD` is none of", "write `GET"],
            ),
            (
                one(foreign(shell(), ready).ingress(Ask::new(ready), Ask::new("{x}"))),
                ["`open`", "`{x}`", "use one of"],
            ),
            (
                one(foreign(shell(), ready).binds("here")),
                ["`binds[0]`", "`here` is no address", "127.0.0.1:8080"],
            ),
            (
                one(foreign(shell(), ready)).parameter("slot", 1),
                ["`parameter.slot`", "taken", "another name"],
            ),
            (
                Target::new(
                    "a",
                    "1",
                    Template::foreign(foreign(shell(), ready)).application(Start::new("/none")),
                ),
                ["`application.program`", "is not there", "executable"],
            ),
            (
                Target::new("a", "1", Template::sidecar(Sidecar::new(shell()).http("127.0.0.1:1"))),
                ["`http`", "no upstream", "LISTEN=UPSTREAM"],
            ),
            (
                Target::new("a", "1", Template::sidecar(Sidecar::new(shell()).configs("/no/such"))),
                ["`configs`", "no directory", "create it"],
            ),
        ];
        for (target, says) in odd {
            refused(&root, target, &says).await;
        }
        let long = root.join("x".repeat(80));
        let target = Target::new("a", "1", Template::sidecar(Sidecar::new(shell())));
        refused(&long, target, &["`directory`", "bytes", "shorter path"]).await;
        assert!(!long.exists(), "it was created");
    });
}

#[test]
fn ports_and_directories_that_others_hold_are_refused() {
    run(async |root| {
        let holder = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = holder.local_addr().unwrap().to_string();
        let template = || foreign(shell(), "unix:{admin}:/ready").binds(&address);
        refused(
            &root,
            one(template()),
            &["`binds[0]`", &address, "cannot be bound", "another port"],
        )
        .await;
        drop(holder);
        let two = ["a", "b"].map(|name| Target::new(name, "1", Template::foreign(template())));
        let told = ProcessPlatform::open(&root, two).await.unwrap_err().to_string();
        assert!(
            told.contains("target b") && told.contains("of target a") && told.contains("port of its own"),
            "{told}"
        );
        assert_eq!(living(&root), []);

        let twice = ["a", "a"].map(|name| target(&root, name, "1"));
        let told = ProcessPlatform::open(&root, twice).await.unwrap_err();
        assert!(
            matches!(&told, OpenError::Twice { target } if target.as_str() == "a"),
            "{told}"
        );

        let mut settings = Settings::default();
        settings.look_ms = 0;
        let told = ProcessPlatform::open_with(&root, [target(&root, "a", "1")], settings)
            .await
            .unwrap_err();
        assert_eq!(told.to_string(), "`look_ms` is 0: give a value from 1 to 86400000");

        let file = root.join("file");
        std::fs::write(&file, "").unwrap();
        let told = ProcessPlatform::open(&file, [target(&root, "a", "1")])
            .await
            .unwrap_err();
        assert!(
            matches!(&told, OpenError::Directory { .. }) && told.to_string().contains("may write to"),
            "{told}"
        );
        if !rustix::process::geteuid().is_root() {
            std::fs::set_permissions(&root, std::fs::Permissions::from_mode(0o500)).unwrap();
            let told = ProcessPlatform::open(root.join("sub"), [target(&root, "a", "1")])
                .await
                .unwrap_err();
            assert!(matches!(told, OpenError::Directory { .. }), "{told}");
            std::fs::set_permissions(&root, std::fs::Permissions::from_mode(0o700)).unwrap();
        }
    });
}

#[test]
fn a_state_that_cannot_be_read_is_left_as_it_is() {
    run(async |root| {
        let platform = ProcessPlatform::open(&root, [target(&root, "a", "1")]).await.unwrap();
        until(&platform, "a", "running", runs("1")).await;
        assert!(platform.halt().await.unwrap());
        platform.close().await;
        let file = root.join("t/a/state.json");
        std::fs::write(&file, "{\"schema\": 1,").unwrap();
        let told = ProcessPlatform::open(&root, [target(&root, "a", "1")])
            .await
            .unwrap_err();
        assert!(
            told.to_string().contains("state.json: EOF") && told.to_string().contains("begin anew"),
            "{told}"
        );
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "{\"schema\": 1,");
        assert_eq!(starts(&root, "a").len(), 1);
    });
}

/// An order for what cannot be started is refused, and what runs goes on.
#[test]
fn an_order_for_a_program_that_is_not_there_is_refused() {
    run(async |root| {
        let program = root.join("sleep-1");
        std::os::unix::fs::symlink("/bin/sleep", &program).unwrap();
        let start = Start::new(format!("{}/sleep-{{version}}", root.display())).arguments(["1000"]);
        let template = Template::foreign(foreign(start, "unix:{admin}:/ready"));
        let platform = ProcessPlatform::open(&root, [Target::new("a", "1", template)])
            .await
            .unwrap();
        let before = until(&platform, "a", "there", |seen| seen.instance.is_some()).await;
        let a = TargetId::from("a");
        let outcome = platform.replace(&a, &"2".into(), &key(1, 1)).await;
        let EffectOutcome::Failed { reason } = outcome else {
            panic!("{outcome:?}")
        };
        assert!(reason.contains("sleep-2` is not there"), "{reason}");
        let after = crate::support::look(&platform, "a").await;
        assert_eq!(after, before);
        // The key has not been used up.
        assert_eq!(
            platform.replace(&a, &"1".into(), &key(1, 1)).await,
            EffectOutcome::Applied
        );
    });
}
