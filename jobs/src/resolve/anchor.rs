//! Making a path absolute before its placeholders are filled in.

use thiserror::Error;

use crate::spec::{ItemList, Items};
use crate::template::{Part, Placeholder, Template};

/// Why a path cannot be made absolute.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub(crate) enum AnchorError {
    #[error(
        "some items are absolute paths and others are not, such as `{absolute}` and `{relative}`"
    )]
    Mixed { absolute: String, relative: String },
}

/// Makes `template` start at `base` unless it is absolute already.
///
/// Where it begins with a placeholder, what that gives decides: numbers and names are relative, `{item.path}`
/// is absolute, `{item}` of files is turned into it, and the texts of a list are looked at.
pub(crate) fn anchor(
    mut template: Template,
    base: &str,
    items: &Items,
) -> Result<Template, AnchorError> {
    let is_absolute = match template.parts.first() {
        Some(Part::Literal(text)) => text.starts_with('/'),
        Some(Part::Fill(Placeholder::ItemPath)) => true,
        Some(Part::Fill(Placeholder::Item)) => match items {
            Items::Files { .. } => {
                template.parts[0] = Part::Fill(Placeholder::ItemPath);
                true
            }
            Items::Texts(list) => texts_are_absolute(list)?,
            Items::Single | Items::Numbers(_) => false,
        },
        Some(Part::Fill(_)) | None => false,
    };
    if !is_absolute {
        let is_whole = template.parts.len() == 1;
        let directory = format!("{}/", base.trim_end_matches('/'));
        match template.parts.first_mut() {
            // `.` is the directory itself, as people write it.
            Some(Part::Literal(text)) => {
                let relative = text.trim_start_matches("./");
                *text = if is_whole && relative == "." {
                    base.to_owned()
                } else {
                    directory + relative
                };
            }
            Some(Part::Fill(_)) | None => template.parts.insert(0, Part::Literal(directory)),
        }
    }
    Ok(template)
}

fn texts_are_absolute(list: &ItemList) -> Result<bool, AnchorError> {
    let texts = || (0..list.len()).filter_map(|at| list.item(at));
    let absolute = texts().find(|text| text.starts_with('/'));
    let relative = texts().find(|text| !text.starts_with('/'));
    match (absolute, relative) {
        (Some(absolute), Some(relative)) => {
            Err(AnchorError::Mixed { absolute: absolute.to_owned(), relative: relative.to_owned() })
        }
        (absolute, _) => Ok(absolute.is_some()),
    }
}
