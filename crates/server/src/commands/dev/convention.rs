//! Folders without a template: one function per file or folder.
//!
//! * `hello.py`, `hello.mjs`, `hello.js`, `hello.cjs`: function `hello`, with the handler that the file defines.
//! * a folder with `bootstrap`, `handler.py`, `index.mjs`, `package.json` or the like: a function of the folder's name.
//! * a code file without a handler is a module for the others.
//!
//! Must not run any code: it only looks at text.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use regex_lite::Regex;
use serde_json::Value;

use super::{
    plan::{Code, FunctionPlan, Plan, Problem},
    runtimes::DefaultRuntimes,
};

/// For `bootstrap`.
const PROVIDED: &str = "provided.al2023";

/// Files that make a folder a function, first wins.
const ENTRIES: [&str; 12] = [
    "handler.py",
    "lambda_function.py",
    "app.py",
    "main.py",
    "index.mjs",
    "index.js",
    "index.cjs",
    "handler.mjs",
    "handler.js",
    "handler.cjs",
    "app.mjs",
    "app.js",
];

/// Never a function, nor a module for one.
const IGNORED: [&str; 6] = ["__pycache__", "conftest.py", "setup.py", "target", "test", "tests"];

/// The folder's functions.
pub(super) fn discover(folder: &Path, runtimes: &DefaultRuntimes) -> io::Result<Plan> {
    let entries = Entries::read(folder)?;
    let mut plan = Plan::default();
    let finder = Finder { runtimes };
    let is_function = |name: &String| finder.file(&folder.join(name)).is_some();
    let (functions, modules): (Vec<String>, Vec<String>) = entries.files.into_iter().partition(is_function);

    // `dev` inside a function's own folder: everything there is that function.
    if functions.iter().all(|name| ENTRIES.contains(&name.as_str()))
        && let Some(found) = finder.folder(folder)
    {
        match found {
            Ok(function) => plan.functions.push(function),
            Err(problem) => plan.problems.push(problem),
        }
        return Ok(plan);
    }

    let mut shared = modules.clone();
    for name in entries.folders {
        match finder.folder(&folder.join(&name)) {
            Some(Ok(function)) => plan.functions.push(function),
            Some(Err(problem)) => plan.problems.push(problem),
            None => shared.push(name),
        }
    }
    for name in functions {
        let path = folder.join(&name);
        let Some((language, handler)) = finder.file(&path) else { continue };
        let mut names = vec![name.clone()];
        names.extend(shared.iter().filter(|name| language.uses(name)).cloned());
        names.sort();
        let module = stem(&path);
        let code = Code::Parts { folder: folder.to_owned(), names };
        plan.functions.push(FunctionPlan::new(
            module.clone(),
            finder.runtime(language),
            format!("{module}.{handler}"),
            code,
        ));
    }
    plan.functions.sort_by(|left, right| left.name.cmp(&right.name));
    refuse_duplicates(&mut plan);
    let lone: Vec<&String> = modules.iter().filter(|name| Language::of(Path::new(name)).is_some()).collect();
    for name in lone {
        plan.notes.push(format!(
            "`{name}` defines no handler: it is packaged as a module of the functions beside it"
        ));
    }
    Ok(plan)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Language {
    Python,
    Node,
}

impl Language {
    fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "py" => Some(Self::Python),
            "mjs" | "js" | "cjs" => Some(Self::Node),
            _ => None,
        }
    }

    /// Whether functions of this language may need a file or folder beside them.
    fn uses(self, name: &str) -> bool {
        match Self::of(Path::new(name)) {
            Some(language) => language == self,
            None => {
                self == Self::Node || !matches!(name, "node_modules" | "package.json" | "package-lock.json")
            }
        }
    }
}

struct Finder<'a> {
    runtimes: &'a DefaultRuntimes,
}

impl Finder<'_> {
    /// Language and handler of a file that is a function.
    fn file(&self, path: &Path) -> Option<(Language, String)> {
        let language = Language::of(path)?;
        let text = fs::read_to_string(path).ok()?;
        Some((language, handler(language, &text)?))
    }

    /// The function that a folder is, if it is one.
    fn folder(&self, folder: &Path) -> Option<Result<FunctionPlan, Problem>> {
        let name = name_of(folder);
        let function = |runtime: &str, handler: String| {
            Ok(FunctionPlan::new(name.clone(), runtime, handler, Code::Folder(folder.to_owned())))
        };
        if folder.join("bootstrap").is_file() {
            return Some(function(PROVIDED, "bootstrap".to_owned()));
        }
        let entry = ENTRIES.iter().map(|entry| folder.join(entry)).find(|path| path.is_file());
        let entry =
            match entry.or_else(|| Some(folder.join(format!("{name}.py"))).filter(|path| path.is_file())) {
                Some(entry) => entry,
                None => match package_main(folder)? {
                    Ok(entry) => entry,
                    Err(reason) => return Some(Err(Problem { function: name, reason })),
                },
            };
        let Some((language, handler)) = self.file(&entry) else {
            let reason = format!("`{}` defines no handler", entry.display());
            return Some(Err(Problem { function: name, reason }));
        };
        let module = entry.strip_prefix(folder).unwrap_or(&entry).with_extension("");
        Some(function(self.runtime(language), format!("{}.{handler}", module.display())))
    }

    fn runtime(&self, language: Language) -> &str {
        match language {
            Language::Python => &self.runtimes.python,
            Language::Node => &self.runtimes.node,
        }
    }
}

