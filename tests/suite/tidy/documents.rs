//! Tables of pages that say what the code says, held equal to it.

/// The cells of the rows of the table below a heading, without its head.
fn rows<'p>(page: &'p str, heading: &str) -> Vec<Vec<&'p str>> {
    page.lines()
        .skip_while(|line| *line != heading)
        .skip(1)
        .take_while(|line| !line.starts_with("## "))
        .filter(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect()
}

/// A table of who may use whom that is not the one which is held.
pub(super) fn check_edge_table(page: &str, may_use: &[(&str, &[&str])]) -> Vec<String> {
    let mut said: Vec<(&str, Vec<&str>)> = Vec::new();
    for row in rows(page, "## Who may use whom") {
        let [modules, uses] = row.as_slice() else {
            return vec![format!("a row without two cells: {row:?}")];
        };
        let uses: Vec<&str> = match *uses {
            "nothing of ours" => Vec::new(),
            "everything above" => said.iter().map(|(module, _)| *module).collect(),
            uses => uses.split(", ").collect(),
        };
        said.extend(modules.split(", ").map(|module| (module, uses.clone())));
    }
    let held: Vec<(&str, Vec<&str>)> = may_use
        .iter()
        .map(|(module, uses)| (*module, uses.to_vec()))
        .collect();
    differing(&said, &held, "the table of who may use whom")
}

/// A table of modules with others than there are, or with a file to look at that is not there.
pub(super) fn check_module_table(
    page: &str,
    may_use: &[(&str, &[&str])],
    is_there: impl Fn(&str) -> bool,
) -> Vec<String> {
    let rows = rows(page, "## Modules");
    let said: Vec<&str> = rows.iter().map(|row| row[0].trim_matches('`')).collect();
    let held: Vec<&str> = may_use
        .iter()
        .map(|(module, _)| *module)
        .filter(|module| *module != "main")
        .collect();
    let mut complaints = differing(&said, &held, "the table of modules");
    for (row, module) in rows.iter().zip(said) {
        let files = row.last().copied().unwrap_or_default().split(", ");
        for file in files.map(|file| file.trim_matches('`')) {
            // Of a pattern the folder.
            let path = file.split('*').next().unwrap_or_default();
            if !is_there(&format!("src/{module}/{path}")) && !is_there(path) {
                complaints.push(format!("`{module}` has no `{file}` to look at first"));
            }
        }
    }
    complaints
}

/// Folders that every store has from the start and a text does not name.
pub(super) fn check_store_folders(name: &str, text: &str, paths_file: &str) -> Vec<String> {
    let list = paths_file.split("const FOLDERS").nth(1).unwrap_or_default();
    let list = list.split("];").next().unwrap_or_default();
    let folders = list.split('"').skip(1).step_by(2);
    let folders: Vec<&str> = folders
        .filter_map(|folder| folder.split('/').next())
        .collect();
    if folders.is_empty() {
        return vec!["the folders of the store are not where they are looked for".to_owned()];
    }
    folders
        .iter()
        .filter(|folder| !text.contains(&format!("{folder}/")))
        .map(|folder| format!("{name} does not name the store's folder `{folder}/`"))
        .collect()
}

fn differing<T: std::fmt::Debug + PartialEq>(said: &[T], held: &[T], what: &str) -> Vec<String> {
    let length = said.len().max(held.len());
    (0..length)
        .filter(|&row| said.get(row) != held.get(row))
        .map(|row| {
            let (said, held) = (said.get(row), held.get(row));
            format!("{what} says {said:?} where {held:?} is held")
        })
        .take(1)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAY_USE: &[(&str, &[&str])] = &[("a", &[]), ("b", &["a"]), ("c", &["a", "b"])];

    fn edges(rows: &str) -> usize {
        let page =
            format!("## Who may use whom\n\n| module | may use |\n|---|---|\n{rows}\n## x\n");
        check_edge_table(&page, MAY_USE).len()
    }

    #[test]
    fn edges_have_to_be_the_same() {
        assert_eq!(edges("| a | nothing of ours |\n| b | a |\n| c | a, b |"), 0);
        assert_eq!(
            edges("| a | nothing of ours |\n| b | a |\n| c | everything above |"),
            0
        );
        assert_eq!(edges("| a | nothing of ours |\n| b, c | a |"), 1);
        assert_eq!(edges("| a | nothing of ours |\n| b | a |"), 1);
        assert_eq!(edges("| a |"), 1);
    }

    fn modules(rows: &str) -> Vec<String> {
        let page = format!("## Modules\n\n| module | is | first |\n|---|---|---|\n{rows}\n");
        check_module_table(&page, &MAY_USE[..1], |path| {
            matches!(path, "src/a/x.rs" | "grammar/")
        })
    }

    #[test]
    fn modules_and_their_files_have_to_be_there() {
        assert_eq!(modules("| `a` | is | `x.rs`, `grammar/*.pest` |"), [""; 0]);
        let gone = modules("| `a` | is | `y.rs` |");
        assert_eq!(gone, ["`a` has no `y.rs` to look at first"]);
        assert_eq!(modules("| `d` | is | `grammar/` |").len(), 1);
        assert_eq!(modules("").len(), 1);
    }

    #[test]
    fn folders_have_to_be_named() {
        let paths = "const FOLDERS: [&str; 2] = [\"blobs/sha256\", \"steps\"];";
        let check = |text: &str| check_store_folders("page", text, paths);
        assert_eq!(check("`blobs/`, `steps/`"), [""; 0]);
        assert_eq!(
            check("`steps/`"),
            ["page does not name the store's folder `blobs/`"]
        );
        assert_eq!(check_store_folders("page", "", "").len(), 1);
    }
}
