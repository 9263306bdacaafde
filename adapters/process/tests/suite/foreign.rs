//! A program that knows nothing of the adapter, through a template.
use unattended_process::ProcessPlatform;
use unattended_upgrade::{EffectOutcome, Phase, Platform as _, TargetId, Version};

use crate::programs::target;
use crate::support::{key, living, look, run, starts, until, until_so};

#[test]
fn it_is_started_replaced_and_ended() {
    run(async |root| {
        let platform = ProcessPlatform::open(&root, [target(&root, "a", "1")]).await.unwrap();
        let first = until(&platform, "a", "running 1", crate::support::runs("1")).await;
        let a = TargetId::from("a");
        let outcome = platform.replace(&a, &"2".into(), &key(1, 1)).await;
        assert_eq!(outcome, EffectOutcome::Applied);
        assert_eq!(
            platform.replace(&a, &"2".into(), &key(1, 1)).await,
            EffectOutcome::AlreadyApplied
        );
        let second = until(&platform, "a", "running 2", crate::support::runs("2")).await;
        assert_ne!(first.instance, second.instance);
        assert_eq!(starts(&root, "a").len(), 2);
        assert!(platform.halt().await.unwrap());
        assert_eq!(living(&root), []);
        assert_eq!(look(&platform, "a").await.phase, Phase::Stopped);
        platform.close().await;
        let platform = ProcessPlatform::open(&root, [target(&root, "a", "1")]).await.unwrap();
        let third = until(&platform, "a", "running 2 again", crate::support::runs("2")).await;
        assert!(third.instance > second.instance);
        assert!(platform.leave(&a).await.unwrap());
        assert_eq!(look(&platform, "a").await.phase, Phase::Gone);
        until_so("the end of its process", || living(&root).is_empty()).await;
        let refused = platform.replace(&a, &Version::from("2"), &key(2, 1)).await;
        assert!(matches!(refused, EffectOutcome::Failed { .. }), "{refused:?}");
    });
}