/// Names in a folder that may matter, sorted.
struct Entries {
    files: Vec<String>,
    folders: Vec<String>,
}

impl Entries {
    fn read(folder: &Path) -> io::Result<Self> {
        let (mut files, mut folders) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if name.starts_with('.') || IGNORED.contains(&name.as_str()) || is_test(&name) {
                continue;
            }
            let path = entry.path();
            if path.is_dir() {
                folders.push(name);
            } else if Language::of(&path).is_some() || name == "package.json" {
                files.push(name);
            }
        }
        files.sort();
        folders.sort();
        Ok(Self { files, folders })
    }
}

fn is_test(name: &str) -> bool {
    name.starts_with("test_") || name.contains(".test.") || name.contains(".spec.")
}

/// The file that `package.json` names, if there is one.
fn package_main(folder: &Path) -> Option<Result<PathBuf, String>> {
    let text = fs::read_to_string(folder.join("package.json")).ok()?;
    let package: Value = match serde_json::from_str(&text) {
        Ok(package) => package,
        Err(error) => return Some(Err(format!("its package.json cannot be read: {error}"))),
    };
    let main = package.get("main")?.as_str()?;
    let path = folder.join(main.trim_start_matches("./"));
    let found = [path.clone(), path.with_extension("js"), path.join("index.js")]
        .into_iter()
        .find(|path| path.is_file());
    Some(found.ok_or_else(|| {
        format!("its package.json names `{main}`, which does not exist (is a build missing?)")
    }))
}

/// The name that a handler has in this text: `handler` or `lambda_handler`, else the only candidate.
fn handler(language: Language, text: &str) -> Option<String> {
    let patterns: &[&str] = match language {
        Language::Python => &[
            r"(?m)^(?:async[ \t]+)?def[ \t]+(handler|lambda_handler)[ \t]*\(",
            r"(?m)^(handler|lambda_handler)[ \t]*=[^=]",
            // Someone else's name, recognised by Lambda's two parameters.
            r"(?m)^def[ \t]+([A-Za-z]\w*)[ \t]*\([ \t]*_?event\b[^,()]*,[ \t]*_?(?:context|ctx)\b",
        ],
        Language::Node => &[
            r"(?m)^[ \t]*(?:module\.)?exports\.(handler)[ \t]*=",
            r"(?m)^[ \t]*export[ \t]+(?:async[ \t]+)?function\*?[ \t]+(handler)\b",
            r"(?m)^[ \t]*export[ \t]+(?:const|let|var)[ \t]+(handler)\b",
            r"(?m)^[ \t]*export[ \t]*\{[^}]*\b(handler)\b",
            r"(?m)^[ \t]*module\.exports[ \t]*=[ \t]*\{[^}]*\b(handler)\b",
            r"(?m)^[ \t]*(?:module\.)?exports\.([A-Za-z_]\w*)[ \t]*=",
            r"(?m)^[ \t]*export[ \t]+(?:async[ \t]+)?function[ \t]+([A-Za-z_]\w*)\b",
            r"(?m)^[ \t]*export[ \t]+const[ \t]+([A-Za-z_]\w*)[ \t]*=[ \t]*(?:async\b|\()",
        ],
    };
    patterns.iter().find_map(|pattern| {
        let pattern = Regex::new(pattern).expect("the patterns are constants");
        let names: BTreeSet<&str> =
            pattern.captures_iter(text).filter_map(|found| found.get(1)).map(|name| name.as_str()).collect();
        // `handler` and `lambda_handler` both: the shorter sorts first. Several other names: nobody can tell.
        let chosen =
            names.first().filter(|name| names.len() == 1 || matches!(**name, "handler" | "lambda_handler"));
        chosen.map(|&name| name.to_owned())
    })
}

fn refuse_duplicates(plan: &mut Plan) {
    let mut seen = BTreeSet::new();
    let (kept, doubles) = std::mem::take(&mut plan.functions)
        .into_iter()
        .partition(|function| seen.insert(function.name.clone()));
    plan.functions = kept;
    plan.problems.extend(doubles.into_iter().map(|function: FunctionPlan| Problem {
        reason: format!("`{}` has the same name as another function", function.handler),
        function: function.name,
    }));
}

fn name_of(folder: &Path) -> String {
    stem(&folder.canonicalize().unwrap_or_else(|_| folder.to_owned()))
}

fn stem(path: &Path) -> String {
    path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("function").to_owned()
}

#[cfg(test)]
mod tests;
