//! `--into DIR`: what every task printed, a file each.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use gridctl_transport::message::client::{JobRef, OutputStages, OutputStream, Target};
use thiserror::Error;

use crate::client::{OutputAsked, Piece, Pieces, Reach, ReachError};

/// Why output could not be kept.
#[derive(Debug, Error)]
pub(crate) enum KeepOutputError {
    #[error("cannot write {}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("not all output could be fetched")]
    Reach(#[from] ReachError),
}

/// Writes what tasks printed to `directory/STAGE/INDEX.stdout` and `.stderr`; nothing printed, no file.
pub(super) async fn keep(
    reach: &Reach,
    job: &JobRef,
    stages: &[String],
    directory: &Path,
) -> Result<(), KeepOutputError> {
    // Also where no task printed anything: it was asked for.
    fs::create_dir_all(directory)
        .map_err(|source| KeepOutputError::Write { path: directory.to_owned(), source })?;
    for (stream, extension) in [(OutputStream::Stdout, "stdout"), (OutputStream::Stderr, "stderr")]
    {
        let asked = OutputAsked {
            target: Target { job: job.clone(), stage: None, range: None },
            stream,
            follow: false,
            attempt: None,
            stages: OutputStages::All,
        };
        let mut pieces = Pieces::ask(reach, asked).await;
        let mut open: Option<(PathBuf, File)> = None;
        while let Some(piece) = pieces.next().await? {
            let path = path_of(directory, stages, &piece, extension);
            let failed = |source| KeepOutputError::Write { path: path.clone(), source };
            let file = match &mut open {
                Some((at, file)) if *at == path => file,
                _ => &mut open.insert((path.clone(), create(&path).map_err(failed)?)).1,
            };
            file.write_all(&piece.bytes).map_err(failed)?;
        }
    }
    Ok(())
}

fn path_of(directory: &Path, stages: &[String], piece: &Piece, extension: &str) -> PathBuf {
    let place = piece.stage.0;
    let name = stages.get(place as usize).map_or("", String::as_str);
    // A stage may be called `..`.
    let name = if name.starts_with('.') || name.is_empty() {
        format!("stage-{place}")
    } else {
        name.to_owned()
    };
    directory.join(name).join(format!("{}.{extension}", piece.index))
}

fn create(path: &Path) -> io::Result<File> {
    let parent = path.parent().expect("it was joined to a directory");
    fs::create_dir_all(parent)?;
    OpenOptions::new().write(true).create(true).truncate(true).open(path)
}

#[cfg(test)]
mod tests {
    use gridctl_jobs::id::StageIndex;

    use super::*;

    #[test]
    fn no_stage_name_leads_out_of_the_directory() {
        let stages = ["..".to_owned(), "fit".to_owned()];
        let path = |stage| {
            let piece = Piece { stage: StageIndex(stage), index: 7, bytes: Vec::new() };
            path_of(Path::new("d"), &stages, &piece, "stdout")
        };
        assert_eq!(path(0), Path::new("d/stage-0/7.stdout"));
        assert_eq!(path(1), Path::new("d/fit/7.stdout"));
        assert_eq!(path(2), Path::new("d/stage-2/7.stdout"));
    }
}
