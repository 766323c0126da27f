//! Output of tasks, piece by piece and in order, through outages: nothing twice, nothing left out.

use gridctl_jobs::id::StageIndex;
use gridctl_transport::message::client::{Answer, OutputStages, OutputStream, Request, Target};

use super::connection::{Answers, AskError};
use super::reach::{Link, Reach, ReachError};

/// Whose output, and which.
#[derive(Clone, Debug)]
pub(crate) struct OutputAsked {
    pub target: Target,
    pub stream: OutputStream,
    pub follow: bool,
    pub attempt: Option<u32>,
    pub stages: OutputStages,
}

/// Some of what one attempt of a task printed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Piece {
    pub stage: StageIndex,
    pub index: u64,
    pub bytes: Vec<u8>,
}

/// The pieces of an answer, in order.
pub(crate) struct Pieces<'a> {
    reach: &'a Reach,
    request: Request,
    link: Link,
    answers: Option<Answers>,
    place: Place,
}

/// How far the output has been handed on, and what of a repeated answer is to be passed over.
#[derive(Debug, Default)]
struct Place {
    /// The task whose output came last, and how many bytes of it.
    at: Option<(StageIndex, u64)>,
    bytes: u64,
    /// Bytes of that task in the answer that is being read.
    seen: u64,
}

impl<'a> Pieces<'a> {
    /// Asks for output.
    pub(crate) async fn ask(reach: &'a Reach, asked: OutputAsked) -> Self {
        let OutputAsked { target, stream, follow, attempt, stages } = asked;
        let request = Request::Output { target, stream, follow, attempt, stages };
        Self { reach, request, link: reach.link().await, answers: None, place: Place::default() }
    }

    /// Waits for the next piece; `None` at the end. Not to be cancelled: a piece could be lost.
    ///
    /// # Errors
    /// See [`ReachError`].
    pub(crate) async fn next(&mut self) -> Result<Option<Piece>, ReachError> {
        loop {
            match self.next_piece().await {
                Ok(Some(mut piece)) => {
                    self.reach.heard(&self.link).await;
                    piece.bytes = self.place.pass(piece.stage, piece.index, piece.bytes);
                    if !piece.bytes.is_empty() {
                        return Ok(Some(piece));
                    }
                }
                Ok(None) => return Ok(None),
                Err(error) => {
                    self.answers = None;
                    self.link = self.reach.again(&self.link, error).await?;
                }
            }
        }
    }

    async fn next_piece(&mut self) -> Result<Option<Piece>, AskError> {
        let answers = match &mut self.answers {
            Some(answers) => answers,
            None => {
                self.place.begin_again();
                self.answers.insert(self.link.client.ask(&self.request).await?)
            }
        };
        let take = |answer| {
            let Answer::Output { stage, index, attempt: _, bytes } = answer else { return None };
            Some(Piece { stage, index, bytes })
        };
        answers.next_of(take).await
    }
}

impl Place {
    /// The answer is read from its beginning once more.
    fn begin_again(&mut self) {
        self.seen = 0;
    }

    /// Returns what of `bytes` has not been handed on before.
    fn pass(&mut self, stage: StageIndex, index: u64, mut bytes: Vec<u8>) -> Vec<u8> {
        let task = (stage, index);
        match self.at {
            Some(at) if task < at => return Vec::new(),
            Some(at) if task == at => {}
            Some(_) | None => (self.at, self.bytes, self.seen) = (Some(task), 0, 0),
        }
        let known = self.bytes.saturating_sub(self.seen);
        self.seen += bytes.len() as u64;
        self.bytes = self.bytes.max(self.seen);
        bytes.drain(..usize::try_from(known).unwrap_or(usize::MAX).min(bytes.len()));
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands an answer of (stage, index, text) through, and returns what comes out.
    fn read(place: &mut Place, answer: &[(u32, u64, &str)]) -> String {
        place.begin_again();
        let passed = |&(stage, index, text): &(u32, u64, &str)| {
            String::from_utf8(place.pass(StageIndex(stage), index, text.into())).unwrap()
        };
        answer.iter().map(passed).collect()
    }

    #[test]
    fn an_answer_that_was_cut_is_continued_without_repetition() {
        let whole = [(0, 0, "a"), (0, 1, "bcd"), (0, 1, "ef"), (0, 2, "g"), (1, 0, "h")];
        for cut in 0..=whole.len() {
            let mut place = Place::default();
            let before = read(&mut place, &whole[..cut]);
            assert_eq!(before + &read(&mut place, &whole), "abcdefgh", "cut after {cut}");
        }
    }

    #[test]
    fn pieces_may_be_cut_elsewhere_the_second_time() {
        let mut place = Place::default();
        assert_eq!(read(&mut place, &[(0, 3, "abc"), (0, 3, "d")]), "abcd");
        assert_eq!(read(&mut place, &[(0, 3, "ab"), (0, 3, "cdef"), (0, 4, "g")]), "efg");
    }
}
