//! The command line of a Java virtual machine.
//!
//! Must not look at the machine: what there is to use comes in as an argument.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
};

use super::{Roots, Training};
use crate::{
    runtimes::{archive::Archive, family::Line},
    spec::{FunctionSpec, Logging},
};

const CLIENT: &str = "com.amazonaws.services.lambda.runtime.api.client.AWSLambda";

/// Stands in for a handler: a method of Java's own that answers with its event, whatever that is.
const ECHO: &str = "java.util.Stack::push";

/// The memory size of a virtual machine that makes an archive. The heap's size is not in the archive.
const TRAINING_MEMORY_MB: u32 = 512;

/// The Java virtual machine of Lambda: a small heap, a quick start, and room beside the heap in the memory size.
///
/// On the command line these would win over `JAVA_TOOL_OPTIONS`, by which AWS lets functions choose, so what is chosen there is
/// left out here. AWS documents that for the compiler.
// Unverified: that heap and collector can be chosen in the same way.
pub(super) fn arguments(
    spec: &FunctionSpec,
    roots: &Roots,
    used: Line,
    archive: Option<&Archive>,
) -> Vec<OsString> {
    let heap_kb = u64::from(spec.memory_mb) * 1024 * 85 / 100;
    let mut arguments = Vec::new();
    if !chooses(spec, &["-Xmx", "MaxHeapSize", "MaxRAMPercentage"]) {
        arguments.push(format!("-XX:MaxHeapSize={heap_kb}k").into());
    }
    if !chooses(spec, &["GC"]) {
        arguments.push(OsString::from("-XX:+UseSerialGC"));
    }
    if !chooses(spec, &["TieredCompilation", "TieredStopAtLevel"]) {
        arguments.extend(["-XX:+TieredCompilation", "-XX:TieredStopAtLevel=1"].map(OsString::from));
    }
    arguments.push("-Djava.net.preferIPv4Stack=true".into());
    if used.major >= 9 {
        arguments.push("--add-opens=java.base/java.io=ALL-UNNAMED".into());
    }
    if used.major >= 24 {
        // Unverified: without it these releases warn, in the function's log, of the native code of AWS's client.
        arguments.push("--enable-native-access=ALL-UNNAMED".into());
    }
    arguments.extend(archive.map(Archive::options).into_iter().flatten());
    // The client makes the class loader for `/var/task` and `/opt/java` by itself, from its working directory.
    // Layers of the host's layout are not at `/opt`, so they are named here.
    let mut class_path = roots.runtime.join("lib/*").into_os_string();
    if roots.opt != Path::new("/opt") {
        class_path.push(":");
        class_path.push(roots.opt.join("java/lib/*"));
    }
    arguments.extend(["-classpath".into(), class_path, CLIENT.into(), spec.handler.clone().into()]);
    arguments
}

/// How an archive is made for functions like this one. Nothing of the function is in it.
pub(super) fn training(
    archive: Archive,
    like: &FunctionSpec,
    executable: &Path,
    roots: &Roots,
    used: Line,
) -> Training {
    let spec = FunctionSpec {
        handler: ECHO.to_owned(),
        memory_mb: TRAINING_MEMORY_MB,
        environment: BTreeMap::default(),
        layers: None,
        logging: Logging { group: String::new(), ..like.logging.clone() },
        code: PathBuf::from("/nonexistent"),
        ..like.clone()
    };
    let mut argv = vec![executable.into(), archive.making(&roots.task)];
    argv.extend(arguments(&spec, roots, used, None));
    Training { archive, argv, spec }
}

/// Whether an archive fits the virtual machine that the function asks for. With one that does not fit, Java would do without those
/// that it brings as well, and start later than without.
pub(super) fn fits(spec: &FunctionSpec, archive: &Archive) -> bool {
    // Archives of the function's own, or none, and objects that look different in memory.
    let never = [
        "-Xshare",
        "SharedArchive",
        "ArchiveClasses",
        "AOT",
        "LoadedClassList",
        "RecordDynamicDumpInfo",
        "Compressed",
        "Compact",
        "ZGC",
    ];
    // A cache holds the graph of modules too, and wants the same of it.
    let not_in_cache = ["--", "GC", "agent"];
    let has_wrapper = spec.environment.contains_key("AWS_LAMBDA_EXEC_WRAPPER");
    !chooses(spec, &never) && !(archive.is_cache() && (has_wrapper || chooses(spec, &not_in_cache)))
}

/// Whether the function's variables have an option in which one of these occurs.
fn chooses(spec: &FunctionSpec, options: &[&str]) -> bool {
    ["JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS"]
        .iter()
        .filter_map(|name| spec.environment.get(*name))
        .flat_map(|value| value.split_whitespace())
        .any(|chosen| options.iter().any(|option| chosen.contains(option)))
}
