//! What sees the events: one of the backends, behind one face.

use std::{os::fd::BorrowedFd, time::Duration};

use super::{
    Backend,
    co_re::CoRe,
    terms::{Lost, Settings},
    tracepoints::{self, Tracepoints, Wanted},
};
use crate::{error::Error, event::Event};

/// Sees what happens, until it is dropped.
pub(crate) enum Tracer {
    Structs(Box<CoRe>),
    Tracepoints(Box<Tracepoints>),
}

impl Tracer {
    /// Everything is seen that happens after this returns.
    pub(crate) fn start(backend: &Backend, settings: &Settings) -> Result<Self, Error> {
        Ok(match backend {
            Backend::Structs { btf, ring_buffer, .. } => {
                Self::Structs(Box::new(CoRe::start(settings, btf, *ring_buffer)?))
            }
            &Backend::Tracepoints { bpf, stacks, users, cgroups, ends, .. } => {
                let what = Wanted { bpf, stacks, cgroups, users, ends, no_exits: settings.no_exits };
                Self::Tracepoints(Box::new(Tracepoints::start(settings, &what)?))
            }
        })
    }

    /// --pid: these processes and their descendants.
    pub(crate) fn track(&mut self, pids: &[u32]) -> Result<(), Error> {
        match self {
            Self::Structs(tracer) => tracer.track(pids),
            Self::Tracepoints(tracer) => {
                tracer.track(pids);
                Ok(())
            }
        }
    }

    /// Whether one of those that are followed is still there.
    pub(crate) fn has_tracked(&self) -> bool {
        match self {
            Self::Structs(tracer) => tracer.has_tracked(),
            Self::Tracepoints(tracer) => tracer.has_tracked(),
        }
    }

    /// Readable when something has happened.
    pub(crate) fn fds(&self) -> Vec<BorrowedFd<'_>> {
        match self {
            Self::Structs(tracer) => tracer.fds(),
            Self::Tracepoints(tracer) => tracer.fds().collect(),
        }
    }

    /// After so long, [`Self::next`] is to be called although nothing is readable.
    pub(crate) fn look_after(&self) -> Option<Duration> {
        match self {
            Self::Structs(_) => None,
            Self::Tracepoints(_) => Some(tracepoints::LOOK_AFTER),
        }
    }

    /// Whether [`Self::next`] is to be called again, without anything to wait for.
    pub(crate) fn has_more(&self) -> bool {
        match self {
            Self::Structs(tracer) => tracer.has_more(),
            Self::Tracepoints(tracer) => tracer.has_more(),
        }
    }

    /// Whether something has happened that [`Self::next`] can give only a moment later.
    pub(crate) fn holds_back(&self) -> bool {
        match self {
            Self::Structs(tracer) => tracer.holds_back(),
            Self::Tracepoints(tracer) => tracer.holds_back(),
        }
    }

    /// Hands on the next event, if there is one.
    pub(crate) fn next(&mut self, show: &mut dyn FnMut(&Event<'_>)) -> Result<bool, Error> {
        match self {
            Self::Structs(tracer) => tracer.next(show),
            Self::Tracepoints(tracer) => tracer.next(show),
        }
    }

    /// What could not be shown, since the start.
    pub(crate) fn lost(&self) -> Result<Lost, Error> {
        match self {
            Self::Structs(tracer) => tracer.lost(),
            Self::Tracepoints(tracer) => tracer.lost(),
        }
    }

    /// Whether [`Self::follow_processors`] has anything to do.
    pub(crate) fn watches_processors(&self) -> bool {
        match self {
            Self::Structs(tracer) => tracer.watches_processors(),
            Self::Tracepoints(_) => true,
        }
    }

    /// Watches processors that were switched on since. To be called now and then.
    pub(crate) fn follow_processors(&mut self) -> Result<(), Error> {
        match self {
            Self::Structs(tracer) => tracer.follow_processors(),
            Self::Tracepoints(tracer) => tracer.follow_processors(),
        }
    }

    /// After a loss, it no longer knows all descendants of --pid.
    pub(crate) fn forgets(&self) -> bool {
        matches!(self, Self::Tracepoints(_))
    }

    /// Nothing new arrives after this; what is there already stays to be read.
    pub(crate) fn detach(&mut self) {
        match self {
            Self::Structs(tracer) => tracer.detach(),
            Self::Tracepoints(tracer) => tracer.detach(),
        }
    }
}
