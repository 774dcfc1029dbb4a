//! The fields of a record `a,b="c,d"`, with their places. The `csv` crate cannot say where a field was.

use super::glued::GluedText;

/// Splits a text at commas. A field that begins with a double quote goes to the next one, commas included, and
/// has `""` for a quote.
///
/// # Errors
/// What is wrong with the quotes, or that there is nothing at all.
pub(super) fn fields<'f>(record: &GluedText<'f>) -> Result<Vec<GluedText<'f>>, &'static str> {
    let text = record.text();
    if text.is_empty() {
        return Err("there are no fields");
    }
    let mut fields = Vec::new();
    let mut at = 0;
    loop {
        let end;
        if text[at..].starts_with('"') {
            let mut field = record.part(at + 1..at + 1);
            end = quoted(record, at + 1, &mut field)?;
            fields.push(field);
        } else {
            end = text[at..].find(',').map_or(text.len(), |comma| at + comma);
            if text[at..end].contains('"') {
                return Err("bare \" in a field that does not begin with one");
            }
            fields.push(record.part(at..end));
        }
        if end == text.len() {
            return Ok(fields);
        }
        at = end + 1;
    }
}

/// Reads a quoted field from behind its first quote; gives the place of the comma behind it or the end.
fn quoted<'f>(
    record: &GluedText<'f>,
    start: usize,
    field: &mut GluedText<'f>,
) -> Result<usize, &'static str> {
    const UNBALANCED: &str = "extraneous or missing \" in a quoted field";
    let text = record.text();
    let mut at = start;
    loop {
        let quote = at + text[at..].find('"').ok_or(UNBALANCED)?;
        field.append(record, at..quote);
        let after = &text[quote + 1..];
        if after.starts_with('"') {
            field.append(record, quote..quote + 1);
            at = quote + 2;
        } else if after.is_empty() || after.starts_with(',') {
            return Ok(quote + 1);
        } else {
            return Err(UNBALANCED);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::FileId;

    fn split(text: &str) -> Result<Vec<String>, &'static str> {
        let record = GluedText::piece(FileId(0), text, 7);
        Ok(fields(&record)?
            .iter()
            .map(|field| field.text().to_owned())
            .collect())
    }

    #[test]
    fn records() {
        let cases: [(&str, &[&str]); 7] = [
            ("a", &["a"]),
            ("a,b=c", &["a", "b=c"]),
            (",a,", &["", "a", ""]),
            (r#""a,b",c"#, &["a,b", "c"]),
            (r#""a""b""#, &[r#"a"b"#]),
            (r#""""#, &[""]),
            ("é,ü", &["é", "ü"]),
        ];
        for (text, expected) in cases {
            assert_eq!(split(text).unwrap(), expected, "of {text:?}");
        }
        for text in ["", r#"a"b"#, r#""a"#, r#""a"b"#, r#"""""#] {
            assert!(split(text).is_err(), "of {text:?}");
        }
    }
}
