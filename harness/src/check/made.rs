//! What a check made beside its volumes, and what becomes of it.

use csi_proto::rpc::Rpc;

use super::cx::Cx;
use super::outcome::LedgerEntry;
use super::step::Step;
use super::stop::Stop;

/// Something with an id that a check made, and that stands in the journal.
pub(super) struct Made {
    pub(super) what: &'static str,
    /// Empty: it is not known.
    pub(super) id: String,
    pub(super) label: String,
}

/// How far something was taken back.
#[derive(Debug)]
pub(super) enum TakenBack {
    /// Nothing of it is left.
    Gone,
    /// It is left, and whose finding that is.
    Stays(Step, LedgerEntry),
}

impl TakenBack {
    /// Whether the driver died over it: when it is back, it is asked again.
    pub(super) fn is_interrupted(&self) -> bool {
        matches!(self, Self::Stays(Step::Alive, _))
    }
}

impl Made {
    /// Deletes it by this call.
    pub(super) async fn delete<R: Rpc>(
        &self,
        cx: &Cx,
        request: &R::Request,
        step: Step,
    ) -> TakenBack {
        match cx.ask_insisting::<R>(request).await {
            Ok(asked) => match asked.refusal() {
                None => {
                    cx.session.strike_out_volume(&self.id, &self.label);
                    TakenBack::Gone
                }
                Some(refusal) => self.stays(cx, step, &format!("{}: {}", R::NAME, refusal.code)),
            },
            Err(stop) => {
                // Whoever tells of a driver that is dead or silent tells of this.
                let step = match stop {
                    Stop::Blocked { step, .. } => step,
                    _ => step,
                };
                self.stays(cx, step, &format!("{}: no answer", R::NAME))
            }
        }
    }

    /// Its id was lost, and could not be asked for again. What was never made is not left:
    /// only a driver that died may have it.
    pub(super) fn is_not_asked(&self, cx: &Cx, stop: &Stop) -> TakenBack {
        match stop {
            Stop::Blocked {
                step: Step::Alive, ..
            } => self.stays(cx, Step::Alive, "its id was never told"),
            _ => TakenBack::Gone,
        }
    }

    fn stays(&self, cx: &Cx, step: Step, why: &str) -> TakenBack {
        let object = match self.id.is_empty() {
            true => &self.label,
            false => &self.id,
        };
        let entry = LedgerEntry {
            check: cx.id.clone(),
            what: self.what.into(),
            object: object.clone(),
            owner: None,
            then: format!("left: {why}"),
        };
        TakenBack::Stays(step, entry)
    }
}
