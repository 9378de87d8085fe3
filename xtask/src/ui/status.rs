//! The status of a prerequisite: it is there, what gets it, or what the user can do about it.

use serde::Serialize;

use crate::ui::error::{self, Failed, Missing};
use crate::ui::remedies;

/// Something that is there, or its status.
pub type Found<T = String> = Result<T, Status>;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Status {
    pub state: State,
    pub detail: String,
    pub remedy: Option<String>,
    /// What will come over the network, as far as that is known.
    pub megabytes: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum State {
    Ok,
    /// Missing, and the next run downloads it.
    ToFetch,
    /// Missing, and the next run makes it.
    ToBuild,
    NeedsYou,
    /// Missing, and it need not be there.
    Optional,
    /// It depends on something else that is missing.
    Unknown,
}

impl Status {
    pub fn new(state: State, detail: impl Into<String>) -> Status {
        Status { state, detail: detail.into(), remedy: None, megabytes: None }
    }

    /// Something is missing that only the user can get.
    pub fn missing(detail: impl Into<String>, remedy: impl Into<String>) -> Status {
        Status { remedy: Some(remedy.into()), ..Status::new(State::NeedsYou, detail) }
    }

    /// As one sentence, with the remedy last.
    pub fn sentence(&self) -> String {
        match &self.remedy {
            Some(remedy) => format!("{}: {remedy}", self.detail),
            None => self.detail.clone(),
        }
    }

    /// What is not known while something else is missing.
    pub fn unknown(other: &str) -> Status {
        Status::new(State::Unknown, format!("not known before `{other}` is right"))
    }
}

impl From<anyhow::Error> for Status {
    fn from(error: anyhow::Error) -> Status {
        let known = error.downcast_ref().and_then(|Failed { program, output, .. }| remedies::find(program, output));
        match (error.downcast_ref(), known) {
            (Some(Missing { program, installation }), _) => {
                Status::missing(format!("there is no {program} on this machine"), installation.to_string())
            }
            (_, Some(known)) => Status::missing(known.reason, known.remedy),
            // The output of another program belongs to it: it is all that is known.
            _ => {
                let words: Vec<_> = error::describe(&error).split_whitespace().map(String::from).collect();
                Status::new(State::NeedsYou, words.join(" "))
            }
        }
    }
}
