//! A stream that one step after the other makes.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

type Step<S, T> = Pin<Box<dyn Future<Output = Option<(T, S)>> + Send>>;

/// Items that `next` makes of a state, until it gives none.
pub(crate) struct Unfold<S, T> {
    next: fn(S) -> Step<S, T>,
    step: Option<Step<S, T>>,
}

/// A stream of what `next` makes, beginning with this state.
pub(crate) fn unfold<S, T>(state: S, next: fn(S) -> Step<S, T>) -> Unfold<S, T> {
    Unfold { next, step: Some(next(state)) }
}

impl<S, T> Stream for Unfold<S, T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let Some(step) = self.step.as_mut() else { return Poll::Ready(None) };
        match step.as_mut().poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(None) => {
                self.step = None;
                Poll::Ready(None)
            }
            Poll::Ready(Some((item, state))) => {
                let step = (self.next)(state);
                self.step = Some(step);
                Poll::Ready(Some(item))
            }
        }
    }
}
