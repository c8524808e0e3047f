//! Several things at once.

use std::task::Poll;

use super::stop::Stop;

/// All of them at once, each to its end, in their order.
pub async fn together<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<_> = futures.into_iter().map(Box::pin).collect();
    let mut outputs: Vec<_> = running.iter().map(|_| None).collect();
    std::future::poll_fn(|waker| {
        let pending = running.iter_mut().zip(&mut outputs);
        for (future, output) in pending.filter(|(_, output)| output.is_none()) {
            if let Poll::Ready(ready) = future.as_mut().poll(waker) {
                *output = Some(ready);
            }
        }
        match outputs.iter().all(Option::is_some) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
    outputs.into_iter().flatten().collect()
}

/// The same of each of these things, at once. What turns out not to be offered is
/// left out, as long as something is.
///
/// # Errors
/// The first that is no such refusal; or the refusal, where there is nothing else.
pub async fn each<T, U, F>(things: Vec<T>, doing: impl Fn(T) -> F) -> Result<Vec<U>, Stop>
where
    F: Future<Output = Result<U, Stop>>,
{
    let mut done = Vec::new();
    let mut declined = None;
    for outcome in together(things.into_iter().map(doing)).await {
        match outcome {
            Ok(done_with) => done.push(done_with),
            Err(stop @ Stop::Declined { .. }) => declined = declined.or(Some(stop)),
            Err(stop) => return Err(stop),
        }
    }
    match declined {
        Some(stop) if done.is_empty() => Err(stop),
        _ => Ok(done),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Access, Step};

    fn declined() -> Stop {
        Stop::Declined {
            access: Access::Block,
            step: Step::Create,
            why: "no block volumes".to_owned(),
        }
    }

    #[tokio::test]
    async fn they_run_at_once_and_keep_their_order() {
        let barrier = tokio::sync::Barrier::new(3);
        let barrier = &barrier;
        let met = (0..3).map(|n| async move {
            barrier.wait().await;
            n
        });
        assert_eq!(together(met).await, [0, 1, 2]);
    }

    #[tokio::test]
    async fn what_is_not_offered_is_left_out() {
        let offered = |n: i32| async move { if n == 1 { Err(declined()) } else { Ok(n) } };
        assert_eq!(each(vec![0, 1, 2], offered).await, Ok(vec![0, 2]));
        assert_eq!(each(vec![1], offered).await, Err(declined()));
        let fails = |n: i32| async move {
            match n {
                1 => Err::<(), _>(declined()),
                _ => Err(Stop::fail("two mounts")),
            }
        };
        assert_eq!(each(vec![1, 2], fails).await, Err(Stop::fail("two mounts")));
    }
}
