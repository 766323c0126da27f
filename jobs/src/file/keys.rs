//! The keys of a job file: which there are, where they belong, and what a wrong one may have meant.

use crate::job::nearest;

/// A table of a job file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Level {
    Job,
    Stage,
    ForEach,
    Stdin,
}

/// Words that people know from elsewhere, and the key that says the same here.
const SYNONYMS: &[(&str, &str)] = &[
    ("after", "needs"),
    ("argv", "command"),
    ("cmd", "command"),
    ("cores", "cpus"),
    ("cpu_count", "cpus"),
    ("depends", "needs"),
    ("depends_on", "needs"),
    ("dir", "cwd"),
    ("directory", "cwd"),
    ("environment", "env"),
    ("exec", "command"),
    ("foreach", "for_each"),
    ("jobs", "stage"),
    ("prio", "priority"),
    ("requires", "needs"),
    ("run", "command"),
    ("shell", "script"),
    ("steps", "stage"),
    ("task", "stage"),
    ("tasks", "stage"),
    ("threads", "cpus"),
    ("time_limit", "timeout"),
    ("workdir", "cwd"),
    ("working_directory", "cwd"),
];

/// Words with a meaning of their own that are a key of ours by letters alone.
const NO_SLIPS: &[&str] = &["gpus", "gpu"];

impl Level {
    const ALL: [Self; 4] = [Self::Job, Self::Stage, Self::ForEach, Self::Stdin];

    pub(super) const fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Job => &["name", "priority", "stage"],
            Self::Stage => &[
                "name",
                "command",
                "script",
                "function",
                "args",
                "for_each",
                "needs",
                "env",
                "stdin",
                "cwd",
                "cpus",
                "timeout",
                "retries",
                "backoff",
                "retry_on",
                "worker_losses",
                "max_failures",
                "stdout",
                "stderr",
                "on_lost_lease",
            ],
            Self::ForEach => &["range", "chunk", "list", "lines", "files"],
            Self::Stdin => &["text", "file"],
        }
    }

    const fn place(self) -> &'static str {
        match self {
            Self::Job => "at the top of the file",
            Self::Stage => "in a [[stage]]",
            Self::ForEach => "under `for_each`",
            Self::Stdin => "under `stdin`",
        }
    }

    /// Returns how `key` of this table is written in a stage.
    fn written(self, key: &str) -> String {
        match self {
            Self::Job | Self::Stage => format!("`{key}`"),
            Self::ForEach => format!("`for_each.{key}`"),
            Self::Stdin => format!("`stdin.{key}`"),
        }
    }

    fn has(self, key: &str) -> bool {
        self.keys().contains(&key)
    }
}

/// What to tell about a key that its table does not have.
pub(super) struct UnknownKey {
    pub(super) message: String,
    pub(super) hint: String,
    /// The key of this very table that was most likely meant.
    pub(super) meant: Option<&'static str>,
}

/// Returns what to tell about a key that the table at `level` does not have.
pub(super) fn unknown_key(key: &str, level: Level) -> UnknownKey {
    if let Some(home) = Level::ALL.into_iter().find(|home| home.has(key)) {
        let message = format!("`{key}` does not belong {}", level.place());
        return UnknownKey { message, hint: move_to(key, home, level), meant: None };
    }
    let message = format!("unknown key `{key}`");
    let synonym =
        SYNONYMS.iter().find(|(word, _)| key.eq_ignore_ascii_case(word)).map(|(_, meant)| *meant);
    let slip_of = |keys: &mut dyn Iterator<Item = &'static str>| {
        if NO_SLIPS.contains(&key) { None } else { nearest(key, keys) }
    };
    let meant = synonym.or_else(|| slip_of(&mut level.keys().iter().copied())).or_else(|| {
        slip_of(&mut Level::ALL.into_iter().flat_map(|home| home.keys().iter().copied()))
    });
    let hint = match meant {
        Some(meant) if level.has(meant) => format!("did you mean `{meant}`?"),
        Some(meant) => {
            let home = Level::ALL.into_iter().find(|home| home.has(meant)).unwrap_or(Level::Stage);
            format!("did you mean {}, {}?", home.written(meant), home.place())
        }
        None => {
            let keys: Vec<String> = level.keys().iter().map(|key| format!("`{key}`")).collect();
            format!("the keys {} are {}", level.place(), keys.join(", "))
        }
    };
    UnknownKey { message, hint, meant: meant.filter(|meant| level.has(meant)) }
}

fn move_to(key: &str, home: Level, level: Level) -> String {
    match (home, level) {
        (Level::Job, _) => {
            format!("move `{key}` to the top of the file, before the first [[stage]]")
        }
        (Level::Stage, Level::Job) => format!("move `{key}` below a [[stage]] header"),
        (Level::Stage, _) => format!("move `{key}` out, it is a key of the [[stage]] itself"),
        (Level::ForEach | Level::Stdin, Level::Stage) => format!("write {}", home.written(key)),
        (Level::ForEach | Level::Stdin, _) => format!("write {} in a [[stage]]", home.written(key)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_key_is_told_what_it_may_have_meant() {
        for (key, level, hint) in [
            ("comand", Level::Stage, "did you mean `command`?"),
            ("stages", Level::Job, "did you mean `stage`?"),
            ("depends_on", Level::Stage, "did you mean `needs`?"),
            (
                "retry",
                Level::Job,
                "the keys at the top of the file are `name`, `priority`, `stage`",
            ),
            ("retrys", Level::Job, "did you mean `retries`, in a [[stage]]?"),
            ("command", Level::Job, "move `command` below a [[stage]] header"),
            (
                "priority",
                Level::Stage,
                "move `priority` to the top of the file, before the first [[stage]]",
            ),
            ("list", Level::Stage, "write `for_each.list`"),
            ("range", Level::Job, "write `for_each.range` in a [[stage]]"),
            ("cpus", Level::ForEach, "move `cpus` out, it is a key of the [[stage]] itself"),
            ("rang", Level::Stage, "did you mean `for_each.range`, under `for_each`?"),
        ] {
            assert_eq!(unknown_key(key, level).hint, hint, "{key}");
        }
    }

    #[test]
    fn what_is_not_built_yet_is_not_taken_for_a_slip() {
        for key in ["gpus", "memory", "inputs", "outputs", "max_running", "resources", "prefer"] {
            assert!(
                unknown_key(key, Level::Stage).hint.starts_with("the keys in a [[stage]] are"),
                "{key}"
            );
        }
    }
}
