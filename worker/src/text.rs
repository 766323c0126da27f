//! Words of tasks that go to people: bounded.

use gridctl_jobs::limits::FAILURE_MESSAGE_BYTES_MAX;

/// Cuts a failure's message to what is kept of one.
pub(crate) fn bounded(mut message: String) -> String {
    if message.len() > FAILURE_MESSAGE_BYTES_MAX {
        const CUT: &str = " …";
        let mut end = FAILURE_MESSAGE_BYTES_MAX - CUT.len();
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        message.truncate(end);
        message.push_str(CUT);
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let cut = bounded("ä".repeat(FAILURE_MESSAGE_BYTES_MAX));
        assert!(cut.len() <= FAILURE_MESSAGE_BYTES_MAX && cut.ends_with("ä …"), "{}", cut.len());
        assert_eq!(bounded("short".to_owned()), "short");
    }
}
