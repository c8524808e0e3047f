//! The story of the pod that came back too soon: deleted, and made again on the same
//! node. Depending on who notices first, the calls come in one of three orders.

use csi_harness::check;
use csi_harness::check::{Check, Checked, Cx, Marker, Need, Stop, Want};

use crate::spec;

pub(super) static CHECKS: &[&Check] = &[
    &BEFORE_THE_OLD_ONE_GOES,
    &STAGE_AGAIN_AT_ONCE,
    &WITH_AN_EMPTIED_CONTEXT,
    &WITHOUT_A_NEW_STAGE,
];

check! {
    /// A new pod's publish works with no stage before it, on the staging mount that is there.
    ///
    /// The kubelet unpublishes for the old pod and publishes for the new one, and never
    /// unstages between them.
    WITHOUT_A_NEW_STAGE = "pod-came-back.publish-without-a-new-stage",
    clauses: [spec::STORY_POD_CAME_BACK, spec::NODE_PUBLISH_PERSISTENCE],
    needs: Need::ANY_VOLUME,
    axes: [Kind],
    volumes: 1, calls: 14,
    look_at: "what an unpublish takes away beside its target: the staging mount has to stay as it is",
    run: without_a_new_stage,
}

async fn without_a_new_stage(cx: &Cx) -> Checked {
    let volume = cx.volume(Want::any()).await?;
    volume.keeps_data()?;
    let staged = volume.stage().await?;
    let at_stage = staged.standing("at stage").await?;
    let old = staged.publish("old").await?;
    let marker = Marker::new()?;
    let wrote = old.try_write_if_allowed(&marker).await?;
    old.unpublish().await?;
    let new = staged.publish("new").await?;
    staged.is_as_it_was(&at_stage, "with the new pod").await?;
    match wrote {
        true => new.shows(&marker).await,
        false => Ok(()),
    }
}

check! {
    /// Unstage and at once stage again, with the same publish_context, give the volume anew.
    ///
    /// The old pod's volume was on its way out when the new pod came: the kubelet
    /// stages it again within a tenth of a second.
    STAGE_AGAIN_AT_ONCE = "pod-came-back.stage-again-at-once",
    clauses: [spec::STORY_POD_CAME_BACK, spec::NODE_PUBLISH_PERSISTENCE],
    needs: Need::ANY_VOLUME,
    axes: [Kind],
    volumes: 1, calls: 24,
    look_at: "what of an unstage is still under way when it is answered: a device that goes a moment later takes the next stage's with it",
    run: stage_again_at_once,
}

async fn stage_again_at_once(cx: &Cx) -> Checked {
    let volume = cx.volume(Want::any()).await?;
    volume.keeps_data()?;
    let staged = volume.stage().await?;
    let mut pod = staged.publish("pod-0").await?;
    let marker = Marker::new()?;
    let wrote = pod.try_write_if_allowed(&marker).await?;
    for name in ["pod-1", "pod-2"] {
        pod.unpublish().await?;
        staged.unstage().await?;
        staged.stage().await?;
        pod = staged.publish(name).await?;
        pod.is_mounted_once_if_mounted().await?;
        if wrote {
            pod.shows(&marker).await?;
        }
    }
    Ok(())
}

check! {
    /// A new pod's target works while the old pod's is there, and after that went.
    ///
    /// The new pod is started before the old one is cleared away.
    BEFORE_THE_OLD_ONE_GOES = "pod-came-back.new-target-before-the-old-is-gone",
    clauses: [spec::STORY_POD_CAME_BACK],
    needs: Need::ANY_VOLUME,
    axes: [Kind],
    volumes: 1, calls: 16,
    look_at: "what is counted for a volume with two targets, and what the first unpublish takes away",
    run: before_the_old_one_goes,
}

async fn before_the_old_one_goes(cx: &Cx) -> Checked {
    let volume = cx.volume(Want::any()).await?;
    volume.keeps_data()?;
    let staged = volume.stage().await?;
    let at_stage = staged.standing("at stage").await?;
    let old = staged.publish("old").await?;
    let marker = Marker::new()?;
    let wrote = old.try_write_if_allowed(&marker).await?;
    let new = staged.publish_second("new").await?;
    let at_ok = new.standing("at OK").await?;
    old.unpublish().await?;
    new.is_as_it_was(&at_ok, "when the old pod went").await?;
    staged
        .is_as_it_was(&at_stage, "when the old pod went")
        .await?;
    if wrote {
        new.shows(&marker).await?;
    }
    new.unpublish().await
}

check! {
    /// A stage with its publish_context emptied is refused, and leaves nothing behind.
    ///
    /// The kubelet had a bug that sent it so ("resource name may not be empty"). A
    /// driver that needs no context is not judged.
    WITH_AN_EMPTIED_CONTEXT = "pod-came-back.stage-with-an-emptied-context",
    clauses: [spec::NODE_STAGE_FAILURE_CLEANS_UP],
    needs: Need::All(&[Need::STAGE, Need::ANY_VOLUME]),
    axes: [Kind],
    volumes: 1, calls: 14,
    look_at: "what is done before the publish_context is read",
    run: with_an_emptied_context,
}

async fn with_an_emptied_context(cx: &Cx) -> Checked {
    let staged = cx.volume(Want::any()).await?.to_stage().await?;
    let mut request = staged.stage_request();
    if request.publish_context.is_empty() {
        return Err(Stop::not_offered("a publish_context"));
    }
    request.publish_context.clear();
    if staged.send_stage(request).await?.is_ok() {
        return Err(Stop::not_offered("a publish_context that it needs"));
    }
    if let Some(left) = staged.mount_left("after the refusal").await? {
        return Err(Stop::Warn(format!(
            "NodeStageVolume was refused for want of a publish_context, and {left}"
        )));
    }
    // The next one comes with all that it needs.
    staged.stage().await
}
