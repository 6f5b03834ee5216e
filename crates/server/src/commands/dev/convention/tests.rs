//! Folders as people have them. Must not need an interpreter.

use super::*;

fn discovered(files: &[(&str, &str)]) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    for (name, contents) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents).unwrap();
    }
    let summary = summary(folder.path());
    (folder, summary)
}

/// One line a function, problem or note.
fn summary(folder: &Path) -> String {
    let runtimes = DefaultRuntimes { python: "python3.13".to_owned(), node: "nodejs22.x".to_owned() };
    let plan = discover(folder, &runtimes).unwrap();
    let mut lines: Vec<String> = Vec::new();
    for function in &plan.functions {
        let FunctionPlan { name, runtime, handler, code, .. } = function;
        let code = match code {
            Code::Parts { names, .. } => names.join(" "),
            Code::Folder(path) => path.display().to_string(),
            other => format!("{other:?}"),
        };
        lines.push(format!("{name}: {runtime} {handler} [{code}]"));
    }
    lines.extend(
        plan.problems.iter().map(|problem| format!("problem: {}: {}", problem.function, problem.reason)),
    );
    lines.extend(plan.notes.iter().map(|note| format!("note: {note}")));
    lines.join("\n").replace(&folder.display().to_string(), "[DIR]")
}

const PYTHON: &str = "import json\n\ndef handler(event, context):\n    return 1\n";

#[test]
fn files_and_folders_are_functions() {
    let (_folder, found) = discovered(&[
        ("hello.py", PYTHON),
        ("classic.py", "def lambda_handler(event, context): pass\n"),
        ("own_name.py", "def helper(x): pass\n\ndef process(event, _context): pass\n"),
        ("shared.py", "def helper(x): return x\n"),
        ("module.mjs", "export const handler = async (event) => event;\n"),
        ("common.js", "exports.handler = async (event) => event;\n"),
        ("old.cjs", "module.exports = { handler: () => 1 };\n"),
        ("package.json", "{}"),
        ("test_hello.py", PYTHON),
        (".hidden.py", PYTHON),
        ("native/bootstrap", "#!/bin/sh\n"),
        ("folder/handler.py", PYTHON),
        ("web/index.mjs", "export async function handler() {}\n"),
        ("packaged/package.json", r#"{ "main": "./lib/main.js" }"#),
        ("packaged/lib/main.js", "exports.handler = () => 1;\n"),
        ("library/__init__.py", ""),
    ]);
    insta::assert_snapshot!(found, @r"
    classic: python3.13 classic.lambda_handler [classic.py library shared.py]
    common: nodejs22.x common.handler [common.js library package.json]
    folder: python3.13 handler.handler [[DIR]/folder]
    hello: python3.13 hello.handler [hello.py library shared.py]
    module: nodejs22.x module.handler [library module.mjs package.json]
    native: provided.al2023 bootstrap [[DIR]/native]
    old: nodejs22.x old.handler [library old.cjs package.json]
    own_name: python3.13 own_name.process [library own_name.py shared.py]
    packaged: nodejs22.x lib/main.handler [[DIR]/packaged]
    web: nodejs22.x index.handler [[DIR]/web]
    note: `shared.py` defines no handler: it is packaged as a module of the functions beside it
    ");
}

#[test]
fn what_cannot_be_a_function_is_a_problem_of_its_own() {
    let (_folder, found) = discovered(&[
        ("hello.py", PYTHON),
        ("unbuilt/package.json", r#"{ "main": "dist/index.js" }"#),
        ("empty/handler.py", "x = 1\n"),
        ("hello/handler.py", PYTHON),
        ("broken/package.json", "{"),
    ]);
    insta::assert_snapshot!(found, @r"
    hello: python3.13 handler.handler [[DIR]/hello]
    problem: broken: its package.json cannot be read: EOF while parsing an object at line 1 column 1
    problem: empty: `[DIR]/empty/handler.py` defines no handler
    problem: unbuilt: its package.json names `dist/index.js`, which does not exist (is a build missing?)
    problem: hello: `hello.handler` has the same name as another function
    ");
}

#[test]
fn a_functions_own_folder_is_one_function() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("resize");
    fs::create_dir(&own).unwrap();
    fs::write(own.join("lambda_function.py"), "def lambda_handler(event, context): pass\n").unwrap();
    fs::write(own.join("images.py"), "SIZE = 1\n").unwrap();
    assert_eq!(summary(&own), "resize: python3.13 lambda_function.lambda_handler [[DIR]]");
}
