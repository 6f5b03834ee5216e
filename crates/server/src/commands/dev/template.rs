//! SAM and CloudFormation templates: the functions in them.
//!
//! Must not create any other resource; it says which ones it left out.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};
use serde_yaml_ng::Value as Yaml;

use super::{
    intrinsics::{FUNCTION_TYPES, Scope},
    plan::{Code, FunctionPlan, Plan, Problem},
};

/// File names, first wins.
const NAMES: [&str; 3] = ["template.yaml", "template.yml", "template.json"];

/// The template cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub(super) enum TemplateError {
    /// The file cannot be read.
    #[error("failed to read `{path}`")]
    Read {
        /// The template.
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// The file is not YAML.
    #[error("failed to parse `{path}`")]
    Parse {
        /// The template.
        path: PathBuf,
        #[source]
        source: serde_yaml_ng::Error,
    },
    /// The file is YAML, but not a template.
    #[error("`{path}` has no `Resources`")]
    NoResources {
        /// The template.
        path: PathBuf,
    },
}

/// What a template may ask about its surroundings.
#[derive(Debug)]
pub(super) struct Surroundings<'a> {
    /// `AWS::Region`.
    pub(super) region: &'a str,
    /// `AWS::AccountId`.
    pub(super) account: &'a str,
    /// Values given for parameters.
    pub(super) parameters: &'a [(String, String)],
}

/// The template of a folder, if it has one.
pub(super) fn find(folder: &Path) -> Option<PathBuf> {
    NAMES.iter().map(|name| folder.join(name)).find(|path| path.is_file())
}

/// Reads a template.
pub(super) fn load(path: &Path, surroundings: &Surroundings<'_>) -> Result<Plan, TemplateError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| TemplateError::Read { path: path.to_owned(), source })?;
    parse(path, &text, surroundings)
}

fn parse(path: &Path, text: &str, surroundings: &Surroundings<'_>) -> Result<Plan, TemplateError> {
    let malformed = |source| TemplateError::Parse { path: path.to_owned(), source };
    let mut yaml: Yaml = serde_yaml_ng::from_str(text).map_err(malformed)?;
    yaml.apply_merge().map_err(malformed)?;
    let mut template = plain(yaml);
    let mut section = |name: &str| match template.get_mut(name).map(Value::take) {
        Some(Value::Object(section)) => section,
        _ => Map::new(),
    };
    let resources = section("Resources");
    if resources.is_empty() {
        return Err(TemplateError::NoResources { path: path.to_owned() });
    }
    let globals = match section("Globals").remove("Function") {
        Some(Value::Object(globals)) => globals,
        _ => Map::new(),
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let scope = Scope {
        parameters: parameters(&section("Parameters"), surroundings.parameters),
        mappings: section("Mappings"),
        conditions: section("Conditions"),
        resources,
        region: surroundings.region.to_owned(),
        account: surroundings.account.to_owned(),
        stack: stack_name(folder),
    };
    Ok(plan(&scope, &globals, folder))
}

fn plan(scope: &Scope, globals: &Map<String, Value>, folder: &Path) -> Plan {
    let mut plan = Plan::default();
    let mut others = Vec::new();
    for (id, resource) in &scope.resources {
        let kind = resource.get("Type").and_then(Value::as_str).unwrap_or_default();
        if !FUNCTION_TYPES.contains(&kind) {
            others.push(format!("{id} ({kind})"));
            continue;
        }
        match resource.get("Condition").and_then(Value::as_str).map(|condition| scope.condition(condition)) {
            Some(Ok(false)) => continue,
            Some(Err(reason)) => {
                plan.notes.push(format!("{id}: deployed although its condition is unknown: {reason}"))
            }
            Some(Ok(true)) | None => {}
        }
        let empty = Map::new();
        let own = resource.get("Properties").and_then(Value::as_object).unwrap_or(&empty);
        let properties = if kind == FUNCTION_TYPES[0] { with_globals(globals, own) } else { own.clone() };
        let mut reader = Reader { scope, id, properties: &properties, folder, notes: &mut plan.notes };
        match reader.function() {
            Ok(function) => plan.functions.push(function),
            Err(reason) => plan.problems.push(Problem { function: id.clone(), reason }),
        }
    }
    if !others.is_empty() {
        plan.notes.push(format!("resources that are not functions are not created: {}", others.join(", ")));
    }
    plan
}

/// Reads one function's properties.
struct Reader<'a> {
    scope: &'a Scope,
    id: &'a str,
    properties: &'a Map<String, Value>,
    folder: &'a Path,
    notes: &'a mut Vec<String>,
}

