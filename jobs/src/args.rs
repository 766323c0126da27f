//! `args` of a function on their way: flat on the wire, JSON in builders, nested in between.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::limits::{ARGS_DEPTH_MAX, ARGS_VALUES_MAX};
use crate::spec::ArgValue;
use crate::template::Template;

/// An [`ArgValue`] as a list of its values, each array and table followed by what is in it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct FlatArgs(Vec<FlatArg>);

/// One value of [`FlatArgs`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
enum FlatArg {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(Template),
    /// So many values follow.
    Array(u32),
    /// So many pairs of a key and a value follow.
    Object(u32),
    Key(String),
}

/// Why a flat list is no value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub(crate) enum UnflattenError {
    #[error("args is nested more than {ARGS_DEPTH_MAX} levels deep")]
    TooDeep,
    #[error("args has more than {ARGS_VALUES_MAX} values")]
    TooMany,
    #[error("args ends in the middle of a value")]
    TooShort,
    #[error("args goes on after its value")]
    TooLong,
    #[error("args has a key where a value must be, or the reverse")]
    MisplacedKey,
}

impl From<ArgValue> for FlatArgs {
    fn from(value: ArgValue) -> Self {
        let mut flat = Vec::new();
        flatten(value, &mut flat);
        Self(flat)
    }
}

impl TryFrom<FlatArgs> for ArgValue {
    type Error = UnflattenError;

    fn try_from(flat: FlatArgs) -> Result<Self, UnflattenError> {
        if flat.0.len() > ARGS_VALUES_MAX {
            return Err(UnflattenError::TooMany);
        }
        let mut rest = flat.0.into_iter();
        let value = unflatten(&mut rest, 1)?;
        if rest.next().is_some() { Err(UnflattenError::TooLong) } else { Ok(value) }
    }
}

fn flatten(value: ArgValue, out: &mut Vec<FlatArg>) {
    // A count too large for its field makes a list that the reader refuses as too short.
    let count = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
    match value {
        ArgValue::Null => out.push(FlatArg::Null),
        ArgValue::Bool(yes) => out.push(FlatArg::Bool(yes)),
        ArgValue::Integer(number) => out.push(FlatArg::Integer(number)),
        ArgValue::Float(number) => out.push(FlatArg::Float(number)),
        ArgValue::Text(text) => out.push(FlatArg::Text(text)),
        ArgValue::Array(values) => {
            out.push(FlatArg::Array(count(values.len())));
            values.into_iter().for_each(|value| flatten(value, out));
        }
        ArgValue::Object(entries) => {
            out.push(FlatArg::Object(count(entries.len())));
            for (key, value) in entries {
                out.push(FlatArg::Key(key));
                flatten(value, out);
            }
        }
    }
}

/// Takes one value off `rest`. What it allocates is bounded by what `rest` still has, whatever a count says.
fn unflatten(
    rest: &mut std::vec::IntoIter<FlatArg>,
    depth: usize,
) -> Result<ArgValue, UnflattenError> {
    if depth > ARGS_DEPTH_MAX {
        return Err(UnflattenError::TooDeep);
    }
    Ok(match rest.next().ok_or(UnflattenError::TooShort)? {
        FlatArg::Null => ArgValue::Null,
        FlatArg::Bool(yes) => ArgValue::Bool(yes),
        FlatArg::Integer(number) => ArgValue::Integer(number),
        FlatArg::Float(number) => ArgValue::Float(number),
        FlatArg::Text(text) => ArgValue::Text(text),
        FlatArg::Array(count) => ArgValue::Array(
            (0..count).map(|_| unflatten(rest, depth + 1)).collect::<Result<_, _>>()?,
        ),
        FlatArg::Object(count) => ArgValue::Object(
            (0..count)
                .map(|_| {
                    let FlatArg::Key(key) = rest.next().ok_or(UnflattenError::TooShort)? else {
                        return Err(UnflattenError::MisplacedKey);
                    };
                    Ok((key, unflatten(rest, depth + 1)?))
                })
                .collect::<Result<_, _>>()?,
        ),
        FlatArg::Key(_) => return Err(UnflattenError::MisplacedKey),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(levels: usize) -> FlatArgs {
        let mut flat = vec![FlatArg::Array(1); levels];
        flat.push(FlatArg::Null);
        FlatArgs(flat)
    }

    #[test]
    fn a_value_comes_back_as_it_went() {
        let value = ArgValue::Object(vec![
            ("a".to_owned(), ArgValue::Array(vec![ArgValue::Integer(1), ArgValue::Float(0.5)])),
            ("b".to_owned(), ArgValue::Object(vec![("c".to_owned(), ArgValue::Null)])),
            ("d".to_owned(), ArgValue::Text(Template::literal("x"))),
            ("e".to_owned(), ArgValue::Bool(true)),
        ]);
        let text = serde_json::to_string(&value).unwrap();
        assert_eq!(serde_json::from_str::<ArgValue>(&text).unwrap(), value);
    }

    #[test]
    fn what_a_peer_nests_without_end_is_refused() {
        assert!(ArgValue::try_from(nested(ARGS_DEPTH_MAX - 1)).is_ok());
        assert_eq!(ArgValue::try_from(nested(ARGS_DEPTH_MAX)), Err(UnflattenError::TooDeep));
        assert_eq!(ArgValue::try_from(nested(500_000)), Err(UnflattenError::TooDeep));
    }

    #[test]
    fn a_list_that_contradicts_itself_is_refused() {
        let cases = [
            (vec![], UnflattenError::TooShort),
            (vec![FlatArg::Array(u32::MAX)], UnflattenError::TooShort),
            (vec![FlatArg::Object(1), FlatArg::Null], UnflattenError::MisplacedKey),
            (vec![FlatArg::Key("a".to_owned())], UnflattenError::MisplacedKey),
            (vec![FlatArg::Null, FlatArg::Null], UnflattenError::TooLong),
        ];
        for (flat, error) in cases {
            assert_eq!(ArgValue::try_from(FlatArgs(flat)), Err(error));
        }
    }
}