impl Reader<'_> {
    fn function(&mut self) -> Result<FunctionPlan, String> {
        if self.optional("PackageType").as_deref() == Some("Image")
            || self.properties.contains_key("ImageUri")
        {
            return Err("container images cannot be run".to_owned());
        }
        let name = self.required("FunctionName")?.unwrap_or_else(|| self.id.to_owned());
        let runtime = self.required("Runtime")?.ok_or("it has no `Runtime`")?;
        let handler = match self.required("Handler")? {
            Some(handler) => handler,
            None if runtime.starts_with("provided") => "bootstrap".to_owned(),
            None => return Err("it has no `Handler`".to_owned()),
        };
        let code = self.code(&runtime)?;
        for (property, what) in
            [("Layers", "layers are not attached"), ("Events", "events are not connected")]
        {
            if self.properties.contains_key(property) {
                self.note(format!("its {what}"));
            }
        }
        let mut function = FunctionPlan::new(name, &runtime, handler, code);
        function.timeout = self.number("Timeout", "/Timeout");
        function.memory_size = self.number("MemorySize", "/MemorySize");
        function.ephemeral_storage = self.number("EphemeralStorage.Size", "/EphemeralStorage/Size");
        function.environment = self.environment();
        function.description = self.optional("Description");
        function.role = self.role();
        function.architectures = self.texts("Architectures");
        Ok(function)
    }

    fn code(&mut self, runtime: &str) -> Result<Code, String> {
        if let Some(text) = self.required("InlineCode")? {
            return inline(runtime, text);
        }
        let property = if self.properties.contains_key("CodeUri") { "CodeUri" } else { "Code" };
        let value = match self.properties.get(property) {
            Some(value) => self.scope.resolve(value).map_err(|reason| format!("`{property}`: {reason}"))?,
            None => None,
        };
        match value {
            None => self.local(property, "."),
            Some(Value::String(location)) => self.local(property, &location),
            Some(Value::Object(code)) => {
                let text = |names: [&str; 2]| {
                    names.iter().find_map(|name| code.get(*name)?.as_str()).map(str::to_owned)
                };
                if let Some(source) = text(["ZipFile", "ZipFile"]) {
                    return inline(runtime, source);
                }
                match (text(["S3Bucket", "Bucket"]), text(["S3Key", "Key"])) {
                    (Some(bucket), Some(key)) => {
                        Ok(Code::Bucket { bucket, key, version: text(["S3ObjectVersion", "Version"]) })
                    }
                    _ => Err(format!("`{property}` names neither a folder nor an object in S3")),
                }
            }
            Some(other) => Err(format!("`{property}` is `{other}`, which is no place")),
        }
    }

    fn local(&self, property: &str, location: &str) -> Result<Code, String> {
        if let Some((bucket, key)) = location.strip_prefix("s3://").and_then(|rest| rest.split_once('/')) {
            return Ok(Code::Bucket { bucket: bucket.to_owned(), key: key.to_owned(), version: None });
        }
        let path = self.folder.join(location);
        if path.is_dir() {
            return Ok(Code::Folder(path));
        }
        if !path.is_file() {
            return Err(format!("`{property}`: `{}` does not exist", path.display()));
        }
        let is_archive = path.extension().is_some_and(|extension| extension == "zip" || extension == "jar");
        match (is_archive, path.parent(), path.file_name().and_then(|name| name.to_str())) {
            (false, Some(folder), Some(name)) => {
                Ok(Code::Parts { folder: folder.to_owned(), names: vec![name.to_owned()] })
            }
            _ => Ok(Code::Archive(path)),
        }
    }

    fn environment(&mut self) -> BTreeMap<String, String> {
        let mut environment = BTreeMap::new();
        let variables = self.properties.get("Environment").and_then(|value| value.get("Variables"));
        for (name, value) in variables.and_then(Value::as_object).into_iter().flatten() {
            match self.scope.text(value) {
                Ok(Some(text)) => drop(environment.insert(name.clone(), text)),
                Ok(None) => {}
                Err(reason) => self.note(format!("variable `{name}` is left out: {reason}")),
            }
        }
        environment
    }

    /// The role is a name only here, so one that cannot be known is no loss.
    fn role(&self) -> Option<String> {
        let role = self.scope.text(self.properties.get("Role")?).ok()??;
        role.starts_with("arn:").then_some(role)
    }

    /// A property without which there is no function.
    fn required(&self, name: &str) -> Result<Option<String>, String> {
        let Some(value) = self.properties.get(name) else { return Ok(None) };
        self.scope.text(value).map_err(|reason| format!("`{name}`: {reason}"))
    }

    fn optional(&mut self, name: &str) -> Option<String> {
        self.required(name).unwrap_or_else(|reason| {
            self.note(format!("left out {reason}"));
            None
        })
    }

    fn number(&mut self, name: &str, pointer: &str) -> Option<u64> {
        let properties = Value::Object(self.properties.clone());
        let text = match self.scope.text(properties.pointer(pointer)?) {
            Ok(text) => text?,
            Err(reason) => {
                self.note(format!("left out `{name}`: {reason}"));
                return None;
            }
        };
        let number = text.parse().ok();
        if number.is_none() {
            self.note(format!("left out `{name}`: `{text}` is not a number"));
        }
        number
    }

    fn texts(&mut self, name: &str) -> Vec<String> {
        let Some(value) = self.properties.get(name) else { return Vec::new() };
        match self.scope.resolve(value) {
            Ok(Some(Value::Array(items))) => {
                items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
            }
            Ok(_) => Vec::new(),
            Err(reason) => {
                self.note(format!("left out `{name}`: {reason}"));
                Vec::new()
            }
        }
    }

    fn note(&mut self, note: String) {
        self.notes.push(format!("{}: {note}", self.id));
    }
}

/// AWS writes inline code into `index` with the language's extension.
fn inline(runtime: &str, text: String) -> Result<Code, String> {
    match runtime {
        _ if runtime.starts_with("python") => Ok(Code::Inline { file: "index.py", text }),
        _ if runtime.starts_with("nodejs") => Ok(Code::Inline { file: "index.js", text }),
        _ => Err(format!("inline code works with Python and Node.js, not with `{runtime}`")),
    }
}

/// SAM's rule: maps are merged, anything else of the function's own wins.
fn with_globals(globals: &Map<String, Value>, own: &Map<String, Value>) -> Map<String, Value> {
    let mut merged = globals.clone();
    for (name, value) in own {
        let value = match (merged.get(name), value) {
            (Some(Value::Object(outer)), Value::Object(inner)) => Value::Object(with_globals(outer, inner)),
            _ => value.clone(),
        };
        merged.insert(name.clone(), value);
    }
    merged
}

fn parameters(declared: &Map<String, Value>, given: &[(String, String)]) -> BTreeMap<String, Value> {
    let defaults = declared
        .iter()
        .filter_map(|(name, parameter)| Some((name.clone(), parameter.get("Default")?.clone())));
    defaults.chain(given.iter().map(|(name, value)| (name.clone(), Value::String(value.clone())))).collect()
}

fn stack_name(folder: &Path) -> String {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    folder.file_name().and_then(|name| name.to_str()).unwrap_or("local").to_owned()
}

/// YAML with CloudFormation's short forms (`!Sub`) as JSON with the long ones (`Fn::Sub`).
fn plain(yaml: Yaml) -> Value {
    match yaml {
        Yaml::Null => Value::Null,
        Yaml::Bool(truth) => Value::Bool(truth),
        Yaml::Number(number) => serde_json::to_value(number).unwrap_or(Value::Null),
        Yaml::String(text) => Value::String(text),
        Yaml::Sequence(items) => items.into_iter().map(plain).collect(),
        Yaml::Mapping(members) => {
            members.into_iter().map(|(name, value)| (key(name), plain(value))).collect::<Map<_, _>>().into()
        }
        Yaml::Tagged(tagged) => {
            let tag = tagged.tag.to_string();
            let name = match tag.trim_start_matches('!') {
                short @ ("Ref" | "Condition") => short.to_owned(),
                short => format!("Fn::{short}"),
            };
            Map::from_iter([(name, plain(tagged.value))]).into()
        }
    }
}

fn key(yaml: Yaml) -> String {
    match plain(yaml) {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
